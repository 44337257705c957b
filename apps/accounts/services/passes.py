"""What lets somebody go on reading: a session or a token, looked at again for as long as a socket or a stream is open.

Whether a request may begin to read is decided where it comes in; this only finds what has lapsed since.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID

from django.contrib.sessions.models import Session
from django.db.models import CharField, Value
from django.db.models.functions import Cast
from django.utils import timezone

from apps.accounts.models import ApiToken, User
from apps.core.security import digest_of

SESSION, TOKEN, USER = "session", "token", "user"
# Each has two parameters, and SQLite takes 32,766 in a query.
AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Pass:
    """By what somebody was let in: a session's key, with a digest of the password it was made under, or a token's id."""

    kind: str
    key: str = field(repr=False)
    user_id: UUID
    proof: str = field(default="", repr=False)


class Lapse(Enum):
    """Why a pass counts no more. RENEWED: a new password was set in this session, whose browser holds a new key."""

    ENDED = "ended"
    RENEWED = "renewed"


def of_session(session_key: str, user: User) -> Pass:
    """Give the pass of a session that was just read, with its user."""
    return Pass(SESSION, session_key, user.pk, digest_of(user.password))


def of_token(token: ApiToken) -> Pass:
    """Give the pass of a token that was just found valid."""
    return Pass(TOKEN, str(token.pk), token.user_id)


def lapsed(passes: Collection[Pass]) -> dict[Pass, Lapse]:
    """Find the passes that let nobody in any more: signed out, expired, revoked, user disabled, password changed.

    Effects: one query for every 10,000 passes, since it is asked every few seconds while anybody reads.
    """
    held = list(passes)
    found: dict[Pass, Lapse] = {}
    for start in range(0, len(held), AT_ONCE):
        found |= _lapsed(held[start : start + AT_ONCE])
    return found


def _lapsed(passes: Collection[Pass]) -> dict[Pass, Lapse]:
    standing: dict[str, dict[str, str]] = {SESSION: {}, TOKEN: {}, USER: {}}
    for kind, key, password in _standing_rows(passes):
        # Ids come in the shape of each database.
        standing[kind][key if kind == SESSION else UUID(key).hex] = password
    proofs = {key: digest_of(password) for key, password in standing[USER].items()}
    found = {}
    for one in passes:
        if one.kind == TOKEN:
            lapse = None if UUID(one.key).hex in standing[TOKEN] else Lapse.ENDED
        else:
            lapse = _lapse_of_session(one, one.key in standing[SESSION], proofs.get(one.user_id.hex))
        if lapse is not None:
            found[one] = lapse
    return found


def _lapse_of_session(one: Pass, is_there: bool, proof: str | None) -> Lapse | None:
    """Judge a session; `proof` is that of its user's password now, None for a user who is gone or disabled."""
    if proof is None:
        return Lapse.ENDED
    if is_there:
        return None if proof == one.proof else Lapse.ENDED
    return Lapse.ENDED if proof == one.proof else Lapse.RENEWED


def _standing_rows(passes: Collection[Pass]) -> Iterable[tuple[str, str, str]]:
    """Read, as (kind, key, password), the sessions, tokens and users that still count."""
    keys = {kind: [one.key for one in passes if one.kind == kind] for kind in (SESSION, TOKEN)}
    users = {one.user_id for one in passes if one.kind == SESSION}
    nothing = Value("", CharField())
    sessions = Session.objects.filter(session_key__in=keys[SESSION], expire_date__gt=timezone.now())
    tokens = ApiToken.objects.valid().filter(pk__in=keys[TOKEN])
    people = User.objects.filter(pk__in=users, is_active=True)
    rows: Iterable[tuple[str, str, str]] = sessions.values_list(
        Value(SESSION, CharField()), "session_key", nothing
    ).union(
        tokens.values_list(Value(TOKEN, CharField()), Cast("pk", CharField()), nothing),
        people.values_list(Value(USER, CharField()), Cast("pk", CharField()), "password"),
        all=True,
    )
    return rows
