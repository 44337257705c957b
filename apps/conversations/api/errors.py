"""Errors as answers: every refusal under /api/ is the same kind of JSON object with the right status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from apps.core import http
from apps.core.db import DATABASE_AWAY
from apps.core.errors import DomainError, InvalidField, Malformed, NotFound, Refused, SignInNeeded, TooLarge

# Every error that has an answer; others are our own faults, and Django's handler tells them.
ANSWERED: tuple[type[Exception], ...] = (
    DomainError,
    Http404,
    HttpError,
    ValidationError,
    SuspiciousOperation,
    MultiPartParserError,
    UnreadablePostError,
    *DATABASE_AWAY,
)


class MethodNotAllowed(DomainError):
    code, status, message = "method_not_allowed", 405, "This address doesn't take that method."


def add_error_handlers(api: NinjaAPI) -> None:
    """Answer every error that can come out of an operation, its input or its authentication."""

    def answer(request: HttpRequest, error: Any) -> HttpResponse:
        return error_response(request, error if isinstance(error, DomainError) else as_domain_error(error))

    for kind in ANSWERED:
        api.add_exception_handler(kind, answer)


def error_response(request: HttpRequest, error: DomainError) -> HttpResponse:
    """Give an error as JSON."""
    if isinstance(error, NotFound):
        # Nothing of what was looked for: not there and not yours are the same bytes.
        error = NotFound()
    response = http.error_response(request, error)
    if error.status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="Bough"'
    return response


def not_allowed_response(request: HttpRequest, refused: HttpResponseNotAllowed) -> HttpResponse:
    """Give ninja's plain 405 as JSON, with the same Allow header."""
    response = error_response(request, MethodNotAllowed())
    response["Allow"] = refused["Allow"]
    return response


def as_domain_error(error: Exception) -> DomainError:
    """Find the error of ours that says what a library's error means."""
    match error:
        case ValidationError():
            return _invalid_field(error.errors)
        case AuthenticationError():
            return SignInNeeded()
        case HttpError() if isinstance(error.__cause__, DomainError):
            # ninja wraps whatever the body parser raises.
            return error.__cause__
        case HttpError(status_code=403):
            return Refused()
        case Http404():
            return NotFound()
        case OperationalError() | InterfaceError():
            return http.unavailable(error)
        case RequestDataTooBig():
            return TooLarge("The body is larger than 1 MB.")
        case _:
            return Malformed()


def _invalid_field(errors: Sequence[dict[str, Any]]) -> InvalidField:
    first = errors[0]
    # ("body", "given", "settings", "model") → "settings.model"; ("query", "limit") → "limit"
    source, *names = first["loc"]
    path = names[1:] if source == "body" else names
    return InvalidField(f"{first['msg'].rstrip('.')}.", field=".".join(map(str, path)) or source)
