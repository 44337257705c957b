"""Moving in a tree: choosing a branch, deleting a subtree, undoing that. Reading paths is in `paths`.

An act of deleting is one UUID on every row it takes, so that undoing clears exactly those rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from apps.accounts.models import User
from apps.conversations.models import Conversation, Generation, Message
from apps.conversations.services import generations, live
from apps.conversations.services.access import get_message, lock
from apps.conversations.services.columns import to_column
from apps.conversations.services.keeping import cutoff
from apps.conversations.services.lineage import leaf_below, lineage, move_leaf, newest_leaf_below
from apps.core.errors import Conflict, NotFound
from apps.core.ids import first_id_at, new_id, parse_id

# Begins with UPDATE, not WITH: only then does SQLite's driver count the rows. The last condition says that the row
# stands, and names both tables, lest SQLite read the whole table for a Bloom filter.
DELETE_BELOW = """
UPDATE conversations_message SET deletion = %s
FROM (
    WITH RECURSIVE below (run_id, from_depth) AS (
        SELECT id, CAST(%s AS integer) FROM conversations_run WHERE id = %s
        UNION ALL
        SELECT run.id, run.parent_depth + 1
        FROM below JOIN conversations_run run ON run.parent_id = below.run_id
        WHERE run.parent_depth >= below.from_depth
    )
    SELECT run_id, from_depth FROM below
) AS gone
WHERE conversations_message.run_id = gone.run_id
    AND conversations_message.depth >= gone.from_depth
    AND CASE WHEN conversations_message.deletion IS NULL THEN gone.from_depth END IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What one act of deleting took; `leaf` is where the owner stands now, None in an empty conversation."""

    count: int
    leaf: Message | None
    deletion: UUID


@dataclass(frozen=True, slots=True)
class Restored:
    """What undoing brought back; nothing, where the message stood already."""

    count: int
    leaf: Message | None


def select(*, user: User, conversation_id: str | UUID, message_id: str | UUID) -> Message:
    """Make the path through a message the current one, and give its leaf.

    Shape: stays where the owner stands if that path goes through it already; else the leaf last stood on below it, or
        the newest. The place that is left is remembered at the sibling that is left.
    Raises: NotFound. Effects: constant number of queries, O(runs).
    """
    with transaction.atomic():
        conversation = lock(user, conversation_id)
        message = get_message(conversation, message_id)
        leaf = conversation.active_leaf
        if leaf is not None and lineage(leaf).contains(message):
            return leaf
        leaf = leaf_below(message)
        move_leaf(conversation, leaf)
        conversation.save(update_fields=["active_leaf"])
        live.publish_conversation(conversation, what="changed")
        return leaf


def delete_message(*, user: User, conversation_id: str | UUID, message_id: str | UUID) -> Deleted:
    """Delete a message and everything below it; running answers in there are stopped.

    Shape: a leaf inside moves to the newest standing sibling's leaf, else to the parent.
    Raises: NotFound. Effects: one UPDATE marks the rows; `restore_message` undoes it.
    """
    with transaction.atomic():
        conversation = lock(user, conversation_id)
        message = get_message(conversation, message_id)
        _stop_answers_below(message)
        deletion = new_id()
        count = _mark_below(message, deletion)
        leaf = conversation.active_leaf
        if leaf is not None and lineage(leaf).contains(message):
            _remember_where_stood(message, leaf)
            conversation.active_leaf = _leaf_without(message)
        _touch(conversation, message.pk)
        return Deleted(count, conversation.active_leaf, deletion)


def restore_message(*, user: User, conversation_id: str | UUID, message_id: str | UUID) -> Restored:
    """Undo the act of deleting that took a message; what was deleted inside before stays deleted.

    Shape: the leaf moves back to where it stood, if deleting had moved it; in a conversation where nothing stood, to the
        newest one restored. A standing message: nothing to do.
    Raises: NotFound, also for what was deleted too long ago; Conflict where the message above was deleted since.
    """
    with transaction.atomic():
        conversation = lock(user, conversation_id)
        message = Message.objects.filter(conversation=conversation, pk=parse_id(message_id)).first()
        if message is None:
            raise NotFound
        if message.deletion is None:
            return Restored(0, conversation.active_leaf)
        if message.deletion < first_id_at(cutoff()):
            raise NotFound
        rows = Message.objects.filter(deletion=message.deletion)
        top = rows.select_related("parent").order_by("depth")[0]
        if top.parent is not None and top.parent.deletion is not None:
            raise Conflict("The message above it was deleted since. Restore that first.")
        stood = _where_stood(top)
        count = rows.update(deletion=None)
        if stood is not None:
            move_leaf(conversation, stood)
        elif conversation.active_leaf is None:
            conversation.active_leaf = newest_leaf_below(top)
        _touch(conversation, top.pk)
        return Restored(count, conversation.active_leaf)


def _mark_below(message: Message, deletion: UUID) -> int:
    with connection.cursor() as cursor:
        cursor.execute(DELETE_BELOW, [to_column(deletion), message.depth, to_column(message.run_id)])
        count: int = cursor.rowcount
    return count


def _stop_answers_below(message: Message) -> None:
    """Stop what is being written at or below a message."""
    active = Generation.objects.active().answers().filter(conversation_id=message.conversation_id)
    inside = [
        generation.pk
        for generation in active.select_related("message")
        if generation.message is not None and lineage(generation.message).contains(message)
    ]
    if inside:
        generations.stop_all(Generation.objects.filter(pk__in=inside))


def _leaf_without(message: Message) -> Message | None:
    """Find where to stand once a message is gone."""
    siblings = Message.objects.standing().filter(conversation_id=message.conversation_id, parent_id=message.parent_id)
    newest = siblings.exclude(pk=message.pk).order_by("-created_at", "-id").first()
    return leaf_below(newest) if newest is not None else message.parent


def _remember_where_stood(top: Message, leaf: Message) -> None:
    """Note at a deleted subtree where the owner stood in it: a leaf that names itself, named by the top."""
    Message.objects.filter(pk__in={top.pk, leaf.pk}).update(last_leaf=leaf)


def _where_stood(top: Message) -> Message | None:
    """Read that note, if this act of deleting made it, and take it away."""
    if top.last_leaf_id is None:
        return None
    noted = Message.objects.filter(pk=top.last_leaf_id, deletion=top.deletion, last_leaf_id=top.last_leaf_id)
    leaf = noted.select_related("run").first()
    if leaf is not None:
        noted.update(last_leaf=None)
        leaf.last_leaf = None
        leaf.deletion = None
    return leaf


def _touch(conversation: Conversation, *changed: UUID) -> None:
    conversation.updated_at = timezone.now()
    conversation.save(update_fields=["active_leaf", "updated_at"])
    live.publish_messages(conversation, changed)
    live.publish_conversation(conversation, what="changed")
