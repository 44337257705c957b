"""How an answer ends, and what every ending writes, whoever ends it. Who may end one is for `leases` and `generations`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

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
