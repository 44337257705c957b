"""What runners do with generations: claim, renew, keep the text so far, end, hand back.

Every write compares state, owner and attempt first, so that a runner that lost its lease writes nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from apps.conversations.models import Generation, GenerationState, Message
from apps.conversations.services import runners
from apps.conversations.services.columns import stored, to_column
from apps.conversations.services.endings import COUNTED, Ending, Lease, note_answered, write_answer
from apps.conversations.services.runners import Pulse
from apps.core.ids import new_id


@dataclass(frozen=True, slots=True)
class Progress:
    """An answer's text so far, to be kept while it is written; `is_first` for the first time."""

    lease: Lease
    message_id: UUID
    parts: list[dict[str, Any]]
    is_first: bool


def runner_name() -> str:
    """Name this process as an owner of leases: host, process and a part that a reused process number can't repeat."""
    return f"{socket.gethostname()[:30]}:{os.getpid()}:{new_id().hex[-8:]}"


# By turns, not by age alone: somebody's first answer goes before another's second, so that fifty of one user don't keep
# another's waiting. Those that are being written count as turns already had. {lock}: two runners never wait for each other.
CLAIM = """
WITH busy AS (
    SELECT user_id, COUNT(*) AS had FROM conversations_generation WHERE state = 'running' GROUP BY user_id
), waiting AS (
    SELECT id, ROW_NUMBER() OVER (PARTITION BY one.user_id ORDER BY queued_at, rank) + COALESCE(had, 0) AS turn
    FROM conversations_generation one LEFT JOIN busy ON busy.user_id = one.user_id WHERE state = 'queued'
), picked AS (
    SELECT one.id FROM conversations_generation one JOIN waiting ON waiting.id = one.id
    WHERE one.state = 'queued' ORDER BY waiting.turn, one.queued_at, one.rank LIMIT %s {lock}
)
UPDATE conversations_generation
SET state = 'running', lease_owner = %s, lease_until = {lease_end}, attempt = attempt + 1,
    started_at = COALESCE(started_at, %s)
FROM picked WHERE conversations_generation.id = picked.id
RETURNING {columns}
"""
LOCK = {"postgresql": "FOR UPDATE OF one SKIP LOCKED", "sqlite": ""}
LEASE_END = {
    "postgresql": "STATEMENT_TIMESTAMP() + make_interval(secs => {seconds})",
    "sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW', '+{seconds} seconds')",
}


def claim(*, owner: str, limit: int) -> list[Generation]:
    """Take queued generations: the users in turns, each one's oldest first.

    Effects: one transaction of one statement, however many; leases by the database's clock.
    """
    kind, seconds = connection.vendor, float(settings.GENERATION["lease_seconds"])
    columns = ", ".join(f"conversations_generation.{field.column}" for field in Generation._meta.concrete_fields)
    sql = CLAIM.format(lock=LOCK[kind], lease_end=LEASE_END[kind].format(seconds=seconds), columns=columns)
    with transaction.atomic():
        found = list(Generation.objects.raw(sql, [limit, owner, stored(Generation, "started_at", timezone.now())]))
    return sorted(found, key=lambda one: (one.queued_at, one.rank))


def renew(ids: Collection[UUID], *, owner: str, pulse: Pulse | None = None) -> tuple[list[UUID], list[UUID]]:
    """Renew the leases of what a runner has in hand.

    Shape: which of them were asked to stop, and which are not its own any more: over by now, or taken away.
    Effects: two statements, a third where one is lost; one more, in one transaction with the first, where the runner
        also says that it lives.
    """
    mine = Generation.objects.filter(pk__in=ids, lease_owner=owner, state=GenerationState.RUNNING)
    if pulse is None:
        renewed = mine.update(lease_until=_lease_end())
    else:
        with transaction.atomic():
            renewed = mine.update(lease_until=_lease_end())
            runners.note(pulse)
    stops = list(mine.filter(stop_requested_at__isnull=False).values_list("pk", flat=True))
    if renewed == len(ids):
        return stops, []
    held = set(mine.values_list("pk", flat=True))
    return stops, [pk for pk in ids if pk not in held]


# Kept once a second for every running answer, so written out: building the query anew cost more than running it.
KEEP_PARTS = "UPDATE conversations_message SET parts = %s WHERE id = %s"
# The moment of the first delta is written, the row locked and its lease read in one go.
KEEP_FIRST_DELTA = """
UPDATE conversations_generation SET first_delta_at = COALESCE(first_delta_at, %s)
WHERE id = %s AND state = 'running' AND lease_owner = %s AND attempt = %s RETURNING id
"""


