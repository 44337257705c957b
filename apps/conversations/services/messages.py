"""What a person does with messages: send, regenerate, edit, continue, mark. Every act is one transaction.

Answers are only begun here; the runner writes them. Moving in the tree and deleting are in `branches`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.accounts.models import User
from apps.conversations.models import (
    Conversation,
    Generation,
    Message,
    MessageRevision,
    MessageStatus,
    Role,
    TitleSource,
)
from apps.conversations.models.message import joined_text
from apps.conversations.services import batches, limits, live, nodes
from apps.conversations.services.access import check_can_answer, check_not_archived, chosen_model, get_message, lock
from apps.conversations.services.answers import Sent, after_stopping, begin_answers, tell, touch
from apps.conversations.services.contents import clean_client_id, clean_content, excerpt
from apps.conversations.services.generations import open_answers
from apps.conversations.services.lineage import move_leaf
from apps.core.errors import (
    ClientIdReused,
    ConversationArchived,
    GenerationInProgress,
    InvalidField,
    InvalidLeaf,
    NotFound,
    NotPossible,
)
from apps.core.ids import new_id, parse_id
from apps.models.services import catalogue


def send(
    *,
    user: User,
    conversation_id: str | UUID | None,
    content: str,
    parent_id: str | UUID | None = None,
    client_id: str | None = None,
    model: str | None = None,
    models: Sequence[str] | None = None,
) -> Sent:
    """Store a user's message and begin its answer; without a conversation, make one that keeps the given model.

    Shape: an older parent makes a branch; the same `client_id` again gives the first result. With `models`, one to eight
        of them, the same one twice if wanted, each answers: all are begun, or none.
    Raises: EmptyMessage, TooLarge, InvalidField, UnknownModel, NotFound, InvalidLeaf, GenerationInProgress,
        ConversationArchived, ClientIdReused, TooManyRequests. Nothing is stored then.
    Effects: one transaction of at most 8 statements; the doorbell rings on commit.
    """
    text = clean_content(content)
    client_id = clean_client_id(client_id)
    batches.check_given(model, models)
    if client_id and (first := _replay(user, conversation_id, client_id, text, parent_id)):
        return first
    given = batches.resolve_given(model, models)
    model_ids = given or [_preferred(chosen_model(user, conversation_id))]

    def begin() -> Sent:
        return _send(user, conversation_id, text, parent_id, client_id, model_ids, is_given=bool(given))

    try:
        return after_stopping(conversation_id, begin)
    except (IntegrityError, GenerationInProgress):
        # Somebody may have sent the same client id at the same moment, and been first.
        if client_id and (first := _replay(user, conversation_id, client_id, text, parent_id)):
            return first
        raise


def regenerate(
    *,
    user: User,
    conversation_id: str | UUID,
    message_id: str | UUID,
    model: str | None = None,
    models: Sequence[str] | None = None,
) -> Sent:
    """Begin another answer beside an assistant message, or several: by what is given, else the chosen model, else its own.

    Raises: NotFound, NotPossible on a user's message, InvalidField, UnknownModel, GenerationInProgress,
        ConversationArchived, TooManyRequests. Nothing is stored then.
    """
    given = batches.resolve_given(model, models)

    def begin() -> Sent:
        with transaction.atomic():
            conversation = lock(user, conversation_id)
            message = get_message(conversation, message_id)
            if message.role != Role.ASSISTANT:
                raise NotPossible("Only an answer can be regenerated.")
            check_not_archived(conversation)
            model_ids = given or [_preferred(_chosen_or_own(conversation, message))]
            return begin_answers(conversation, message.parent, model_ids, now=timezone.now())

    catalogue.resolve(None)  # may ask providers, which no transaction waits for
    return after_stopping(conversation_id, begin)


def edit(
    *,
    user: User,
    conversation_id: str | UUID,
    message_id: str | UUID,
    content: str,
    mode: str = "branch",
    model: str | None = None,
    models: Sequence[str] | None = None,
) -> Sent | Message:
    """Change a message: `branch` makes a sibling (and answers a user's), `save` keeps the place and the old text.

    Shape: Sent for `branch`, the message for `save`.
    Raises: as `send`, and InvalidField for another mode; GenerationInProgress for `save` while that message is written.
    """
    text = clean_content(content)
    if mode == "save":
        with transaction.atomic():
            conversation = lock(user, conversation_id)
            return _save_in_place(conversation, get_message(conversation, message_id), text)
    if mode != "branch":
        raise InvalidField("mode is branch or save.", field="mode")
    given = batches.resolve_given(model, models)
    model_ids = given or [_preferred(chosen_model(user, conversation_id))]

    def begin() -> Sent:
        with transaction.atomic():
            conversation = lock(user, conversation_id)
            return _edit_as_branch(conversation, get_message(conversation, message_id), text, model_ids)

    return after_stopping(conversation_id, begin)


def continue_answer(
    *, user: User, conversation_id: str | UUID, message_id: str | UUID, model: str | None = None
) -> Sent:
    """Go on writing in the same assistant message, by its own model unless another is given.

    Raises: NotFound, NotPossible for a user's message or an answer without text, UnknownModel, GenerationInProgress,
        ConversationArchived, TooManyRequests.
    """
    catalogue.resolve(model)
    return after_stopping(conversation_id, lambda: _continue(user, conversation_id, message_id, model))


def set_favourite(*, user: User, conversation_id: str | UUID, message_id: str | UUID, favourite: bool) -> Message:
    """Mark a message, or take the mark away. Raises: NotFound."""
    with transaction.atomic():
        conversation = lock(user, conversation_id)
        message = get_message(conversation, message_id)
        message.is_favourite = favourite
        message.save(update_fields=["is_favourite"])
    return message


def _continue(user: User, conversation_id: str | UUID, message_id: str | UUID, model: str | None) -> Sent:
    now = timezone.now()
    with transaction.atomic():
        conversation = lock(user, conversation_id)
        message = get_message(conversation, message_id)
        check_can_answer(conversation)  # first: an answer that is still written has no text in its row
        if message.role != Role.ASSISTANT or not message.text:
            raise NotPossible("Only an answer with text can be continued.")
        limits.check(conversation.owner_id, now=now)
        model_id = catalogue.resolve(model, preferred=f"{message.provider}/{message.model_id}").model_id
        message.status = MessageStatus.STREAMING
        message.error_code = message.error_message = ""
        message.save(update_fields=["status", "error_code", "error_message"])
        generations = open_answers(conversation, [message], [model_id], now=now, continuation=True)
        touch(conversation, now)
        return tell(Sent(conversation, None, [message], generations))


def _preferred(model_id: str | None) -> str:
    """Give the model to use where none is given: this one if there is one, else what the settings say."""
    return catalogue.resolve(None, preferred=model_id).model_id


def _chosen_or_own(conversation: Conversation, message: Message) -> str:
    return conversation.settings.get("model") or f"{message.provider}/{message.model_id}"


def _send(
    user: User,
    conversation_id: str | UUID | None,
    text: str,
    parent_id: str | UUID | None,
    client_id: str | None,
    model_ids: Sequence[str],
    *,
    is_given: bool,
) -> Sent:
    now = timezone.now()
    with transaction.atomic():
        conversation = _begin_conversation(user, now) if conversation_id is None else lock(user, conversation_id)
        check_not_archived(conversation)
        parent = _parent_for(conversation, parent_id)
        branched = parent != conversation.active_leaf
        question = nodes.build_message(
            conversation=conversation,
            parent=parent,
            role=Role.USER,
            parts=nodes.text_parts(text),
            now=now,
            client_id=client_id,
        )
        if is_given and conversation_id is None:
            conversation.settings = {"model": model_ids[0]}
        if not conversation.title and conversation.title_source == TitleSource.DEFAULT:
            conversation.title = excerpt(text)
        return begin_answers(conversation, question, model_ids, now=now, question=question, branched=branched)


def _begin_conversation(user: User, now: datetime) -> Conversation:
    pk = new_id()
    conversation = Conversation(id=pk, owner=user, root_conversation_id=pk, created_at=now, updated_at=now)
    conversation.save(force_insert=True)
    live.publish_conversation(conversation, what="created")
    return conversation


def _parent_for(conversation: Conversation, parent_id: str | UUID | None) -> Message | None:
    """Find the message to write below; none named means the current leaf. Raises: InvalidLeaf."""
    leaf = conversation.active_leaf
    if parent_id is None or parent_id == "" or (leaf is not None and parse_id(parent_id) == leaf.pk):
        return leaf
    try:
        return get_message(conversation, parent_id)
    except NotFound:
        raise InvalidLeaf(leafId=str(leaf.pk) if leaf else None) from None


def _edit_as_branch(conversation: Conversation, message: Message, text: str, model_ids: Sequence[str]) -> Sent:
    now = timezone.now()
    if message.role == Role.USER:
        check_not_archived(conversation)
    elif conversation.is_archived:
        raise ConversationArchived
    sibling = nodes.build_message(
        conversation=conversation,
        parent=message.parent,
        role=message.role,
        parts=nodes.text_parts(text),
        now=now,
        model_id=message.model_id,
        provider=message.provider,
    )
    if message.role == Role.USER:
        return begin_answers(conversation, sibling, model_ids, now=now, question=sibling, branched=True)
    sibling.save(force_insert=True)
    move_leaf(conversation, sibling)
    touch(conversation, now)
    live.publish_messages(conversation, [sibling.pk])
    return Sent(conversation, None, [sibling], branched=True)


def _save_in_place(conversation: Conversation, message: Message, text: str) -> Message:
    now = timezone.now()
    if conversation.is_archived:
        raise ConversationArchived
    if message.status == MessageStatus.STREAMING:
        raise GenerationInProgress
    MessageRevision.objects.create(message=message, parts=message.parts, created_at=now)
    others = [part for part in message.parts if part["type"] != "text"]
    message.parts = [*others, *nodes.text_parts(text)]
    message.text = joined_text(message.parts)
    message.token_estimate = nodes.estimate_tokens(message.text)
    message.save(update_fields=["parts", "text", "token_estimate"])
    conversation.updated_at = now
    conversation.save(update_fields=["updated_at"])
    live.publish_messages(conversation, [message.pk])
    return message


def _replay(
    user: User, conversation_id: str | UUID | None, client_id: str, text: str, parent_id: str | UUID | None
) -> Sent | None:
    """Find the first result of a client id.

    Raises: ClientIdReused for other content, parent or conversation; NotFound if it was deleted since.
    """
    question = (
        Message.objects.filter(owner=user, client_id=client_id).select_related("conversation__active_leaf").first()
    )
    if question is None:
        return None
    if question.deletion is not None or question.conversation.deleted_at is not None:
        raise NotFound
    same_place = conversation_id is None or parse_id(conversation_id) == question.conversation_id
    same_parent = parent_id is None or parent_id == "" or parse_id(parent_id) == question.parent_id
    if _first_text(question) != text or not same_place or not same_parent:
        raise ClientIdReused
    generations = _first_batch(question)
    answers = [generation.message for generation in generations if generation.message is not None]
    return Sent(question.conversation, question, answers, generations, replayed=True)


def _first_batch(question: Message) -> list[Generation]:
    """Read the answers that sending a message began, in the order of their ranks, whatever became of them."""
    below = Generation.objects.answers().filter(message__parent=question).select_related("message")
    found = list(below.order_by("queued_at", "rank")[: batches.MOST_MODELS])
    return [generation for generation in found if generation.batch == found[0].batch]


def _first_text(question: Message) -> str:
    """Give the text as it was sent, whatever was edited in its place since."""
    first = question.revisions.order_by("created_at", "pk").first()
    return joined_text(first.parts) if first else question.text
