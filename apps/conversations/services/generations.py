"""The life of a generation: opened, claimed, kept, written, ended, stopped, swept. States and leases, no text streams.

A finished state never changes: every write compares state, owner and attempt first, so that a runner that lost its
lease writes nothing. Talking to providers is the runner's work.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, F, Model, OuterRef, Q
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from apps.accounts.models import User
from apps.conversations.models import (
    Conversation,
    Generation,
    GenerationState,
    Message,
    MessageStatus,
    Purpose,
    TitleSource,
)
from apps.conversations.models.message import joined_text
from apps.conversations.services import live, nodes
from apps.core.errors import NotFound
from apps.core.ids import new_id, parse_id

MAX_ATTEMPTS = 3
RESTARTED = ("restarted", "The server restarted. The text so far is kept.")


@dataclass(frozen=True, slots=True)
class Lease:
    """What fences a runner's writes: the generation, who holds it, and which try this is."""

    generation_id: UUID
    owner: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Progress:
    """An answer's text so far, to be kept while it is written."""

    lease: Lease
    message_id: UUID
    parts: list[dict[str, Any]]
    is_first: bool


@dataclass(slots=True)
class Ending:
    """How an answer ended and what it measured; times in milliseconds, tokens as the provider counts or None."""

    lease: Lease
    message_id: UUID
    conversation_id: UUID
    state: str
    parts: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str = ""
    error_code: str = ""
    error_message: str = ""
    usage: dict[str, int | None] = field(default_factory=dict)
    ttft_ms: int | None = None
    duration_ms: int | None = None
    first_delta_at: datetime | None = None


MESSAGE_STATUS = {
    GenerationState.COMPLETED: MessageStatus.COMPLETE,
    GenerationState.STOPPED: MessageStatus.STOPPED,
    GenerationState.FAILED: MessageStatus.FAILED,
    GenerationState.INTERRUPTED: MessageStatus.INTERRUPTED,
}


def open_answer(
    conversation: Conversation, message: Message, model_id: str, *, now: datetime, continuation: bool = False
) -> Generation:
    """Queue the generation that writes a message. Effects: one insert; the doorbell rings on commit."""
    generation = Generation(
        conversation=conversation,
        message=message,
        user_id=conversation.owner_id,
        purpose=Purpose.ANSWER,
        request={"model": model_id, "continuation": continuation},
        queued_at=now,
    )
    generation.save(force_insert=True)
    live.ring(generation)
    return generation


# --- for people -------------------------------------------------------------------------------------------------


def stop(*, user: User, conversation_id: str | UUID, generation_id: str | UUID | None = None) -> list[UUID]:
    """Ask the running answers of a conversation (or one of them) to stop; idempotent.

    Shape: the ids that were still active. Raises: NotFound for a conversation or generation that isn't the user's.
    Effects: a queued one ends at once; a running one when its runner hears of it, within 100 ms as a rule.
    """
    conversation = Conversation.objects.visible_to(user).filter(pk=parse_id(conversation_id)).first()
    if conversation is None:
        raise NotFound
    found = Generation.objects.answers().filter(conversation=conversation)
    if generation_id is not None:
        found = found.filter(pk=parse_id(generation_id))
        if not found.exists():
            raise NotFound
    return stop_all(found)


def stop_all(generations: Any) -> list[UUID]:
    """Stop these generations, whoever's they are; the caller has checked. Effects: as `stop`."""
    now = timezone.now()
    stopped = []
    with transaction.atomic():
        for generation in generations.active().select_for_update(of=("self",)).select_related("conversation"):
            stopped.append(generation.pk)
            generation.stop_requested_at = generation.stop_requested_at or now
            if generation.state == GenerationState.QUEUED:
                _end_without_runner(generation, GenerationState.STOPPED, now=now)
            else:
                generation.save(update_fields=["stop_requested_at"])
                live.note_stop(generation.pk)
    return stopped


def active_answers(*, user: User, conversation_id: str | UUID) -> list[Generation]:
    """List the answers being written in a conversation, oldest first.

    Raises: NotFound. Effects: sweeps dead ones of this conversation first; one query when nothing is dead.
    """
    found = _active_answers(user, conversation_id)
    if any(generation.is_dead for generation in found):
        sweep(conversation_id=parse_id(conversation_id))
        found = _active_answers(user, conversation_id)
    if not found and not Conversation.objects.visible_to(user).filter(pk=parse_id(conversation_id)).exists():
        raise NotFound
    return found