def keep(progress: Sequence[Progress]) -> None:
    """Keep the text so far of running answers, all in one transaction; a lost lease writes nothing.

    The generations are locked first: an ending that commits meanwhile must not be written over.
    Effects: one statement to write them all, one for each answer's first text, and one before where others go on.
    """
    now = stored(Generation, "first_delta_at", timezone.now())
    # In one order, lest two transactions wait for each other.
    progress = sorted(progress, key=lambda one: one.lease.generation_id)
    with transaction.atomic(), connection.cursor() as cursor:
        all_new = all(one.is_first for one in progress)
        held = set() if all_new else _locked([one.lease for one in progress])
        for lease in (one.lease for one in progress if one.is_first):
            cursor.execute(KEEP_FIRST_DELTA, (now, to_column(lease.generation_id), lease.owner, lease.attempt))
            held |= {lease} if cursor.fetchone() else set()
        mine = [one for one in progress if one.lease in held]
        if mine:
            parts = [(stored(Message, "parts", one.parts), to_column(one.message_id)) for one in mine]
            cursor.executemany(KEEP_PARTS, parts)


def _locked(leases: Sequence[Lease]) -> set[Lease]:
    """Lock the generations of leases, and tell which of these still hold. Effects: one query."""
    ids = [lease.generation_id for lease in leases]
    rows = Generation.objects.filter(pk__in=ids, state=GenerationState.RUNNING).select_for_update().order_by("pk")
    return {Lease(*row) for row in rows.values_list("pk", "lease_owner", "attempt")}


END = """
UPDATE conversations_generation
SET state = %s, finished_at = %s, error_code = %s, first_delta_at = COALESCE(first_delta_at, %s),
    lease_owner = '', lease_until = NULL
WHERE id = %s AND state = 'running' AND lease_owner = %s AND attempt = %s
"""


class _LeaseLost(Exception):
    """Nothing of the ending may be written: somebody else holds the generation, or its conversation is gone."""


def finish(ending: Ending) -> dict[str, Any] | None:
    """Write how an answer ended: parts, usage and states in one transaction; None if the lease was lost.

    Shape: the facts that readers are told; empty where only the rows know them, as the sums of a continuation.
    Effects: three statements; asks for a title after a complete answer where there is none yet; events leave on commit.
    """
    now = timezone.now()
    try:
        with transaction.atomic():
            conversation = note_answered(ending, now)
            if conversation is None or not _end(ending, now):
                raise _LeaseLost
            write_answer(ending)
    except _LeaseLost:
        return None
    return {} if ending.adds else facts_of(ending, leaf=conversation.active_leaf_id)


def _end(ending: Ending, now: datetime) -> bool:
    lease, first = ending.lease, ending.first_delta_at
    times = (stored(Generation, "finished_at", now), stored(Generation, "first_delta_at", first))
    values = (ending.state, times[0], ending.error_code, times[1])
    with connection.cursor() as cursor:
        cursor.execute(END, (*values, to_column(lease.generation_id), lease.owner, lease.attempt))
        ended: int = cursor.rowcount
    return ended == 1


def facts_of(ending: Ending, *, leaf: UUID | None) -> dict[str, Any]:
    """Put into plain values what readers are told of an end, beside its status; `leaf` is where the owner stands."""
    return {
        "finish_reason": ending.finish_reason,
        "error_code": ending.error_code,
        "error_message": ending.error_message,
        "usage": {name: ending.usage.get(name) for name in COUNTED},
        "ttft_ms": ending.ttft_ms,
        "duration_ms": ending.duration_ms,
        "leaf": str(leaf) if leaf else None,
    }


def finish_title(lease: Lease, *, state: str, error_code: str = "") -> None:
    """End a generation that writes no message."""
    _held(lease).update(
        state=state, finished_at=timezone.now(), error_code=error_code, lease_owner="", lease_until=None
    )


def hand_back(lease: Lease) -> None:
    """Put a generation back into the queue, as when a runner leaves before it began."""
    _held(lease).update(state=GenerationState.QUEUED, lease_owner="", lease_until=None)


def _held(lease: Lease) -> QuerySet[Generation]:
    return Generation.objects.filter(
        pk=lease.generation_id, state=GenerationState.RUNNING, lease_owner=lease.owner, attempt=lease.attempt
    )


def _lease_end() -> Any:
    return Now() + timedelta(seconds=settings.GENERATION["lease_seconds"])
