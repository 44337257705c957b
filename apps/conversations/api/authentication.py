"""Who calls the API: the user of a token, or of the browser's session. The only place that reads credentials."""

from __future__ import annotations

from typing import cast

from django.http import HttpRequest
from ninja.security.base import AuthBase
from ninja.utils import check_csrf

from apps.accounts.models import User
from apps.accounts.services import passes, tokens
from apps.accounts.services.passes import Pass
from apps.core.errors import Refused, SignInNeeded

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class CsrfFailed(Refused):
    code, message = "csrf_failed", "Send the CSRF token of your session as X-CSRFToken."


class ScopeMissing(Refused):
    code, message = "scope_missing", "This token isn't allowed to do that."


class Authentication(AuthBase):
    """Let in a valid token with the right scope, or a signed-in session with its CSRF token.

    Raises: SignInNeeded, ScopeMissing, CsrfFailed. A token that was sent and isn't valid never falls back on a session.
    """

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __call__(self, request: HttpRequest) -> User:
        carried = request.headers.get("Authorization")
        user = _user_of_session(request) if carried is None else _user_of_token(request, carried)
        request.auth = user  # type: ignore[attr-defined]
        return user


authenticate = Authentication()


def caller(request: HttpRequest) -> User:
    """Give the user whom `authenticate` let in."""
    return cast(User, request.auth)  # type: ignore[attr-defined]


def pass_of(request: HttpRequest) -> Pass:
    """Give by what `authenticate` let the caller in, for whoever reads on after the answer has begun."""
    return cast(Pass, request.held_pass)  # type: ignore[attr-defined]


def _user_of_token(request: HttpRequest, carried: str) -> User:
    scheme, _, bearer = carried.partition(" ")
    token = tokens.authenticate(bearer=bearer.strip()) if scheme.lower() == "bearer" else None
    if token is None:
        raise SignInNeeded("The token is not valid.")
    scope = "read" if request.method in SAFE_METHODS else "write"
    if scope not in token.scopes:
        raise ScopeMissing(f"This token's scopes don't include {scope}.", scope=scope)
    request.held_pass = passes.of_token(token)  # type: ignore[attr-defined]
    return token.user


def _user_of_session(request: HttpRequest) -> User:
    user = request.user
    if not isinstance(user, User) or not user.is_active:
        raise SignInNeeded
    if request.method not in SAFE_METHODS and check_csrf(request) is not None:
        raise CsrfFailed
    request.held_pass = passes.of_session(request.session.session_key or "", user)  # type: ignore[attr-defined]
    return user
