"""From a request to a page, a part of one, or an error in the shape that the asker can read. No rules of the product."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers

from apps.core.db import note_away
from apps.core.errors import DomainError, Unavailable
from apps.core.logs import get_logger
from apps.core.security import client_address, is_near

API_PREFIX = "/api/"
THEME_COOKIE = "bough_theme"
SIDEBAR_COOKIE = "bough_sidebar"
ERROR_TEMPLATES = {403: "403.html", 404: "404.html", 429: "429.html", 500: "500.html", 503: "503.html"}
# How headers begin with which proxies say that they passed something on.
PASSED_ON = ("x-forwarded", "forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip")
# For errors that don't say how long to wait.
RETRY_SECONDS = 2
# The field of a form that holds what somebody wrote.
TEXT_FIELD = "content"
log = get_logger(__name__)
# What a header or an attribute of a page may carry from outside without a second look.
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def is_api(request: HttpRequest) -> bool:
    """Tell whether the path belongs to the JSON API, with or without its last slash."""
    return request.path.startswith(API_PREFIX) or request.path == API_PREFIX.rstrip("/")


def is_htmx(request: HttpRequest) -> bool:
    """Tell whether a script of ours asks for a fragment; works also before HtmxMiddleware ran."""
    return request.headers.get("HX-Request") == "true"


def wants_part(request: HttpRequest) -> bool:
    """Tell whether a named part of the page is enough: asked by htmx, and neither boosted nor restoring history."""
    if not is_htmx(request):
        return False
    boosted = request.headers.get("HX-Boosted") == "true"
    restoring = request.headers.get("HX-History-Restore-Request") == "true"
    return not boosted and not restoring


def render_page(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any] | None = None,
    *,
    part: str | None = None,
    status: int = 200,
) -> HttpResponse:
    """Render a page, or the part of it that the view names where htmx asks.

    Effects: `Vary: HX-Request`, so that no cache gives a part for a page. The part is never chosen by the request.
    """
    name = f"{template}#{part}" if part and wants_part(request) else template
    response = render(request, name, dict(context or {}), status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response


def request_id(request: HttpRequest) -> str:
    """Give the id of the request, which its answer and its log lines carry too."""
    return getattr(request, "request_id", "")


def comes_from_near(request: HttpRequest) -> bool:
    """Tell whether a request certainly comes from this machine or a private network.

    What was passed on counts only if trusted proxies say for whom: else everybody would come from the proxy.
    """
    peer = request.META.get("REMOTE_ADDR") or ""
    address = client_address(
        peer=peer, forwarded_for=request.headers.get("X-Forwarded-For", ""), trusted=settings.TRUSTED_PROXIES
    )
    was_passed_on = any(name.lower().startswith(PASSED_ON) for name in request.headers)
    return is_near(address) and (address != peer or not was_passed_on)


def is_safe_id(value: str) -> bool:
    """Tell whether an id from outside may stand in headers, pages and log lines."""
    return _SAFE_ID.fullmatch(value) is not None


def theme_of_browser(request: HttpRequest) -> str:
    """Give the theme this browser was last told; `system` where nothing was. For pages that know no user."""
    theme = request.COOKIES.get(THEME_COOKIE, "")
    return theme if theme in ("light", "dark") else "system"


def error_response(request: HttpRequest, error: DomainError) -> HttpResponse:
    """Answer with an error: JSON under the API, a fragment for htmx, a page otherwise.

    Effects: as `say_when`.
    """
    if is_api(request):
        return say_when(JsonResponse(error.as_dict(), status=error.status), error)
    return say_when(_html_error(request, error), error)


def say_when(response: HttpResponse, error: DomainError) -> HttpResponse:
    """Add `Retry-After` where waiting helps: as many seconds as the error's data say, else two."""
    if error.status in (429, 503):
        seconds = error.data.get("retry_after", error.data.get("reset", RETRY_SECONDS))
        response["Retry-After"] = str(int(seconds))
    return response


def unavailable(error: BaseException) -> Unavailable:
    """Give the error to answer with while the database is away or locked. Effects: logs what it said, and notes it."""
    note_away()
    log.error("database-away", exc_info=error)
    return Unavailable()


def _html_error(request: HttpRequest, error: DomainError) -> HttpResponse:
    context = {
        "text": error.text,
        "code": error.code,
        "status": error.status,
        "reference": request_id(request),
        "theme": theme_of_browser(request),
        "back": _way_back(request),
        "again": _form_again(request) if error.status == 503 else None,
    }
    page = "csrf.html" if error.code == "csrf_failed" else ERROR_TEMPLATES.get(error.status, "400.html")
    template = "_error.html" if is_htmx(request) else page
    # Rendered without the request: no context processor may query the database while an error is told.
    response = HttpResponse(render_to_string(template, context), status=error.status)
    if is_htmx(request) and error.status in (409, 422):
        # htmx swaps these (its configuration in base.html); said in a toast, they overwrite nothing.
        response["HX-Retarget"], response["HX-Reswap"] = "#toasts", "beforeend"
    patch_vary_headers(response, ["HX-Request"])
    return response


def _way_back(request: HttpRequest) -> str:
    """Give the page to try again: this one, or for a form the one it stood on, if that was ours."""
    if request.method in ("GET", "HEAD"):
        return request.get_full_path()
    came_from = urlsplit(request.headers.get("Referer", ""))
    is_ours = came_from.netloc == request.META.get("HTTP_HOST") and not came_from.path.startswith("//")
    return came_from.path if is_ours and came_from.path else "/"


def _form_again(request: HttpRequest) -> dict[str, Any] | None:
    """Give back a form with a text that somebody wrote, as it came; None for any other request.

    With the token it came with, and no other: a form of another site must not get one of ours.
    """
    try:
        form = request.POST
    except (OSError, SuspiciousOperation, MultiPartParserError):  # it was never read, or is too large
        return None
    if TEXT_FIELD not in form:
        return None
    hidden = [(name, value) for name, values in form.lists() for value in values if name != TEXT_FIELD]
    return {"action": request.get_full_path(), "hidden": hidden, "name": TEXT_FIELD, "text": form[TEXT_FIELD]}
