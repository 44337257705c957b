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
    run_id: UUID | None = None,
    **fields: Any,
) -> Message:
    """Make a message below its parent, without saving it; in its run, where the caller has found that already.

    Effects: else as `runs_for`. The caller holds the conversation's lock.
    """
    text = joined_text(parts)
    return Message(
        conversation=conversation,
        owner_id=conversation.owner_id,
        parent=parent,
        depth=parent.depth + 1 if parent else 0,
        run_id=run_id or runs_for(conversation, parent)[0],
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


def runs_for(
    conversation: Conversation, parent: Message | None, *, number: int = 1, parent_is_new: bool = False
) -> list[UUID]:
    """Find the runs of new siblings below a parent, in their order.

    The first goes on in the parent's run if nothing does yet (deleted messages count); each other one starts a run.
    Effects: at most one query, which a parent that `parent_is_new` spares, and one insert.
    """
    goes_on = parent is not None and (parent_is_new or not _is_continued(parent))
    begun = [
        Run(
            conversation=conversation,
            parent_id=parent.run_id if parent else None,
            parent_depth=parent.depth if parent else None,
        )
        for _ in range(number - goes_on)
    ]
    if begun:
        Run.objects.bulk_create(begun)
    ids = [run.pk for run in begun]
    return [parent.run_id, *ids] if parent and goes_on else ids


def _is_continued(parent: Message) -> bool:
    return Message.objects.filter(run_id=parent.run_id, depth=parent.depth + 1).exists()
