"""What live readers need of the rows: an answer as it stands, and which answers are being written. Reads alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from uuid import UUID

from apps.conversations.models import Generation, GenerationState
from apps.conversations.services.endings import MESSAGE_STATUS
from apps.core.ids import parse_id
from apps.streaming.answers import PartText, Snapshot
from apps.streaming.sockets import ActiveAnswer


def snapshot_of(generation_id: str | UUID) -> Snapshot | None:
    """Read an answer from its row; None if the generation is gone or writes no message."""
    generation = (
        Generation.objects.filter(pk=parse_id(generation_id), message__isnull=False).select_related("message").first()
    )
    if generation is None or generation.message is None:
        return None
    parts = tuple(PartText(part["type"], part.get("text", "")) for part in generation.message.parts)
    state = GenerationState(generation.state)
    status = "" if generation.is_active else str(MESSAGE_STATUS[state])
    return Snapshot(max(generation.attempt, 1), parts, ended=not generation.is_active, status=status)


def active_in(conversation_ids: Collection[str]) -> dict[str, list[ActiveAnswer]]:
    """List the answers being written in these conversations, by conversation; one query."""
    found = (
        Generation.objects.active()
        .answers()
        .filter(conversation_id__in=[parse_id(pk) for pk in conversation_ids], message__deletion__isnull=True)
        .values_list("queued_at", "rank", "conversation_id", "pk", "message_id", "attempt", "state")
    )
    answers = defaultdict(list)
    # Ordered here: asked to order them, SQLite reads all generations that a conversation ever had.
    for _, _, conversation_id, pk, message_id, attempt, state in sorted(found):
        queued = state == GenerationState.QUEUED
        answers[str(conversation_id)].append(ActiveAnswer(str(pk), str(message_id), attempt, queued))
    return answers
