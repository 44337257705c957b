"""The life of a generation as people see it: opened, stopped, looked at, swept when its runner is gone.

What runners do with the ones they hold is in `leases`. A finished state never changes. Lock order everywhere:
conversation, generation, message.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from time import monotonic, sleep
from typing import Any
from uuid import UUID

from django.conf import settings
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
    Purpose,
)
from apps.conversations.services import hosting, live, observation
from apps.conversations.services.endings import MESSAGE_STATUS, Ending, Lease, note_answered, write_answer
from apps.core.db import seconds_since_away
from apps.core.errors import NotFound
from apps.core.ids import new_id, parse_id
from apps.streaming.answers import PartText, Snapshot

MAX_ATTEMPTS = 3
# Whoever has not renewed a lease for so long is dead, whatever became of the database in between.
LONGEST_OUTAGE = timedelta(minutes=10)
# No lease is taken for as long, whatever an operator sets.
LONGEST_LEASE = timedelta(minutes=10)
RESTARTED = ("restarted", "The server restarted. The text so far is kept.")
# How long a send waits for an answer that is being stopped: a runner acts within 100 ms as a rule.
STOPPING_SECONDS = 1.5

# What runners of this process hold: whoever looks at a page here must not sweep it, however old its lease looks.
_in_hand: set[UUID] = set()
observation.IN_HAND.set_function(lambda: len(_in_hand))


def open_answers(
    conversation: Conversation,
    messages: Sequence[Message],
    model_ids: Sequence[str],
    *,
    now: datetime,
    continuation: bool = False,
    rank: int = 0,
) -> list[Generation]:
    """Begin the generations that write messages, as one batch: each by its model, ranked as they come, from `rank` on.

    The runner of this process takes them if it has room, else they are queued for any.
    Effects: one insert; the runner, or the doorbell, hears of them on commit.
    """
    batch, origin = new_id(), observation.origin(len(messages))
    host = hosting.host_for(len(messages))
    begun = _as_claimed_by(host.name, now) if host else {}
    generations = [
        Generation(
            conversation=conversation,
            message=message,
            user_id=conversation.owner_id,
            purpose=Purpose.ANSWER,
            batch=batch,
            rank=rank,
            request={"model": model_id, "continuation": continuation, **origin},
            queued_at=now,
            **begun,
        )
        for rank, (message, model_id) in enumerate(zip(messages, model_ids, strict=True), start=rank)
    ]
    Generation.objects.bulk_create(generations)
    for generation in generations:
        observation.queued(generation)
        if host is None:
            live.ring(generation)
    if host is not None:
        transaction.on_commit(partial(host.take, generations))
    return generations


def _as_claimed_by(owner: str, now: datetime) -> dict[str, Any]:
    """Say of a new generation what a claim would have written."""
    lease_end = Now() + timedelta(seconds=settings.GENERATION["lease_seconds"])
    running = GenerationState.RUNNING
    return {"state": running, "lease_owner": owner, "lease_until": lease_end, "attempt": 1, "started_at": now}


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
    found = Generation.objects.active().answers().filter(conversation_id=conversation_id)
    found = found.filter(stop_requested_at__isnull=False)
    held = {pk: live.held_text(pk) for pk in list(found.values_list("pk", flat=True))}
    with transaction.atomic():
        Conversation.objects.select_for_update().filter(pk=conversation_id).first()
        for generation in found.select_for_update(of=("self",)):
            said = _said(held.get(generation.pk), generation)
            _end_without_runner(generation, GenerationState.STOPPED, now=timezone.now(), said=said)
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

    Nothing shown yet and fewer than three tries: queued again; else interrupted with the text that was kept, in the row or
    in Redis. After an outage of the database its writers get one lease's time to come back.
    Shape: how many were dead; `owners` are gone whatever their lease says.
    """
    found, ids = _dead_ones(conversation_id, owners)
    return sum(_sweep_one(found, *each) for each in ids)


def count_dead() -> int:
    """Count what sweeping would end or re-queue."""
    return len(_dead_ones(None, ())[1])


def _dead_ones(
    conversation_id: UUID | None, owners: Sequence[str]
) -> tuple[QuerySet[Generation], list[tuple[UUID, UUID]]]:
    dead = Q(lease_owner__in=owners) if owners else _lapsed()
    found = Generation.objects.filter(dead, state=GenerationState.RUNNING).exclude(pk__in=tuple(_in_hand))
    if conversation_id is not None:
        found = found.filter(conversation_id=conversation_id)
    ids = list(found.values_list("pk", "conversation_id"))
    if ids and not owners and _was_just_away():
        found = found.filter(_lapsed(LONGEST_OUTAGE))
        ids = list(found.values_list("pk", "conversation_id"))
    return found, ids


def _was_just_away() -> bool:
    """Tell whether the database was away within the last lease: those who live could not say so either."""
    lease = float(settings.GENERATION["lease_seconds"])
    if seconds_since_away() < lease:
        return True
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP() - pg_postmaster_start_time())")
        return float(cursor.fetchone()[0]) < lease


def _sweep_one(found: QuerySet[Generation], pk: UUID, conversation_id: UUID) -> bool:
    now, held = timezone.now(), live.held_text(pk)
    with transaction.atomic():
        Conversation.objects.select_for_update().filter(pk=conversation_id).first()
        generation = found.filter(pk=pk).select_for_update(of=("self",)).first()
        if generation is None:
            return False
        said = _said(held, generation)
        shown = generation.first_delta_at is not None or any(part.text for part in said)
        if generation.stop_requested_at is not None:
            _end_without_runner(generation, GenerationState.STOPPED, now=now, said=said)
        elif not shown and generation.attempt < MAX_ATTEMPTS:
            generation.state, generation.lease_owner, generation.lease_until = GenerationState.QUEUED, "", None
            generation.save(update_fields=["state", "lease_owner", "lease_until"])
            observation.queued(generation)
            live.ring(generation)
        else:
            _end_without_runner(generation, GenerationState.INTERRUPTED, now=now, error=RESTARTED, said=said)
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
    generation: Generation,
    state: str,
    *,
    now: datetime,
    error: tuple[str, str] = ("", ""),
    said: Sequence[PartText] = (),
) -> None:
    """End a generation that no runner holds, with the longer of what its row has and what was `said` live.

    Under the conversation's lock.
    """
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
        parts=_longer(message.parts, said),
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
    transaction.on_commit(lambda: observation.ended(generation, ending))


def _dead() -> Exists:
    return Exists(Generation.objects.filter(_lapsed(), pk=OuterRef("pk"), state=GenerationState.RUNNING))


def _lapsed(since: timedelta = timedelta()) -> Q:
    """Tell a lease that ran out, or that is longer than any: its clock was set back since, and its holder is silent."""
    return Q(lease_until__lt=Now() - since) | Q(lease_until__gt=Now() + LONGEST_LEASE)


def _said(held: Snapshot | None, generation: Generation) -> Sequence[PartText]:
    """Give what Redis holds of this attempt; nothing of an older one."""
    return held.parts if held is not None and held.attempt == generation.attempt else ()


def _longer(parts: list[dict[str, Any]], said: Sequence[PartText]) -> list[dict[str, Any]]:
    """Choose the text that goes further: a row lags behind what was shown by up to a second."""
    if sum(len(part.text) for part in said) <= sum(len(part.get("text", "")) for part in parts):
        return parts
    rows = []
    for index, part in enumerate(said):
        before = parts[index] if index < len(parts) and parts[index]["type"] == part.kind else {}
        rows.append({**before, "type": part.kind, "text": part.text})
    return rows
