"""Putting messages into the tree: depth, run, text. Who may, and what follows from it, is decided by the callers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.conversations.models import Conversation, Message, MessageStatus, Run
from apps.conversations.models.message import joined_text


def estimate_tokens(text: str) -> int:
    """Estimate a text's tokens. Source: design of the context, max(ceil(chars / 4), words)."""
    return max(-(-len(text) // 4), len(text.split()))


def text_parts(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}] if text else []


def build_message(
    *,
    conversation: Conversation,
    parent: Message | None,
    role: str,
    parts: Sequence[dict[str, Any]],
    now: datetime,
    status: str = MessageStatus.COMPLETE,
    parent_is_new: bool = False,
    **fields: Any,
) -> Message:
    """Make a message below its parent, with its run, without saving the message.

    Effects: may insert a run; one query unless `parent_is_new`. The caller holds the conversation's lock.
    """
    text = joined_text(parts)
    return Message(
        conversation=conversation,
        owner_id=conversation.owner_id,
        parent=parent,
        depth=parent.depth + 1 if parent else 0,
        run_id=_run_for(conversation, parent, parent_is_new=parent_is_new),
        role=role,
        parts=list(parts),
        text=text,
        token_estimate=estimate_tokens(text),
        status=status,
        created_at=now,
        **fields,
    )


def add_message(*, conversation: Conversation, parent: Message | None, **fields: Any) -> Message:
    """Make and save a message below its parent. Effects: as `build_message`, and one insert."""
    message = build_message(conversation=conversation, parent=parent, **fields)
    message.save(force_insert=True)
    return message


def _run_for(conversation: Conversation, parent: Message | None, *, parent_is_new: bool) -> UUID:
    """Go on in the parent's run if nothing does yet (deleted messages count), else start one."""
    if parent is None:
        return Run.objects.create(conversation=conversation).pk
    goes_on = parent_is_new or not Message.objects.filter(run_id=parent.run_id, depth=parent.depth + 1).exists()
    if goes_on:
        return parent.run_id
    return Run.objects.create(conversation=conversation, parent_id=parent.run_id, parent_depth=parent.depth).pk
