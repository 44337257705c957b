"""What API readers ask about answers being written: which one to follow, which have not begun, how one ended. Reads alone."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from apps.accounts.models import User
from apps.conversations.models import Generation, GenerationState, Message, MessageStatus
from apps.core.errors import NotFound
from apps.core.ids import parse_id


def get_answer(*, user: User, conversation_id: str | UUID, generation_id: str | UUID) -> Generation:
    """Get the generation of an answer in this conversation, whatever its state, with its message. Raises: NotFound."""
    found = (
        Generation.objects.answers()
        .filter(
            pk=parse_id(generation_id),
            conversation_id=parse_id(conversation_id),
            conversation__owner=user,
            conversation__deleted_at__isnull=True,
            message__deletion__isnull=True,
        )
        .select_related("message")
        .first()
    )
    if found is None:
        raise NotFound
    return found


def get_ended(generation_id: str | UUID) -> Generation | None:
    """Read a generation again at its end, with its message and conversation; None if its rows are gone.

    For a reader that was let in by `get_answer` before.
    """
    return Generation.objects.filter(pk=parse_id(generation_id)).select_related("message", "conversation").first()


def waiting(messages: Collection[Message]) -> frozenset[UUID]:
    """Name the messages whose answer is still queued. Effects: one query, and only where one is being written."""
    writing = [message.pk for message in messages if message.status == MessageStatus.STREAMING]
    if not writing:
        return frozenset()
    queued = Generation.objects.filter(message_id__in=writing, state=GenerationState.QUEUED)
    return frozenset(pk for pk in queued.values_list("message_id", flat=True) if pk is not None)
