"""Beginning an answer: the message it will fill, the generation that will write it, and what the tabs are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from apps.conversations.models import Conversation, ConversationStatus, Generation, Message, MessageStatus, Role
from apps.conversations.services import limits, live, nodes
from apps.conversations.services.generations import open_answer, wait_for_stopping
from apps.conversations.services.lineage import move_leaf
from apps.core.errors import GenerationInProgress
from apps.core.ids import parse_id


@dataclass
class Sent:
    """What came of sending, regenerating or continuing; answers and generations have the same order."""

    conversation: Conversation
    user_message: Message | None
    answers: list[Message] = field(default_factory=list)
    generations: list[Generation] = field(default_factory=list)
    branched: bool = False
    replayed: bool = False


def after_stopping(conversation_id: str | UUID | None, begin: Callable[[], Sent]) -> Sent:
    """Begin an answer; where one is in the way that was asked to stop, wait for its end and begin again.

    Raises: what `begin` raises. Effects: outside any transaction, for `begin` opens its own.
    """
    try:
        return begin()
    except GenerationInProgress:
        if conversation_id is None or not wait_for_stopping(parse_id(conversation_id)):
            raise
    return begin()


def begin_answer(
    conversation: Conversation,
    parent: Message | None,
    model_id: str,
    *,
    now: datetime,
    question: Message | None = None,
    branched: bool = False,
) -> Sent:
    """Begin the answer below a message and stand on it. Effects: saves the answer, and the question where it is new."""
    limits.check(conversation.owner_id, now=now)
    provider, _, name = model_id.partition("/")
    answer = nodes.build_message(
        conversation=conversation,
        parent=parent,
        role=Role.ASSISTANT,
        parts=[],
        now=now,
        status=MessageStatus.STREAMING,
        parent_is_new=question is not None,
        model_id=name,
        provider=provider,
    )
    Message.objects.bulk_create([question, answer] if question else [answer])
    generation = open_answer(conversation, answer, model_id, now=now)
    move_leaf(conversation, answer)
    touch(conversation, now)
    return tell(conversation, question, answer, generation, branched=branched)


def touch(conversation: Conversation, now: datetime) -> None:
    """Save what a new message changes. A completed conversation that goes on is active again."""
    conversation.updated_at = conversation.seen_at = now
    conversation.status = ConversationStatus.ACTIVE
    conversation.save(update_fields=["active_leaf", "updated_at", "seen_at", "title", "status", "settings"])


def tell(
    conversation: Conversation,
    question: Message | None,
    answer: Message,
    generation: Generation,
    *,
    branched: bool = False,
) -> Sent:
    """Tell the owner's tabs what came, and say it to the caller."""
    ids = [message.pk for message in (question, answer) if message is not None]
    live.publish_messages(conversation, ids, generations=[generation])
    live.publish_conversation(conversation, what="changed")
    return Sent(conversation, question, [answer], [generation], branched=branched)
