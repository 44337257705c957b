"""Beginning answers: the messages they will fill, the generations that will write them, and what the tabs are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from apps.conversations.models import Conversation, ConversationStatus, Generation, Message, MessageStatus, Role
from apps.conversations.services import limits, live, nodes
from apps.conversations.services.generations import open_answers, wait_for_stopping
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


def begin_answers(
    conversation: Conversation,
    parent: Message | None,
    model_ids: Sequence[str],
    *,
    now: datetime,
    question: Message | None = None,
    branched: bool = False,
) -> Sent:
    """Begin an answer by each of the models, side by side below a message, and stand on the first.

    Raises: GenerationInProgress while others are written here; TooManyRequests, unless the limits leave room for all.
    Effects: saves the answers, and the question where it
        is new, in as many statements whatever the number of models.
    """
    limits.check(conversation.owner_id, now=now, wanted=len(model_ids), alone_in=conversation.pk)
    answers = _build_answers(conversation, parent, model_ids, now=now, parent_is_new=question is not None)
    Message.objects.bulk_create([question, *answers] if question else answers)
    generations = open_answers(conversation, answers, model_ids, now=now)
    move_leaf(conversation, answers[0])
    touch(conversation, now)
    return tell(Sent(conversation, question, answers, generations, branched=branched))


def _build_answers(
    conversation: Conversation,
    parent: Message | None,
    model_ids: Sequence[str],
    *,
    now: datetime,
    parent_is_new: bool,
) -> list[Message]:
    """Make the empty answers, in the order of the models: siblings of one time are ordered by their ids."""
    runs = nodes.runs_for(conversation, parent, number=len(model_ids), parent_is_new=parent_is_new)
    answers = []
    for run_id, model_id in zip(runs, model_ids, strict=True):
        provider, _, name = model_id.partition("/")
        answer = nodes.build_message(
            conversation=conversation,
            parent=parent,
            run_id=run_id,
            role=Role.ASSISTANT,
            parts=[],
            now=now,
            status=MessageStatus.STREAMING,
            model_id=name,
            provider=provider,
        )
        answers.append(answer)
    return answers


def touch(conversation: Conversation, now: datetime) -> None:
    """Save what a new message changes. A completed conversation that goes on is active again."""
    conversation.updated_at = conversation.seen_at = now
    conversation.status = ConversationStatus.ACTIVE
    conversation.save(update_fields=["active_leaf", "updated_at", "seen_at", "title", "status", "settings"])


def tell(sent: Sent) -> Sent:
    """Tell the owner's tabs what came, and give it back."""
    ids = [message.pk for message in (sent.user_message, *sent.answers) if message is not None]
    live.publish_messages(sent.conversation, ids, generations=sent.generations)
    live.publish_conversation(sent.conversation, what="changed")
    return sent
