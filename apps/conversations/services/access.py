"""Getting at a conversation's rows under its lock, and the rules by which an answer may begin there."""

from __future__ import annotations

from uuid import UUID

from django.db import connection

from apps.accounts.models import User
from apps.conversations.models import Conversation, Message
from apps.core.errors import ConversationArchived, GenerationInProgress, NotFound
from apps.core.ids import parse_id

# Any rank of it: the first may have ended before the others. Written out, with its values in it: so SQLite finds the
# partial index of active answers, and building the same query anew cost a millisecond of each send.
ACTIVE_BATCH = """
SELECT 1 FROM conversations_generation
WHERE conversation_id = %s AND purpose = 'answer' AND state IN ('queued', 'running') LIMIT 1
"""


def lock(user: User, conversation_id: str | UUID) -> Conversation:
    """Lock a conversation, and read it with its leaf.

    Raises: NotFound. Effects: one query on SQLite, whose transactions are immediate; two where rows are locked.
    """
    rows = Conversation.objects.visible_to(user).filter(pk=parse_id(conversation_id))
    if connection.features.has_select_for_update:
        # The lock alone first: a statement that had to wait reads the locked row anew, but what it joins as it was before.
        rows.select_for_update().values_list("pk").first()
    found = rows.select_related("active_leaf").first()
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


def check_not_archived(conversation: Conversation) -> None:
    """Refuse where nothing may be written. Raises: ConversationArchived."""
    if conversation.is_archived:
        raise ConversationArchived


def check_can_answer(conversation: Conversation) -> None:
    """Refuse where no answer may begin. Raises: ConversationArchived, GenerationInProgress. Effects: one query."""
    check_not_archived(conversation)
    with connection.cursor() as cursor:
        cursor.execute(ACTIVE_BATCH, [Conversation._meta.pk.get_db_prep_value(conversation.pk, connection)])
        if cursor.fetchone():
            raise GenerationInProgress


def chosen_model(user: User, conversation_id: str | UUID | None) -> str | None:
    """Read the model that the owner chose for a conversation, if any, whether or not it is still there."""
    if conversation_id is None:
        return None
    mine = Conversation.objects.visible_to(user).filter(pk=parse_id(conversation_id))
    chosen = (mine.values_list("settings", flat=True).first() or {}).get("model")
    return chosen if isinstance(chosen, str) else None
