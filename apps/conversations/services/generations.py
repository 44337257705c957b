"""The life of a generation as people see it: opened, stopped, looked at, swept when its runner is gone.

What runners do with the ones they hold is in `leases`. A finished state never changes. Lock order everywhere:
conversation, generation, message.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic, sleep
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
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
from apps.conversations.services.columns import from_column, stored
from apps.core.errors import NotFound
from apps.core.ids import parse_id

MAX_ATTEMPTS = 3
RESTARTED = ("restarted", "The server restarted. The text so far is kept.")
# How long a send waits for an answer that is being stopped: a runner acts within 100 ms as a rule.
STOPPING_SECONDS = 1.5

# What runners of this process hold: whoever looks at a page here must not sweep it, however old its lease looks.
_in_hand: set[UUID] = set()


@dataclass(frozen=True, slots=True)
class Lease:
    """What fences a runner's writes: the generation, who holds it, and which try this is."""

    generation_id: UUID
    owner: str
    attempt: int


@dataclass(slots=True)
class Ending:
    """How an answer ended and what it measured; times in milliseconds, tokens as the provider counts or None.

    With `adds`, as for a continuation, figures are added to those the message has.
    """

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
    adds: bool = False


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
    with transaction.atomic():
        mine = Conversation.objects.visible_to(user).filter(pk=parse_id(conversation_id))
        conversation = mine.select_for_update().first()
        if conversation is None:
            raise NotFound
        found = Generation.objects.answers().filter(conversation=conversation)
        if generation_id is not None:
            found = found.filter(pk=parse_id(generation_id))
            if not found.exists():
                raise NotFound
        return stop_all(found)


def stop_all(generations: QuerySet[Generation]) -> list[UUID]:
    """Stop these generations, whoever's they are. The caller has checked, and holds the conversation's lock.

    Effects: as `stop`.
    """
    now = timezone.now()
    stopped = []
    with transaction.atomic():
        active = generations.filter(state__in=(GenerationState.QUEUED, GenerationState.RUNNING))
        for generation in active.select_for_update(of=("self",)).order_by("pk"):
            stopped.append(generation.pk)
            generation.stop_requested_at = generation.stop_requested_at or now
            if generation.state == GenerationState.QUEUED:
                _end_without_runner(generation, GenerationState.STOPPED, now=now)
            else:
                generation.save(update_fields=["stop_requested_at"])
                live.note_stop(generation.pk)
    return stopped


def wait_for_stopping(conversation_id: UUID) -> bool:
    """Wait until the answers that were asked to stop have stopped; False at once if one wasn't asked.

    Effects: blocks the calling thread for at most 1.5 seconds, so never inside a transaction or on the loop. What its
    runner does not end by then ends here, with the text that was kept, and the runner is fenced off.
    """
    active = Generation.objects.active().answers().filter(conversation_id=conversation_id)
    if active.filter(stop_requested_at__isnull=True).exists():
        return False
    until = monotonic() + STOPPING_SECONDS
    while active.exists():
        if monotonic() > until:
            return _end_stopping(conversation_id)
        sleep(0.02)
    return True


def _end_stopping(conversation_id: UUID) -> bool:
    with transaction.atomic():
        Conversation.objects.select_for_update().filter(pk=conversation_id).first()
        found = Generation.objects.active().answers().filter(conversation_id=conversation_id)
        for generation in found.filter(stop_requested_at__isnull=False).select_for_update(of=("self",)):
            _end_without_runner(generation, GenerationState.STOPPED, now=timezone.now())
    return True


def active_answers(*, user: User, conversation_id: str | UUID) -> list[Generation]:
    """List the answers being written in a conversation, oldest first.

    Raises: NotFound. Effects: sweeps dead ones of this conversation first; one query when nothing is dead.
    """
    found = _active_answers(user, conversation_id)
    if any(generation.is_dead for generation in found) and sweep(conversation_id=parse_id(conversation_id)):
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


# --- the dead ---------------------------------------------------------------------------------------------------


def take_in_hand(generation_id: UUID) -> None:
    """Note that a runner of this process holds a generation."""
    _in_hand.add(generation_id)


def let_go(generation_id: UUID) -> None:
    """Note that no runner of this process holds a generation any more."""
    _in_hand.discard(generation_id)


def sweep(*, conversation_id: UUID | None = None, owners: Sequence[str] = ()) -> int:
    """End or re-queue generations whose runner is gone, but never one that this process holds.

    Nothing shown yet and fewer than three tries: queued again; else interrupted with the text that was kept.
    Shape: how many were dead; `owners` are gone whatever their lease says.
    """
    dead = Q(lease_owner__in=owners) if owners else Q(lease_until__lt=Now())
    found = Generation.objects.filter(dead, state=GenerationState.RUNNING).exclude(pk__in=tuple(_in_hand))
    if conversation_id is not None:
        found = found.filter(conversation_id=conversation_id)
    return sum(_sweep_one(found, *ids) for ids in list(found.values_list("pk", "conversation_id")))


def _sweep_one(found: QuerySet[Generation], pk: UUID, conversation_id: UUID) -> bool:
    now = timezone.now()
    with transaction.atomic():
        Conversation.objects.select_for_update().filter(pk=conversation_id).first()
        generation = found.filter(pk=pk).select_for_update(of=("self",)).first()
        if generation is None:
            return False
        if generation.stop_requested_at is not None:
            _end_without_runner(generation, GenerationState.STOPPED, now=now)
        elif generation.first_delta_at is None and generation.attempt < MAX_ATTEMPTS:
            generation.state, generation.lease_owner, generation.lease_until = GenerationState.QUEUED, "", None
            generation.save(update_fields=["state", "lease_owner", "lease_until"])
            live.ring(generation)
        else:
            _end_without_runner(generation, GenerationState.INTERRUPTED, now=now, error=RESTARTED)
    return True