def _active_answers(user: User, conversation_id: str | UUID) -> list[Any]:
    return list(
        Generation.objects.active()
        .answers()
        .filter(
            conversation_id=parse_id(conversation_id),
            conversation__owner=user,
            conversation__deleted_at__isnull=True,
            message__deletion__isnull=True,
        )
        .annotate(is_dead=_dead())
        .select_related("message")
        .order_by("queued_at", "rank")
    )


# --- for runners ------------------------------------------------------------------------------------------------


def runner_name() -> str:
    """Name this process as an owner of leases: host, process and a part that a reused process number can't repeat."""
    return f"{socket.gethostname()[:30]}:{os.getpid()}:{new_id().hex[-8:]}"


def claim(*, owner: str, limit: int) -> list[Generation]:
    """Take queued generations, oldest first, with their messages and conversations.

    Effects: one transaction of three statements, however many; compare-and-set on the state, leases by the database's clock.
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


def renew(*, owner: str) -> list[UUID]:
    """Renew all leases of a runner and tell which of its generations were asked to stop. Effects: two statements."""
    mine = Generation.objects.filter(lease_owner=owner, state=GenerationState.RUNNING)
    mine.update(lease_until=_lease_end())
    return list(mine.filter(stop_requested_at__isnull=False).values_list("pk", flat=True))


# Kept once a second for every running answer, so written out: building the query anew cost more than running it.
KEEP_PARTS = """
UPDATE conversations_message SET parts = %s WHERE id = %s AND EXISTS (
    SELECT 1 FROM conversations_generation WHERE id = %s AND state = 'running' AND lease_owner = %s AND attempt = %s
)
"""
KEEP_FIRST_DELTA = """
UPDATE conversations_generation SET first_delta_at = COALESCE(first_delta_at, %s)
WHERE id = %s AND state = 'running' AND lease_owner = %s AND attempt = %s
"""


def keep(progress: Sequence[Progress]) -> None:
    """Keep the text so far of running answers, all in one transaction; a lost lease writes nothing."""
    now = _stored(Generation, "first_delta_at", timezone.now())
    first, parts = [], []
    for one in progress:
        fence = (_stored(Generation, "id", one.lease.generation_id), one.lease.owner, one.lease.attempt)
        parts.append((_stored(Message, "parts", one.parts), _stored(Message, "id", one.message_id), *fence))
        if one.is_first:
            first.append((now, *fence))
    with transaction.atomic(), connection.cursor() as cursor:
        if first:
            cursor.executemany(KEEP_FIRST_DELTA, first)
        cursor.executemany(KEEP_PARTS, parts)


def _stored(model: type[Model], field: str, value: Any) -> Any:
    """Give a value as the database at hand stores it."""
    column: Any = model._meta.get_field(field)
    return column.get_db_prep_save(value, connection)


def finish(ending: Ending) -> bool:
    """Write how an answer ended: parts, usage and states in one transaction; False if the lease was lost.

    Effects: asks for a title after a first complete answer; events leave on commit.
    """
    now = timezone.now()
    with transaction.atomic():
        ended = _held(ending.lease).update(
            state=ending.state,
            finished_at=now,
            error_code=ending.error_code,
            first_delta_at=Coalesce("first_delta_at", ending.first_delta_at),
            lease_owner="",
            lease_until=None,
        )
        if not ended:
            return False
        _write_answer(ending)
        _note_answered(ending, now)
    return True


def finish_quietly(lease: Lease, *, state: str, error_code: str = "") -> None:
    """End a generation that writes no message, such as a title."""
    _held(lease).update(
        state=state, finished_at=timezone.now(), error_code=error_code, lease_owner="", lease_until=None
    )


def hand_back(lease: Lease) -> None:
    """Put a generation back into the queue, as when a runner leaves before it began."""
    _held(lease).update(state=GenerationState.QUEUED, lease_owner="", lease_until=None)


# --- the dead ---------------------------------------------------------------------------------------------------


def sweep(*, conversation_id: UUID | None = None, keep_owner: str = "", owners: Sequence[str] | None = None) -> int:
    """End or re-queue generations whose runner is gone.

    Nothing shown yet and fewer than three tries: queued again; else interrupted with the text that was kept.
    Shape: how many were dead; `keep_owner` is never swept, `owners` are swept whatever their lease says.
    """
    dead = Q(pk__in=[]) if owners else Q(lease_until__lt=Now())
    if owners:
        dead |= Q(lease_owner__in=owners)
    found = Generation.objects.filter(dead, state=GenerationState.RUNNING).exclude(lease_owner=keep_owner or "-")
    if conversation_id is not None:
        found = found.filter(conversation_id=conversation_id)
    count = 0
    for pk in list(found.values_list("pk", flat=True)):
        with transaction.atomic():
            generation = (
                found.filter(pk=pk).select_for_update(of=("self",)).select_related("conversation", "message").first()
            )
            if generation is None:
                continue
            count += 1
            _sweep_one(generation)
    return count


def dead_owners_here(*, but: str) -> list[str]:
    """Name owners of running generations on this host whose process is gone; they can't come back."""
    prefix = f"{socket.gethostname()[:30]}:"
    owners = (
        Generation.objects.filter(state=GenerationState.RUNNING, lease_owner__startswith=prefix)
        .exclude(lease_owner=but)
        .values_list("lease_owner", flat=True)
        .distinct()
    )
    return [owner for owner in owners if not _is_alive(owner, but)]


