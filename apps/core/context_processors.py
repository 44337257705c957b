"""What the frame of every page needs, without a query of its own."""

from typing import Any

from django.conf import settings

from apps.core.http import SIDEBAR_COOKIE, request_id, theme_of_browser


def frame(request: Any) -> dict[str, Any]:
    """Give `theme` (system, light, dark), `sidebar_collapsed`, `signup_open` and `reference` (the request's id)."""
    preferences = getattr(getattr(request, "user", None), "preferences", None)
    return {
        "theme": preferences.theme if preferences else theme_of_browser(request),
        "sidebar_collapsed": request.COOKIES.get(SIDEBAR_COOKIE) == "collapsed",
        "signup_open": settings.SIGNUP == "open",
        "reference": request_id(request),
    }
