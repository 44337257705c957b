"""Messages as the API shows and takes them."""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import Field

from apps.conversations.models import Message, MessageStatus
from apps.conversations.models.message import joined_text
from apps.conversations.schemas.base import Answer, Given, later
from apps.conversations.services.batches import MOST_MODELS

ModelId = Annotated[str, Field(max_length=300)]
# How many may be named is said by the service, in words of its own, and described here.
Models = Annotated[list[ModelId], Field(json_schema_extra={"minItems": 1, "maxItems": MOST_MODELS})]
RoleName = Literal["system", "user", "assistant", "tool", "context"]
StatusName = Literal["queued", "streaming", "complete", "stopped", "failed", "interrupted"]
ClientId = Annotated[str, Field(min_length=1, max_length=100)]


class NewMessage(Given):
    content: str
    parent_id: str | None = None
    client_id: ClientId | None = None
    model: ModelId | None = None
    models: Models | None = None
    attachment_ids: Annotated[list[str], later([])] = Field(default_factory=list)
    stream: bool | None = None


class Again(Given):
    model: ModelId | None = None
    models: Models | None = None
    stream: bool | None = None


class GoingOn(Given):
    model: ModelId | None = None
    stream: bool | None = None


class Edit(Given):
    content: str
    mode: Literal["branch", "save"]
    model: ModelId | None = None
    models: Models | None = None
    stream: bool | None = None


class MessageChanges(Given):
    favourite: bool | None = None
    pinned: Annotated[bool, later(False)] = False
    context_rule: Annotated[Literal["auto"], later("auto")] = "auto"


class Stop(Given):
    generation_id: str | None = None


class MessageError(Answer):
    code: str
    message: str


class Usage(Answer):
    prompt_tokens: int | None
    completion_tokens: int | None
    reasoning_tokens: int | None
    cached_tokens: int | None
    cost: Decimal | None = None


class Timings(Answer):
    ttft_ms: int | None
    duration_ms: int | None


class MessageOut(Answer):
    id: UUID
    chat_id: UUID
    parent_id: UUID | None
    depth: int
    role: RoleName
    parts: list[dict[str, Any]]
    content: str
    status: StatusName
    error: MessageError | None
    persona_name: str | None = None
    persona_icon: str | None = None
    model: str | None
    provider: str | None
    sibling_index: int
    sibling_count: int
    previous_sibling_id: UUID | None
    next_sibling_id: UUID | None
    pinned: bool = False
    favourite: bool
    context_rule: Literal["auto", "always", "never"] = "auto"
    tokens: int | None
    tier: Literal["recent", "mid", "historical"] | None = None
    usage: Usage
    timings: Timings
    finish_reason: str | None
    created_at: datetime


class MessagePage(Answer):
    messages: list[MessageOut]
    leaf_id: UUID | None
    leaf_changed: bool
    reason: str | None = None
    next_cursor: str | None


class Started(Answer):
    user_message_id: UUID | None
    message_ids: list[UUID]
    generation_ids: list[UUID]
    leaf_id: UUID | None
    branched: bool


class Stopped(Answer):
    stopped: list[UUID]


class Leaf(Answer):
    leaf_id: UUID | None


class Deleted(Answer):
    deleted: int
    leaf_id: UUID | None


class Restored(Answer):
    restored: int
    leaf_id: UUID | None


class BranchChild(Answer):
    id: UUID
    created_at: datetime
    excerpt: str
    size: int
    active: bool


class Branching(Answer):
    parent_id: UUID | None
    children: list[BranchChild]


class Branches(Answer):
    forks: list[Branching]


def usage_of(message: Message) -> Usage:
    """Read what an answer cost, as far as it is known."""
    return Usage(
        prompt_tokens=message.prompt_tokens,
        completion_tokens=message.completion_tokens,
        reasoning_tokens=message.reasoning_tokens,
        cached_tokens=message.cached_tokens,
    )


def timings_of(message: Message) -> Timings:
    """Read how long an answer took, as far as it is known."""
    return Timings(ttft_ms=message.ttft_ms, duration_ms=message.duration_ms)


def message_out(message: Message, *, queued: Set[UUID]) -> MessageOut:
    """Show a message whose siblings are attached; `queued` names the messages whose answer has not begun."""
    waiting = message.status == MessageStatus.STREAMING and message.pk in queued
    failed = MessageError(code=message.error_code, message=message.error_message) if message.error_code else None
    return MessageOut(
        id=message.pk,
        chat_id=message.conversation_id,
        parent_id=message.parent_id,
        depth=message.depth,
        role=cast(RoleName, message.role),
        parts=message.parts,
        # Not its text, which an answer being written has only at its end.
        content=joined_text(message.parts),
        status="queued" if waiting else cast(StatusName, message.status),
        error=failed,
        model=f"{message.provider}/{message.model_id}" if message.model_id else None,
        provider=message.provider or None,
        sibling_index=message.sibling_index,
        sibling_count=message.sibling_count,
        previous_sibling_id=message.previous_sibling_id,
        next_sibling_id=message.next_sibling_id,
        favourite=message.is_favourite,
        tokens=message.token_estimate,
        usage=usage_of(message),
        timings=timings_of(message),
        finish_reason=message.finish_reason or None,
        created_at=message.created_at,
    )
