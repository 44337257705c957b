"""What a person does with messages: send, regenerate, edit, continue, mark. Every act is one transaction.

Answers are only begun here; the runner writes them. Moving in the tree and deleting are in `branches`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from apps.accounts.models import User
from apps.conversations.models import (
    Conversation,
    ConversationStatus,
    Generation,
    Message,
    MessageRevision,
    MessageStatus,
    Role,
    TitleSource,
)
from apps.conversations.models.message import joined_text
from apps.conversations.services import limits, live, nodes
from apps.conversations.services.generations import open_answer
from apps.core.errors import (
    ClientIdReused,
    ConversationArchived,
    EmptyMessage,
    GenerationInProgress,
    InvalidField,
    InvalidLeaf,
    NotFound,
    NotPossible,
    TooLarge,
)
from apps.core.ids import new_id, parse_id
from apps.models.services import catalogue

TITLE_EXCERPT = 37  # Source: design of titles, the first 37 characters and "…".
CLIENT_ID_CHARACTERS = 100


@dataclass
class Sent:
    """What came of sending, regenerating or continuing; answers and generations have the same order."""

    conversation: Conversation
    user_message: Message | None
    answers: list[Message] = field(default_factory=list)
    generations: list[Generation] = field(default_factory=list)
    branched: bool = False
    replayed: bool = False


def send(
    *,
    user: User,
    conversation_id: str | UUID | None,
    content: str,
    parent_id: str | UUID | None = None,
    client_id: str | None = None,
    model: str | None = None,
) -> Sent:
    """Store a user's message and begin its answer; without a conversation, make one.

    Shape: an older parent makes a branch; the same `client_id` again gives the first result.
    Raises: EmptyMessage, TooLarge, InvalidField, UnknownModel, NotFound, InvalidLeaf, GenerationInProgress,
        ConversationArchived, ClientIdReused. Nothing is stored then.
    Effects: one transaction of at most 7 statements; the doorbell rings on commit.
    """
    text = clean_content(content)
    client_id = clean_client_id(client_id)
    if client_id and (first := _replay(user, conversation_id, client_id, text, parent_id)):
        return first
    chosen = catalogue.resolve(model or _chosen_model(user, conversation_id))
    try:
        return _send(user, conversation_id, text, parent_id, client_id, chosen.model_id)
    except (IntegrityError, GenerationInProgress):
        # Somebody may have sent the same client id at the same moment, and been first.
        if client_id and (first := _replay(user, conversation_id, client_id, text, parent_id)):
            return first
        raise


def regenerate(*, user: User, conversation_id: str | UUID, message_id: str | UUID, model: str | None = None) -> Sent:
    """Begin another answer beside an assistant message.

    Raises: NotFound, NotPossible on a user's message, UnknownModel, GenerationInProgress, ConversationArchived.
    """
    chosen = catalogue.resolve(model or _chosen_model(user, conversation_id))
    with transaction.atomic():
        conversation = lock(user, conversation_id)
        message = get_message(conversation, message_id)
        if message.role != Role.ASSISTANT:
            raise NotPossible("Only an answer can be regenerated.")
        check_can_answer(conversation)
        return _answer(conversation, message.parent, chosen.model_id, now=timezone.now())


def edit(
    *,
    user: User,
    conversation_id: str | UUID,
    message_id: str | UUID,
    content: str,
    mode: str = "branch",
    model: str | None = None,
) -> Sent | Message:
    """Change a message: `branch` makes a sibling (and answers a user's), `save` keeps the place and the old text.

    Shape: Sent for `branch`, the message for `save`.
    Raises: as `send`, and InvalidField for another mode; GenerationInProgress for `save` while that message is written.
    """
    text = clean_content(content)
    if mode not in ("branch", "save"):
        raise InvalidField("mode is branch or save.", field="mode")
    chosen = catalogue.resolve(model or _chosen_model(user, conversation_id))
    with transaction.atomic():
        conversation = lock(user, conversation_id)
        message = get_message(conversation, message_id)
        if mode == "save":
            return _save_in_place(conversation, message, text)
        return _edit_as_branch(conversation, message, text, chosen.model_id)


def continue_answer(
    *, user: User, conversation_id: str | UUID, message_id: str | UUID, model: str | None = None
) -> Sent:
    """Go on writing in the same assistant message.

    Raises: NotFound, NotPossible for a user's message or an answer without text, UnknownModel, GenerationInProgress,
        ConversationArchived.
    """
    chosen = catalogue.resolve(model or _chosen_model(user, conversation_id))
    now = timezone.now()
    with transaction.atomic():
        conversation = lock(user, conversation_id)
        message = get_message(conversation, message_id)
        if message.role != Role.ASSISTANT or not message.text:
            raise NotPossible("Only an answer with text can be continued.")
        check_can_answer(conversation)
        limits.check(conversation.owner_id, now=now)
        message.status = MessageStatus.STREAMING
        message.error_code = message.error_message = ""
        message.save(update_fields=["status", "error_code", "error_message"])
        generation = open_answer(conversation, message, chosen.model_id, now=now, continuation=True)
        _touch(conversation, now)
        return _sent(conversation, None, message, generation)


def answer_leaf(*, user: User, conversation_id: str | UUID, model: str | None = None) -> Sent | None:
    """Begin an answer to the current leaf if that is a user's message, as after a fork; else do nothing."""
    chosen = catalogue.resolve(model or _chosen_model(user, conversation_id))
    with transaction.atomic():
        conversation = lock(user, conversation_id)
        leaf = conversation.active_leaf
        if leaf is None or leaf.role != Role.USER:
            return None
        check_can_answer(conversation)
        return _answer(conversation, leaf, chosen.model_id, now=timezone.now())


def set_favourite(*, user: User, conversation_id: str | UUID, message_id: str | UUID, favourite: bool) -> Message:
    """Mark a message, or take the mark away. Raises: NotFound."""
    with transaction.atomic():
        conversation = lock(user, conversation_id)
        message = get_message(conversation, message_id)
        message.is_favourite = favourite
        message.save(update_fields=["is_favourite"])
    return message


# --- what the doors give us -------------------------------------------------------------------------------------


def clean_content(content: object) -> str:
    """Check a message's text. Raises: EmptyMessage, TooLarge, InvalidField (NUL, lone surrogates, no text)."""
    if not isinstance(content, str):
        raise InvalidField("content must be text.", field="content")
    if len(content) > settings.MESSAGE_CHARACTERS:
        raise TooLarge(
            f"The message has {len(content):,} characters; the limit is {settings.MESSAGE_CHARACTERS:,}.",
            limit=settings.MESSAGE_CHARACTERS,
        )
    check_characters(content, field="content")
    if not content.strip():
        raise EmptyMessage
    return content


def check_characters(value: str, *, field: str) -> None:
    """Refuse what no database stores. Raises: InvalidField for NUL and lone surrogates."""
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidField("The text has characters that can't be stored.", field=field)


def clean_client_id(client_id: object) -> str | None:
    """Check a client id; empty means none. Raises: InvalidField."""
    if client_id is None or client_id == "":
        return None
    if not isinstance(client_id, str) or len(client_id) > CLIENT_ID_CHARACTERS:
        raise InvalidField("clientId is at most 100 characters.", field="clientId")
    check_characters(client_id, field="clientId")
    return client_id


# --- rows under the lock ----------------------------------------------------------------------------------------


def lock(user: User, conversation_id: str | UUID) -> Conversation:
    """Lock a conversation, and read it with its leaf and whether a batch is active.

    Raises: NotFound. Effects: one query on SQLite, whose transactions are immediate; two where rows are locked.
    """
    rows = Conversation.objects.visible_to(user).filter(pk=parse_id(conversation_id))
    if connection.features.has_select_for_update:
        # The lock alone first: a statement that had to wait reads the locked row anew, but what it joins as it was before.
        rows.select_for_update().values_list("pk").first()
    found = (
        rows.select_related("active_leaf__run")
        .annotate(is_answering=Exists(Generation.objects.active().answers().filter(conversation=OuterRef("pk"))))
        .first()
    )
    if found is None:
        raise NotFound
    return found


def get_message(conversation: Conversation, message_id: str | UUID | None) -> Message:
    """Get a standing message of this conversation, with its parent. Raises: NotFound."""
    found = (
        Message.objects.standing()
        .filter(conversation=conversation, pk=parse_id(message_id))
        .select_related("parent__run", "run")
        .first()
    )
    if found is None:
        raise NotFound
    return found


def check_can_answer(conversation: Conversation) -> None:
    """Refuse where no answer may begin. Raises: ConversationArchived, GenerationInProgress."""
    if conversation.is_archived:
        raise ConversationArchived
    if getattr(conversation, "is_answering", False):
        raise GenerationInProgress


def _chosen_model(user: User, conversation_id: str | UUID | None) -> str | None:
    """Read the model that the owner chose for this conversation, if any."""
    if conversation_id is None:
        return None
    values = (
        Conversation.objects.visible_to(user).filter(pk=parse_id(conversation_id)).values_list("settings", flat=True)
    )
    chosen = (values.first() or {}).get("model")
    known = {model.model_id for model in catalogue.available()}
    return chosen if chosen in known else None


def _send(
    user: User,
    conversation_id: str | UUID | None,
    text: str,
    parent_id: str | UUID | None,
    client_id: str | None,
    model_id: str,
) -> Sent:
    now = timezone.now()
    with transaction.atomic():
        conversation = _begin_conversation(user, now) if conversation_id is None else lock(user, conversation_id)
        check_can_answer(conversation)
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
        if not conversation.title and conversation.title_source == TitleSource.DEFAULT:
            conversation.title = excerpt(text)
        return _answer(conversation, question, model_id, now=now, question=question, branched=branched)


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


def _answer(
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
    conversation.active_leaf = answer
    _touch(conversation, now)
    return _sent(conversation, question, answer, generation, branched=branched)


def _touch(conversation: Conversation, now: datetime) -> None:
    """Save what a new message changes. A completed conversation that goes on is active again."""
    conversation.updated_at = conversation.seen_at = now
    conversation.status = ConversationStatus.ACTIVE
    conversation.save(update_fields=["active_leaf", "updated_at", "seen_at", "title", "status"])


def _sent(
    conversation: Conversation,
    question: Message | None,
    answer: Message,
    generation: Generation,
    *,
    branched: bool = False,
) -> Sent:
    ids = [message.pk for message in (question, answer) if message is not None]
    live.publish_messages(conversation, ids, generations=[generation])
    live.publish_conversation(conversation, what="changed")
    return Sent(conversation, question, [answer], [generation], branched=branched)


def _edit_as_branch(conversation: Conversation, message: Message, text: str, model_id: str) -> Sent:
    now = timezone.now()
    if message.role == Role.USER:
        check_can_answer(conversation)
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
        return _answer(conversation, sibling, model_id, now=now, question=sibling, branched=True)
    sibling.save(force_insert=True)
    conversation.active_leaf = sibling
    _touch(conversation, now)
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
    """Find the first result of a client id. Raises: ClientIdReused for other content, parent or conversation."""
    question = (
        Message.objects.filter(owner=user, client_id=client_id).select_related("conversation__active_leaf").first()
    )
    if question is None:
        return None
    same_place = conversation_id is None or parse_id(conversation_id) == question.conversation_id
    same_parent = parent_id is None or parent_id == "" or parse_id(parent_id) == question.parent_id
    if question.text != text or not same_place or not same_parent:
        raise ClientIdReused
    answers = list(Message.objects.filter(parent=question, copied_from=None).order_by("created_at", "id")[:1])
    generations = list(Generation.objects.answers().filter(message__in=answers).order_by("queued_at")[:1])
    return Sent(question.conversation, question, answers, generations, replayed=True)


def excerpt(text: str) -> str:
    """Shorten a text to a title of one line."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_EXCERPT + 3 else line[:TITLE_EXCERPT].rstrip() + "…"