def _is_alive(owner: str, me: str) -> bool:
    pid = owner.split(":")[1]
    if pid == me.split(":")[1]:
        return False  # our own number, and not our name: an earlier process had it
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):
        return True
    return True


def _sweep_one(generation: Generation) -> None:
    now = timezone.now()
    shown = generation.first_delta_at is not None or bool(generation.message and generation.message.parts)
    if generation.stop_requested_at is not None:
        _end_without_runner(generation, GenerationState.STOPPED, now=now)
    elif not shown and generation.attempt < MAX_ATTEMPTS:
        generation.state, generation.lease_owner, generation.lease_until = GenerationState.QUEUED, "", None
        generation.save(update_fields=["state", "lease_owner", "lease_until"])
        live.ring(generation)
    else:
        _end_without_runner(generation, GenerationState.INTERRUPTED, now=now, error=RESTARTED)


def _end_without_runner(
    generation: Generation, state: str, *, now: datetime, error: tuple[str, str] = ("", "")
) -> None:
    """End a generation that no runner holds, with the text that is in the row."""
    generation.state, generation.finished_at = state, now
    generation.lease_owner, generation.lease_until, generation.error_code = "", None, error[0]
    generation.save(
        update_fields=["state", "finished_at", "lease_owner", "lease_until", "error_code", "stop_requested_at"]
    )
    if generation.message_id is None:
        return
    assert generation.message is not None
    message = Message.objects.get(pk=generation.message.pk)
    ending = Ending(
        lease=Lease(generation.pk, "", generation.attempt),
        message_id=message.pk,
        conversation_id=generation.conversation_id,
        state=state,
        parts=message.parts,
        finish_reason="user_stopped" if state == GenerationState.STOPPED else "",
        error_code=error[0],
        error_message=error[1],
    )
    _write_answer(ending)
    _note_answered(ending, now)
    live.publish(
        f"live:{generation.pk}",
        {"type": "ended", "status": MESSAGE_STATUS[GenerationState(state)], "message": str(generation.message_id)},
    )


def _write_answer(ending: Ending) -> None:
    text = joined_text(ending.parts)
    Message.objects.filter(pk=ending.message_id).update(
        parts=ending.parts,
        text=text,
        token_estimate=nodes.estimate_tokens(text),
        status=MESSAGE_STATUS[GenerationState(ending.state)],
        error_code=ending.error_code,
        error_message=ending.error_message,
        finish_reason=ending.finish_reason,
        ttft_ms=ending.ttft_ms,
        duration_ms=ending.duration_ms,
        **ending.usage,
    )


def _note_answered(ending: Ending, now: datetime) -> None:
    """Move the conversation up, tell the tabs, and ask for a title after a first complete answer."""
    conversation = Conversation.objects.only("owner_id", "title", "title_source").get(pk=ending.conversation_id)
    Conversation.objects.filter(pk=conversation.pk).update(answered_at=now, updated_at=now)
    live.publish_conversation(conversation, what="changed")
    if ending.state == GenerationState.COMPLETED and conversation.title_source == TitleSource.DEFAULT:
        title = Generation(
            conversation_id=conversation.pk,
            user_id=conversation.owner_id,
            purpose=Purpose.TITLE,
            queued_at=now,
            request={"answer": str(ending.message_id)},
        )
        title.save(force_insert=True)
        live.ring(title)


def _held(lease: Lease) -> Any:
    return Generation.objects.filter(
        pk=lease.generation_id, state=GenerationState.RUNNING, lease_owner=lease.owner, attempt=lease.attempt
    )


def _lease_end() -> Any:
    return Now() + timedelta(seconds=settings.GENERATION["lease_seconds"])


def _dead() -> Exists:
    return Exists(Generation.objects.filter(pk=OuterRef("pk"), state=GenerationState.RUNNING, lease_until__lt=Now()))
