"""Pages of nobody: errors, health, figures and the token against forged forms."""

import hmac
import sys
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.middleware.csrf import get_token
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from apps.core import health, metrics
from apps.core.db import DATABASE_AWAY
from apps.core.errors import Broken, DomainError, Malformed, NotFound, Refused, TooLarge, TooManyRequests
from apps.core.http import comes_from_near, error_response, request_id, unavailable
from apps.core.logs import get_logger

log = get_logger(__name__)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    error: DomainError = TooLarge() if isinstance(exception, RequestDataTooBig) else Malformed()
    return error_response(request, error)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_response(request, Refused())


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_response(request, NotFound())


def too_many(request: HttpRequest) -> HttpResponse:
    """Answer for allauth, which looks for `handler429`; its slowest limit counts five minutes, most one."""
    return error_response(request, TooManyRequests(retry_after=60))


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer what nothing else did. Called while the exception is handled."""
    if isinstance(error := sys.exc_info()[1], DATABASE_AWAY):
        # In a layer around the views, where no middleware is asked: sessions are read there.
        return error_response(request, unavailable(error))
    reference = request_id(request)
    # Django logs the traceback right after; this line ties it to the reference that the reader sees.
    log.error(
        "request-failed",
        request_id=reference,
        method=request.method,
        path=request.path,
    )
    return error_response(request, Broken(f"Something broke on our side (ref {reference}). Nothing was lost."))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Say why a form was refused: most often an old page, sometimes an address the server was not told about."""
    origin = request.headers.get("Origin", "")
    if origin and origin not in settings.CSRF_TRUSTED_ORIGINS and urlsplit(origin).netloc:
        text = f"This page was opened at {origin[:200]}, but the server is set up for {settings.SITE_URL}."
    else:
        text = "This page was open too long. Reload to go on."
    return error_response(request, CsrfFailed(text))


class CsrfFailed(Refused):
    code = "csrf_failed"


@require_safe
def csrf(request: HttpRequest) -> JsonResponse:
    """Give a fresh token to a page that was open too long; other origins can't read the answer."""
    return JsonResponse({"token": get_token(request)})


@login_not_required
@require_safe
def live(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok", content_type="text/plain")


@login_not_required
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    results = health.run_checks()
    fine = all(result["ok"] for result in results.values())
    return JsonResponse({"status": "ok" if fine else "failing", "checks": results}, status=200 if fine else 503)


@csrf_exempt
@login_not_required
def figures(request: HttpRequest) -> HttpResponse:
    """Give Prometheus what is measured; for whoever may not see it, nothing is here."""
    if not _may_see_figures(request):
        raise Http404
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET", "HEAD"])
    body, content_type = metrics.exposition(request.headers.get("Accept", ""))
    return HttpResponse(body, content_type=content_type)


def _may_see_figures(request: HttpRequest) -> bool:
    """Ask for the token where there is one, else for an address of this machine or a private network."""
    token: str = settings.METRICS_TOKEN
    if not token:
        return comes_from_near(request)
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    return kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())
