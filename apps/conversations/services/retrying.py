"""Trying an answer again in its own place, where it ended before anything of it came. Other versions are `messages`'."""

from __future__ import annotations

from itertools import count
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from apps.accounts.models import User
from apps.conversations.models import Conversation, Generation, Message, MessageStatus, Role
from apps.conversations.services import limits
from apps.conversations.services.access import get_message, lock
from apps.conversations.services.answers import Sent, after_stopping, tell, touch
from apps.conversations.services.generations import open_answers
from apps.core.errors import Conflict, ConversationArchived, GenerationInProgress, NotPossible
from apps.models.services import catalogue


def retry(*, user: User, conversation_id: str | UUID, message_id: str | UUID) -> Sent:
    """Write an answer of which nothing came once more, by its own model; other answers to the same message go on.

    Raises: NotFound, NotPossible on a user's message, Conflict where the answer has words, GenerationInProgress while
        another message is answered, ConversationArchived, TooManyRequests. Nothing is stored then.
    """
    catalogue.resolve(None)  # may ask providers, which no transaction waits for
    return after_stopping(conversation_id, lambda: _retry(user, conversation_id, message_id))


def _retry(user: User, conversation_id: str | UUID, message_id: str | UUID) -> Sent:
    now = timezone.now()
    with transaction.atomic():
        conversation = lock(user, conversation_id)
        message = get_message(conversation, message_id)
        if conversation.is_archived:
            raise ConversationArchived
        rank = _free_rank(conversation, message)
        if message.role != Role.ASSISTANT:
            raise NotPossible("Only an answer can be tried again.")
        if message.parts:
            raise Conflict("This answer has words. Regenerate it, and they stay.")
        limits.check(conversation.owner_id, now=now)
        model_id = catalogue.resolve(None, preferred=f"{message.provider}/{message.model_id}").model_id
        message.provider, _, message.model_id = model_id.partition("/")
        message.status = MessageStatus.STREAMING
        message.error_code = message.error_message = message.finish_reason = ""
        message.save(update_fields=["provider", "model_id", "status", "error_code", "error_message", "finish_reason"])
        generations = open_answers(conversation, [message], [model_id], now=now, rank=rank)
        touch(conversation, now)
        return tell(Sent(conversation, None, [message], generations))


def _free_rank(conversation: Conversation, message: Message) -> int:
    """Find a rank that none has of those who are being written, all beside this one. Raises: GenerationInProgress."""
    active = Generation.objects.active().answers().filter(conversation=conversation).select_related("message")
    taken = set()
    for generation in active:
        beside = generation.message is not None and generation.message.parent_id == message.parent_id
        if not beside or generation.message_id == message.pk:
            raise GenerationInProgress
        taken.add(generation.rank)
    return next(rank for rank in count() if rank not in taken)
