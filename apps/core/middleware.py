"""What every request passes: an id, a count, JSON under the API, errors as answers, sign-in, and no caching of private pages."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.http.response import HttpResponseBase
from django.shortcuts import resolve_url
from django.utils.cache import patch_cache_control, patch_vary_headers

from apps.core import metrics
from apps.core.db import DATABASE_AWAY
from apps.core.errors import DomainError, Malformed, SignInNeeded
from apps.core.http import error_response, is_api, is_htmx, is_safe_id, unavailable
from apps.core.ids import new_id
from apps.core.logs import current_request_id
from apps.core.security import is_network

# Sentences for errors that nobody of ours put into words: Django's own, or a library's.
API_SENTENCES = {
    400: ("malformed", "The request can't be read."),
    401: ("not_signed_in", "Please sign in first."),
    403: ("forbidden", "That isn't allowed."),
    404: ("not_found", "It doesn't exist or isn't yours."),
    405: ("method_not_allowed", "That method isn't possible here."),
    413: ("too_large", "That is too large."),
    429: ("rate_limited", "That was a bit much at once. Wait a moment and try again."),
    500: ("server_error", "Something broke on our side. Nothing was lost."),
    503: ("unavailable", "The server can't do that right now. Try again in a moment."),
}

GetResponse = Callable[[HttpRequest], Any]


class Layer:
    """A middleware in two steps without I/O, so that neither kind of server needs another thread for it."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self.answer(request)
        return self.after(request, self.before(request) or self.get_response(request))

    async def answer(self, request: HttpRequest) -> HttpResponseBase:
        return self.after(request, self.before(request) or await self.get_response(request))

    def before(self, request: HttpRequest) -> HttpResponseBase | None:
        """Look at the request; an answer ends it here."""
        return None

    def after(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        return response


class RequestIdMiddleware(Layer):
    """Name each request: by the proxy's id if it is harmless, else by a new one."""

    def before(self, request: HttpRequest) -> None:
        given = request.headers.get("X-Request-Id", "")
        request.request_id = given if is_safe_id(given) else new_id().hex  # type: ignore[attr-defined]
        current_request_id.set(request.request_id)  # type: ignore[attr-defined]

    def after(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response["X-Request-Id"] = request.request_id  # type: ignore[attr-defined]
        metrics.count_request(response.status_code)
        return response


class ProbeMiddleware(Layer):
    """Let probes in by any host name: a probe knows the address of the machine, not the name of the site."""

    def before(self, request: HttpRequest) -> None:
        if request.path_info.startswith("/health/") or (
            request.path_info == "/metrics"
            and (settings.METRICS_TOKEN or _is_address(request.META.get("HTTP_HOST", "")))
        ):
            request.META["HTTP_HOST"] = urlsplit(settings.SITE_URL).netloc


def _is_address(host: str) -> bool:
    """Tell whether a host is an address, not a name: any site may have a name of its own lead here."""
    return is_network(urlsplit(f"//{host}").hostname or "")


class ApiAnswersMiddleware(Layer):
    """Keep the API's promise whatever answered: errors are JSON, and nothing redirects."""

    def after(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not is_api(request) or not isinstance(response, HttpResponse):
            return response
        if response.status_code in (301, 302, 303, 307, 308):
            _refuse_redirect(request, response)
        if response.status_code >= 400 and not response.get("Content-Type", "").startswith("application/json"):
            code, message = API_SENTENCES.get(response.status_code, API_SENTENCES[400])
            response.content = json.dumps({"error": code, "message": message}).encode()
            response["Content-Type"] = "application/json"
            response["Content-Length"] = str(len(response.content))
        return response


def _refuse_redirect(request: HttpRequest, response: HttpResponse) -> None:
    """Turn a redirect into the error it stands for: not encrypted, not signed in, or simply not there."""
    location = response["Location"]
    del response["Location"]
    if settings.SECURE_SSL_REDIRECT and not request.is_secure():
        response.status_code = 403
    elif urlsplit(location).path == resolve_url(settings.LOGIN_URL):
        response.status_code = 401
    else:
        response.status_code = 404
    response["Content-Type"] = "text/html"


class ErrorMiddleware(Layer):
    """Turn errors of the domain into answers; what is unknown goes on to the page for 500."""

    def before(self, request: HttpRequest) -> HttpResponseBase | None:
        # PostgreSQL refuses NUL in text, so no query may meet one; forms and schemas look after bodies.
        query = request.META.get("QUERY_STRING", "")
        if "%00" in query or "\x00" in query or any("\x00" in value for value in request.COOKIES.values()):
            return error_response(request, Malformed())
        return None

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, DomainError):
            return error_response(request, exception)
        if isinstance(exception, UnreadablePostError):
            # The client went away while sending: nobody reads the answer, and nothing broke.
            return error_response(request, Malformed())
        if isinstance(exception, DATABASE_AWAY):
            return error_response(request, unavailable(exception))
        return None


class SignedInMiddleware(LoginRequiredMiddleware):
    """Ask for sign-in everywhere but where a view says `login_not_required`, as the API's do: tokens count there."""

    def handle_no_permission(self, request: HttpRequest, view_func: Callable[..., Any]) -> HttpResponseBase:  # type: ignore[override]
        if is_api(request):
            return error_response(request, SignInNeeded())
        if is_htmx(request):
            # A login page swapped into a panel would help nobody: the script offers sign-in and keeps the text.
            response = error_response(request, SignInNeeded("Please sign in again. Your text is kept."))
            response["HX-Trigger"] = "auth:expired"
            return response
        if request.method not in ("GET", "HEAD"):
            # After signing in the browser comes back with GET, which a form's address does not answer.
            return redirect_to_login("/", resolve_url(self.get_login_url(view_func)))
        refused: HttpResponseBase = super().handle_no_permission(request, view_func)
        return refused


class PrivatePagesMiddleware(Layer):
    """Keep pages out of every cache, unless the view said `public`: closed by default, for all of them are somebody's."""

    def after(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if "public" not in response.get("Cache-Control", ""):
            patch_cache_control(response, private=True, no_store=True)
            patch_vary_headers(response, ["Cookie"])
        return response