def dead_owners_here(*, but: str) -> list[str]:
    """Name owners of running generations whose process on this host is gone; they can't come back.

    Only where the database is a file of this host: elsewhere other machines may share a name and process numbers.
    """
    if connection.vendor != "sqlite":
        return []
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


def _end_without_runner(
    generation: Generation, state: str, *, now: datetime, error: tuple[str, str] = ("", "")
) -> None:
    """End a generation that no runner holds, with the text that is in the row. Under the conversation's lock."""
    generation.state, generation.finished_at = state, now
    generation.lease_owner, generation.lease_until, generation.error_code = "", None, error[0]
    generation.save(
        update_fields=["state", "finished_at", "lease_owner", "lease_until", "error_code", "stop_requested_at"]
    )
    if generation.message_id is None:
        return
    message = Message.objects.only("parts").get(pk=generation.message_id)
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
    note_answered(ending, now)
    write_answer(ending)
    live.publish(
        f"live:{generation.pk}",
        {"type": "ended", "status": MESSAGE_STATUS[GenerationState(state)], "message": str(generation.message_id)},
    )


# --- what every ending writes -----------------------------------------------------------------------------------

# Written out, for they end every answer: building the updates anew cost more than running them.
ANSWERED = """
UPDATE conversations_conversation
SET answered_at = %s, updated_at = CASE WHEN deleted_at IS NULL THEN %s ELSE updated_at END
WHERE id = %s RETURNING owner_id, title, title_source, deleted_at, active_leaf_id
"""
# Figures that nobody measured leave what is there. A continuation adds to what its message has; its first word is no news.
WRITE = """
UPDATE conversations_message
SET parts = %s, text = %s, token_estimate = %s, status = %s, error_code = %s, error_message = %s, finish_reason = %s,
    prompt_tokens = COALESCE(%s, prompt_tokens), completion_tokens = COALESCE(%s, completion_tokens),
    reasoning_tokens = COALESCE(%s, reasoning_tokens), cached_tokens = COALESCE(%s, cached_tokens),
    duration_ms = COALESCE(%s, duration_ms), ttft_ms = COALESCE(%s, ttft_ms)
WHERE id = %s
"""
ADD = """
UPDATE conversations_message
SET parts = %s, text = %s, token_estimate = %s, status = %s, error_code = %s, error_message = %s, finish_reason = %s,
    prompt_tokens = COALESCE(COALESCE(prompt_tokens, 0) + %s, prompt_tokens),
    completion_tokens = COALESCE(COALESCE(completion_tokens, 0) + %s, completion_tokens),
    reasoning_tokens = COALESCE(COALESCE(reasoning_tokens, 0) + %s, reasoning_tokens),
    cached_tokens = COALESCE(COALESCE(cached_tokens, 0) + %s, cached_tokens),
    duration_ms = COALESCE(COALESCE(duration_ms, 0) + %s, duration_ms)
WHERE id = %s
"""
COUNTED = ("prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens")


def write_answer(ending: Ending) -> None:
    """Write an ending into its message. Effects: one update."""
    text = joined_text(ending.parts)
    status = MESSAGE_STATUS[GenerationState(ending.state)]
    said = (ending.error_code, ending.error_message, ending.finish_reason)
    figures = (*(ending.usage.get(name) for name in COUNTED), ending.duration_ms)
    first = () if ending.adds else (ending.ttft_ms,)
    parts, key = stored(Message, "parts", ending.parts), stored(Message, "id", ending.message_id)
    with connection.cursor() as cursor:
        values = (parts, text, nodes.estimate_tokens(text), status, *said, *figures, *first, key)
        cursor.execute(ADD if ending.adds else WRITE, values)


def note_answered(ending: Ending, now: datetime) -> Conversation | None:
    """Move the conversation up, tell the tabs, and ask for a name where it has none of its own yet.

    Shape: the conversation as far as it was read; None if it is gone. A deleted one stays where it was, and nobody is
    told. Effects: locks its row.
    """
    at = stored(Conversation, "answered_at", now)
    with connection.cursor() as cursor:
        cursor.execute(ANSWERED, (at, at, stored(Conversation, "id", ending.conversation_id)))
        row = cursor.fetchone()
    if row is None:
        return None
    owner, title, source, deleted_at, leaf = row
    conversation = Conversation(
        pk=ending.conversation_id, owner_id=from_column(owner), title=title, title_source=source
    )
    conversation.active_leaf_id = from_column(leaf) if leaf else None
    if deleted_at is None:
        live.publish_conversation(conversation, what="changed")
        if ending.state == GenerationState.COMPLETED and source == TitleSource.DEFAULT:
            _ask_for_title(conversation, ending, now)
    return conversation


def _ask_for_title(conversation: Conversation, ending: Ending, now: datetime) -> None:
    if Generation.objects.active().filter(conversation=conversation, purpose=Purpose.TITLE).exists():
        return
    title = Generation(
        conversation_id=conversation.pk,
        user_id=conversation.owner_id,
        purpose=Purpose.TITLE,
        queued_at=now,
        request={"answer": str(ending.message_id)},
    )
    title.save(force_insert=True)
    live.ring(title)


def _dead() -> Exists:
    return Exists(Generation.objects.filter(pk=OuterRef("pk"), state=GenerationState.RUNNING, lease_until__lt=Now()))
