"""From a request to a page, a part of one, or an error in the shape that the asker can read. No rules of the product."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers

from apps.core.errors import DomainError

API_PREFIX = "/api/"
THEME_COOKIE = "bough_theme"
SIDEBAR_COOKIE = "bough_sidebar"
ERROR_TEMPLATES = {403: "403.html", 404: "404.html", 429: "429.html", 500: "500.html"}
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


def is_safe_id(value: str) -> bool:
    """Tell whether an id from outside may stand in headers, pages and log lines."""
    return _SAFE_ID.fullmatch(value) is not None


def theme_of_browser(request: HttpRequest) -> str:
    """Give the theme this browser was last told; `system` where nothing was. For pages that know no user."""
    theme = request.COOKIES.get(THEME_COOKIE, "")
    return theme if theme in ("light", "dark") else "system"


def error_response(request: HttpRequest, error: DomainError) -> HttpResponse:
    """Answer with an error: JSON under the API, a fragment for htmx, a page otherwise.

    Effects: `Retry-After` where the error carries `retry_after` in its data (seconds).
    """
    body = error.as_dict()
    retry_after = error.data.get("retry_after", error.data.get("reset"))
    if is_api(request):
        response: HttpResponse = JsonResponse(body, status=error.status)
    else:
        response = _html_error(request, error)
    if retry_after is not None:
        response["Retry-After"] = str(int(retry_after))
    return response


def _html_error(request: HttpRequest, error: DomainError) -> HttpResponse:
    context = {
        "text": error.text,
        "code": error.code,
        "status": error.status,
        "reference": request_id(request),
        "theme": theme_of_browser(request),
        "back": _way_back(request),
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
