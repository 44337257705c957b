"""What runners do with generations: claim, renew, keep the text so far, end, hand back.

Every write compares state, owner and attempt first, so that a runner that lost its lease writes nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Model, QuerySet
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from apps.conversations.models import Conversation, Generation, GenerationState, Message
from apps.conversations.services.generations import Ending, Lease, note_answered, write_answer
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


def claim(*, owner: str, limit: int) -> list[Generation]:
    """Take queued generations, oldest first, with their messages.

    Effects: one transaction of three statements, however many; leases by the database's clock.
    """
    with transaction.atomic():
        queued = Generation.objects.filter(state=GenerationState.QUEUED).order_by("queued_at", "rank")
        ids = list(queued.select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])
        if not ids:
            return []
        Generation.objects.filter(pk__in=ids, state=GenerationState.QUEUED).update(
            state=GenerationState.RUNNING,
            lease_owner=owner,
            lease_until=_lease_end(),
            attempt=F("attempt") + 1,
            started_at=Coalesce("started_at", timezone.now()),
        )
        mine = Generation.objects.filter(pk__in=ids, state=GenerationState.RUNNING, lease_owner=owner)
        return list(mine.select_related("message").order_by("queued_at", "rank"))


def renew(ids: Collection[UUID], *, owner: str) -> list[UUID]:
    """Renew the leases of what a runner has in hand, and tell which of them were asked to stop. Effects: two statements."""
    mine = Generation.objects.filter(pk__in=ids, lease_owner=owner, state=GenerationState.RUNNING)
    mine.update(lease_until=_lease_end())
    return list(mine.filter(stop_requested_at__isnull=False).values_list("pk", flat=True))


# Kept once a second for every running answer, so written out: building the query anew cost more than running it.
KEEP_PARTS = "UPDATE conversations_message SET parts = %s WHERE id = %s"
KEEP_FIRST_DELTA = "UPDATE conversations_generation SET first_delta_at = COALESCE(first_delta_at, %s) WHERE id = %s"


def keep(progress: Sequence[Progress]) -> None:
    """Keep the text so far of running answers, all in one transaction; a lost lease writes nothing.

    The generations are locked first: an ending that commits meanwhile must not be written over.
    """
    now = _stored(Generation, "first_delta_at", timezone.now())
    ids = [one.lease.generation_id for one in progress]
    with transaction.atomic():
        locked = Generation.objects.filter(pk__in=ids, state=GenerationState.RUNNING).select_for_update().order_by("pk")
        held = {Lease(*row) for row in locked.values_list("pk", "lease_owner", "attempt")}
        mine = [one for one in progress if one.lease in held]
        first = [(now, _stored(Generation, "id", one.lease.generation_id)) for one in mine if one.is_first]
        parts = [(_stored(Message, "parts", one.parts), _stored(Message, "id", one.message_id)) for one in mine]
        with connection.cursor() as cursor:
            if first:
                cursor.executemany(KEEP_FIRST_DELTA, first)
            if parts:
                cursor.executemany(KEEP_PARTS, parts)


def finish(ending: Ending) -> bool:
    """Write how an answer ended: parts, usage and states in one transaction; False if the lease was lost.

    Effects: asks for a title after a complete answer where there is none yet; events leave on commit.
    """
    now = timezone.now()
    with transaction.atomic():
        rows = Conversation.objects.only("owner_id", "title", "title_source", "deleted_at").select_for_update()
        conversation = rows.filter(pk=ending.conversation_id).first()
        ended = _held(ending.lease).update(
            state=ending.state,
            finished_at=now,
            error_code=ending.error_code,
            first_delta_at=Coalesce("first_delta_at", ending.first_delta_at),
            lease_owner="",
            lease_until=None,
        )
        if not ended or conversation is None:
            return False
        write_answer(ending)
        note_answered(conversation, ending, now)
    return True


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


def _stored(model: type[Model], field: str, value: Any) -> Any:
    """Give a value as the database at hand stores it."""
    column: Any = model._meta.get_field(field)
    return column.get_db_prep_save(value, connection)
