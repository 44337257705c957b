"""What pages read beside the path: the sidebar, one message with its siblings, what a deletion would take. Reads alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from apps.accounts.models import User
from apps.conversations.models import Conversation, Generation, Message, MessageStatus, Role
from apps.conversations.services import conversations, generations, paths, reading
from apps.conversations.services.access import get_message
from apps.conversations.services.columns import to_column
from apps.core.ids import parse_id

ROWS = 40
MOST_PINNED = 100
MOST_BESIDE = 8

ROLES_BELOW = """
WITH RECURSIVE below (run_id, from_depth) AS (
    SELECT id, CAST(%s AS integer) FROM conversations_run WHERE id = %s
    UNION ALL
    SELECT run.id, run.parent_depth + 1
    FROM below JOIN conversations_run run ON run.parent_id = below.run_id
    WHERE run.parent_depth >= below.from_depth
)
SELECT message.role, COUNT(*)
FROM below JOIN conversations_message message ON message.run_id = below.run_id AND message.depth >= below.from_depth
WHERE message.deletion IS NULL GROUP BY message.role
"""


@dataclass(frozen=True, slots=True)
class Sidebar:
    """One page of the list, newest change first; pinned ones only on the first page."""

    pinned: list[Conversation]
    recent: list[Conversation]
    next_cursor: str | None
    # The conversations in which an answer is being written.
    running: frozenset[UUID]


@dataclass(frozen=True, slots=True)
class Counted:
    """How many messages a deletion would take, the message itself among them."""

    total: int
    of_user: int
    of_assistant: int


def read_sidebar(*, user: User, cursor: str | None = None, archived: bool = False) -> Sidebar:
    """Read a page of the user's conversations. Raises: Malformed for a bad cursor. Effects: at most three queries."""
    pinned: list[Conversation] = []
    if not cursor and not archived:
        pinned = conversations.list_page(user=user, limit=MOST_PINNED, pinned=True).items
    apart = None if archived else False
    page = conversations.list_page(user=user, archived=archived, cursor=cursor or None, limit=ROWS, pinned=apart)
    active = reading.active_in([str(row.pk) for row in (*pinned, *page.items)])
    running = frozenset(map(parse_id, active))
    return Sidebar(pinned, page.items, page.next_cursor, running)


def read_row(*, user: User, conversation_id: str | UUID) -> tuple[Conversation, bool]:
    """Read one conversation of the list, and whether an answer is being written in it. Raises: NotFound."""
    conversation = conversations.get(user=user, conversation_id=conversation_id)
    return conversation, bool(reading.active_in([str(conversation.pk)]))


def read_message(
    *, user: User, conversation_id: str | UUID, message_id: str | UUID
) -> tuple[Conversation, Message, Generation | None]:
    """Read one standing message with its place among its siblings, and the generation that writes it.

    Raises: NotFound. Effects: at most four queries, when no lease ran out.
    """
    conversation = conversations.get(user=user, conversation_id=conversation_id)
    # First, for it ends what a dead runner left: a message read before would say for good that it is being written.
    active = generations.active_answers(user=user, conversation_id=conversation.pk)
    message = get_message(conversation, message_id)
    paths.attach_siblings([message])
    return conversation, message, next((one for one in active if one.message_id == message.pk), None)


def read_active(*, user: User, conversation: Conversation, shown: Iterable[Message]) -> list[Generation]:
    """Read the generations that write in a conversation, and those messages again that ended since they were read.

    Effects: one query, and one for each such message: looking ends what dead runners left.
    """
    active = generations.active_answers(user=user, conversation_id=conversation.pk)
    written = {generation.message_id for generation in active}
    fields = [field.name for field in Message._meta.concrete_fields if not field.is_relation]
    for message in shown:
        if message.status == MessageStatus.STREAMING and message.pk not in written:
            message.refresh_from_db(fields=fields)
    return active


def read_answers(answer: Message) -> list[Message]:
    """Read an answer and those beside it, each with its place: the newest eight, in the order of siblings.

    Shape: the given one is among them, however old. Effects: two queries.
    """
    beside = Message.objects.standing().filter(
        conversation_id=answer.conversation_id, parent_id=answer.parent_id, role=Role.ASSISTANT
    )
    newest = list(beside.exclude(pk=answer.pk).order_by("-created_at", "-id")[: MOST_BESIDE - 1])
    found = sorted([answer, *newest], key=lambda one: (one.created_at, one.pk))
    paths.attach_siblings(found)
    return found


def count_below(*, user: User, conversation_id: str | UUID, message_id: str | UUID) -> Counted:
    """Count what deleting a message would take. Raises: NotFound. Effects: three queries."""
    conversation = conversations.get(user=user, conversation_id=conversation_id)
    message = get_message(conversation, message_id)
    with connection.cursor() as cursor:
        cursor.execute(ROLES_BELOW, [message.depth, to_column(message.run_id)])
        counts = {role: count for role, count in cursor.fetchall()}
    return Counted(sum(counts.values()), counts.get(Role.USER, 0), counts.get(Role.ASSISTANT, 0))
