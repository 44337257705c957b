"""API tokens: made, shown once, looked up by their hash, revoked."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from apps.accounts.models import ApiToken, User
from apps.core.errors import InvalidField, NotFound
from apps.core.ids import parse_id
from apps.core.security import digest_of

PREFIX = "bough_"
SCOPES = ("read", "write")
# With 256 random bits after it, the prefix only helps scanners for leaked secrets to know what they found.
RANDOM_BYTES = 32
HINT_LENGTH = 12
NAME_LENGTH = 200
# Longer than any token of ours: not worth hashing.
LONGEST = 200
USED_EVERY = timedelta(minutes=1)


def make_token(*, user: User, name: str = "", scopes: Iterable[str] = SCOPES) -> tuple[ApiToken, str]:
    """Make a token and give it together with its only readable copy.

    Raises: InvalidField for a name over 200 characters, an unknown scope, or no scope.
    """
    name = name.strip()
    if len(name) > NAME_LENGTH or "\x00" in name:
        raise InvalidField(f"A name has {NAME_LENGTH} characters at most.", field="name")
    plain = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    row = ApiToken.objects.create(
        user=user,
        name=name,
        digest=digest_of(plain),
        hint=plain[:HINT_LENGTH],
        scopes=clean_scopes(scopes),
        created_at=timezone.now(),
    )
    return row, plain


def clean_scopes(scopes: Iterable[str]) -> list[str]:
    """Give the scopes once each, in the order of SCOPES.

    Raises: InvalidField for an unknown one, or none.
    """
    wanted = {scope.strip() for scope in scopes} - {""}
    if not wanted or not wanted <= set(SCOPES):
        raise InvalidField(f"Scopes are {' and '.join(SCOPES)}; at least one is needed.", field="scopes")
    return [scope for scope in SCOPES if scope in wanted]


def authenticate(*, bearer: str) -> ApiToken | None:
    """Find the valid token that was sent, with its user.

    Effects: one query; a second one at most once a minute, to note that the token is in use.
    """
    if not bearer.startswith(PREFIX) or len(bearer) > LONGEST:
        return None
    token = ApiToken.objects.valid().select_related("user").filter(digest=digest_of(bearer)).first()
    if token is not None:
        _note_use(token)
    return token


def revoke_token(*, user: User, token_id: str | UUID) -> ApiToken:
    """Revoke a token at once and for good; twice is once.

    Raises: NotFound if it isn't there or isn't the user's.
    """
    token = ApiToken.objects.visible_to(user).filter(pk=parse_id(token_id)).first()
    if token is None:
        raise NotFound
    now = timezone.now()
    if ApiToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=now):
        token.revoked_at = now
    return token


def list_tokens(*, user: User) -> list[ApiToken]:
    """Give a user's tokens that still open something, newest first."""
    return list(ApiToken.objects.visible_to(user).filter(revoked_at__isnull=True).order_by("-created_at", "-pk"))


def _note_use(token: ApiToken) -> None:
    now = timezone.now()
    if token.last_used_at is not None and token.last_used_at > now - USED_EVERY:
        return
    # Compared again in the database, so that a hundred requests at once write once.
    stale = Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - USED_EVERY)
    if ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now):
        token.last_used_at = now
