"""Putting answers right: messages follow their generations, generations follow their messages' conversations.

Under the lock, but for leases, whose sweeping locks by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.conversations.models import (
    Conversation,
    Generation,
    GenerationState,
    Message,
    MessageRevision,
    MessageStatus,
    Role,
)
from apps.conversations.models.message import joined_text
from apps.conversations.services import generations, live, nodes
from apps.conversations.services.endings import MESSAGE_STATUS
from apps.conversations.services.generations import RESTARTED
from apps.conversations.services.tree_rules import text_of


def settle_messages(conversation_id: UUID, rows: Sequence[UUID]) -> int:
    """Give messages the status of their last generation; without one, what nobody writes is interrupted.

    Effects: what ends here gets the text of the parts that were kept; the owner's tabs are told.
    """
    for message in Message.objects.filter(pk__in=rows):
        last = Generation.objects.filter(message=message).order_by("queued_at", "pk").last()
        if last is not None and last.is_active:
            message.status = MessageStatus.STREAMING
        else:
            _end(message, last)
        message.save(update_fields=["status", "error_code", "error_message", "text", "token_estimate"])
    live.publish_messages(Conversation.objects.get(pk=conversation_id), rows)
    return len(rows)


def _end(message: Message, last: Generation | None) -> None:
    if last is not None:
        message.status = MESSAGE_STATUS[GenerationState(last.state)]
        message.error_code = last.error_code
    elif message.role == Role.ASSISTANT:
        message.status = MessageStatus.INTERRUPTED
        message.error_code, message.error_message = RESTARTED
    else:
        message.status = MessageStatus.COMPLETE
    text = text_of(message.parts)
    if text:
        message.text, message.token_estimate = text, nodes.estimate_tokens(text)


def derive_texts(conversation_id: UUID, rows: Sequence[UUID]) -> int:
    """Make texts those of their parts. A text that the parts don't hold is kept: as a part where there is none, else as a revision."""
    for message in Message.objects.filter(pk__in=rows):
        text = joined_text(message.parts)
        if message.text and not text:
            message.parts = [*message.parts, *nodes.text_parts(message.text)]
        elif message.text not in text:
            was = nodes.text_parts(message.text)
            MessageRevision.objects.create(message=message, parts=was, created_at=timezone.now())
        message.text = joined_text(message.parts)
        message.token_estimate = nodes.estimate_tokens(message.text)
        message.save(update_fields=["parts", "text", "token_estimate"])
    return len(rows)


def own_messages(conversation_id: UUID, rows: Sequence[UUID]) -> int:
    """Give messages to their conversation's owner; a client id that the owner used elsewhere is let go."""
    owner_id = Conversation.objects.get(pk=conversation_id).owner_id
    for pk in rows:
        try:
            with transaction.atomic():
                Message.objects.filter(pk=pk).update(owner_id=owner_id)
        except IntegrityError:
            Message.objects.filter(pk=pk).update(owner_id=owner_id, client_id=None)
    return len(rows)


def place_generations(conversation_id: UUID, rows: Sequence[UUID]) -> int:
    """Put generations where their messages are, in the name of the owner."""
    for generation in Generation.objects.filter(pk__in=rows).select_related("message", "conversation"):
        home = generation.message.conversation if generation.message is not None else generation.conversation
        Generation.objects.filter(pk=generation.pk).update(conversation=home, user=home.owner_id)
    return len(rows)


def stop_second_batches(conversation_id: UUID, rows: Sequence[UUID]) -> int:
    """Ask the answers of a later batch to stop."""
    return len(generations.stop_all(Generation.objects.filter(pk__in=rows)))


def let_leases_lapse(conversation_id: UUID, rows: Sequence[UUID]) -> int:
    """Give running generations that never had a lease one that has run out, for sweeping to find."""
    running = Generation.objects.filter(pk__in=rows, state=GenerationState.RUNNING, lease_until__isnull=True)
    running.update(lease_until=timezone.now() - timedelta(days=1))
    return len(rows)
