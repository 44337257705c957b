"""Forks: a new conversation copied from a path of another, and the family that a root and its forks are.

The tree inside one conversation is in `paths` and `branches`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from apps.accounts.models import User
from apps.conversations.models import Conversation, Message, MessageStatus, Role, Run, TitleSource
from apps.conversations.models.message import joined_text
from apps.conversations.services import live, nodes
from apps.conversations.services.access import chosen_model, get_message, lock
from apps.conversations.services.answers import begin_answers
from apps.conversations.services.columns import from_column, to_column
from apps.conversations.services.conversations import clean_title, family_of, get
from apps.conversations.services.lineage import lineage
from apps.core.ids import new_id, parse_id
from apps.models.services import catalogue

BATCH = 500
SNIPPET = 120

# What belongs to a message's place, not to what it says; everything else is copied, later columns too.
NOT_COPIED = {
    "id", "conversation_id", "owner_id", "parent_id", "depth", "run_id",
    "client_id", "last_leaf_id", "copied_from_id", "deletion",
}  # fmt: skip
COPIED = [column.attname for column in Message._meta.concrete_fields if column.attname not in NOT_COPIED]

# The database copies its own rows, given old id, new id and new parent: six times as fast as through model instances,
# and nobody waits long for SQLite's one writer. A first message names itself as parent, as a lone NULL has no type.
COPY = """
INSERT INTO conversations_message
    (id, parent_id, conversation_id, run_id, owner_id, depth, copied_from_id, {columns})
SELECT pair.column2, NULLIF(pair.column3, pair.column2), %s, %s, original.owner_id, original.depth, original.id, {values}
FROM (VALUES {pairs}) AS pair JOIN conversations_message original ON original.id = pair.column1
"""
INTERRUPTED = "CASE original.status WHEN 'streaming' THEN 'interrupted' ELSE original.status END"

# The user's messages just after the fork and at the end of each conversation's current path, in one query.
SNIPPETS = """
WITH RECURSIVE up (conversation_id, fork_depth, leaf_depth, parent_id, run_id, from_depth, to_depth) AS (
    SELECT conversation.id, COALESCE(origin.depth, -1), leaf.depth,
        run.parent_id, run.id, COALESCE(run.parent_depth + 1, 0), leaf.depth
    FROM conversations_conversation conversation
    JOIN conversations_message leaf ON leaf.id = conversation.active_leaf_id
    JOIN conversations_run run ON run.id = leaf.run_id
    LEFT JOIN conversations_message origin ON origin.id = conversation.branch_from_message_id
    WHERE conversation.root_conversation_id = %s AND conversation.deleted_at IS NULL
    UNION ALL
    SELECT up.conversation_id, up.fork_depth, up.leaf_depth,
        run.parent_id, run.id, COALESCE(run.parent_depth + 1, 0), up.from_depth - 1
    FROM up JOIN conversations_run run ON run.id = up.parent_id
),
texts (conversation_id, fork_depth, leaf_depth, depth, role, text) AS (
    SELECT up.conversation_id, up.fork_depth, up.leaf_depth, message.depth, message.role, SUBSTR(message.text, 1, 400)
    FROM up JOIN conversations_message message ON message.run_id = up.run_id
        AND message.depth <= up.to_depth AND message.depth > up.fork_depth AND message.depth <= up.fork_depth + 4
    UNION
    SELECT up.conversation_id, up.fork_depth, up.leaf_depth, message.depth, message.role, SUBSTR(message.text, 1, 400)
    FROM up JOIN conversations_message message ON message.run_id = up.run_id
        AND message.depth <= up.to_depth AND message.depth > up.leaf_depth - 4
)
SELECT conversation_id, fork_depth, leaf_depth, depth, role, text FROM texts ORDER BY conversation_id, depth
"""


@dataclass(frozen=True, slots=True)
class _Excerpts:
    """What tells one member of a family from the others."""

    snippet: str = ""
    messages_after: int = 0


def fork(*, user: User, conversation_id: str | UUID, message_id: str | UUID, title: str | None = None) -> Conversation:
    """Copy the path up to and including a message into a new conversation.

    Shape: new ids; times, order, parts, usage and marks as they were; what is still being written is kept as far as it
        is stored, as interrupted. Without a title, the source's.
    Raises: NotFound, InvalidField. Effects: one run, rows in batches, one transaction; begins no answer.
    """
    with transaction.atomic():
        source = lock(user, conversation_id)
        message = get_message(source, message_id)
        now, pk = timezone.now(), new_id()
        copy = Conversation(
            id=pk,
            owner=user,
            title=clean_title(title) if title else source.title,
            title_source=TitleSource.USER if title else source.title_source,
            settings=source.settings,
            parent_conversation=source,
            branch_from_message=message,
            root_conversation_id=source.root_conversation_id,
            branch_id=_branch_id(source),
            created_at=now,
            updated_at=now,
            seen_at=now,
        )
        copy.save(force_insert=True)
        copy.active_leaf_id = _copy_path(message, copy)
        copy.save(update_fields=["active_leaf"])
        live.publish_conversation(copy, what="created")
    return copy


def fork_and_answer(
    *, user: User, conversation_id: str | UUID, message_id: str | UUID, title: str | None = None
) -> Conversation:
    """Fork as `fork` does; one that ends with a user's message gets its answer at once, by the model that answered last.

    Raises: as `fork`; TooManyRequests. Nothing is stored then. Effects: one transaction; the doorbell rings on commit.
    """
    chosen = catalogue.resolve(None, preferred=_last_model(user, conversation_id))
    with transaction.atomic():
        copy = fork(user=user, conversation_id=conversation_id, message_id=message_id, title=title)
        leaf = copy.active_leaf
        if leaf is not None and leaf.role == Role.USER:
            begin_answers(copy, leaf, [chosen.model_id], now=timezone.now())
    return copy


def family(*, user: User, conversation_id: str | UUID) -> list[Conversation]:
    """List a root and its forks, the root first, then by age.

    Shape: each has `snippet`, its first user message after the fork, else its last, on its current path, and
        `messages_after`, how far that path goes beyond the fork.
    Raises: NotFound. Effects: three queries.
    """
    conversation = get(user=user, conversation_id=conversation_id)
    excerpts = _read_excerpts(conversation.root_conversation_id)
    members = family_of(conversation)
    for member in members:
        found = excerpts.get(member.pk, _Excerpts())
        member.snippet, member.messages_after = found.snippet, found.messages_after
    return members


def _last_model(user: User, conversation_id: str | UUID) -> str | None:
    """Name the model of a conversation's newest answer, else the one its owner chose."""
    answers = Message.objects.visible_to(user).filter(conversation_id=parse_id(conversation_id)).exclude(model_id="")
    newest = answers.order_by("-id").values_list("provider", "model_id").first()
    return "/".join(newest) if newest else chosen_model(user, conversation_id)


def _branch_id(source: Conversation) -> UUID | None:
    """Get the family's id; the root gets one with its first fork."""
    root = Conversation.objects.filter(pk=source.root_conversation_id)
    root.filter(branch_id__isnull=True).update(branch_id=new_id())
    return root.values_list("branch_id", flat=True)[0]


def _copy_path(message: Message, copy: Conversation) -> UUID:
    """Copy a path into a conversation's first run, and give the id of the last copy."""
    run = Run.objects.create(conversation=copy)
    columns = ", ".join(COPIED)
    values = ", ".join(INTERRUPTED if name == "status" else f"original.{name}" for name in COPIED)
    pairs = _pairs(message)
    with connection.cursor() as cursor:
        while batch := list(islice(pairs, BATCH)):
            sql = COPY.format(columns=columns, values=values, pairs=", ".join(["(%s, %s, %s)"] * len(batch)))
            ids = [to_column(pk) for pair in batch for pk in pair]
            cursor.execute(sql, [to_column(copy.pk), to_column(run.pk), *ids])
    _complete_unfinished(run)
    return Message.objects.values_list("pk", flat=True).get(run=run, depth=message.depth)


def _complete_unfinished(run: Run) -> None:
    """Give copies of answers that are still written the text of their parts: until its end, only those are stored."""
    for copied in Message.objects.filter(run=run, copied_from__status=MessageStatus.STREAMING).only("parts"):
        text = joined_text(copied.parts)
        Message.objects.filter(pk=copied.pk).update(text=text, token_estimate=nodes.estimate_tokens(text))


def _pairs(message: Message) -> Iterator[tuple[UUID, UUID, UUID]]:
    """Pair each id of a path with a new one and the new parent's, the first message first."""
    above = None
    for stretch in reversed(lineage(message).stretches):
        rows = Message.objects.filter(run_id=stretch.run_id, depth__lte=stretch.to_depth)
        for pk in rows.order_by("depth").values_list("pk", flat=True).iterator(chunk_size=BATCH):
            new = new_id()
            yield pk, new, above or new
            above = new


def _read_excerpts(root_id: UUID) -> dict[UUID, _Excerpts]:
    rows: dict[UUID, list[tuple[int, int, int, str, str]]] = {}
    with connection.cursor() as cursor:
        cursor.execute(SNIPPETS, [to_column(root_id)])
        for pk, *row in cursor.fetchall():
            rows.setdefault(from_column(pk), []).append(tuple(row))
    return {pk: _excerpts(found) for pk, found in rows.items()}


def _excerpts(rows: list[tuple[int, int, int, str, str]]) -> _Excerpts:
    fork_depth, leaf_depth, *_ = rows[0]
    said = [(depth, text) for _, _, depth, role, text in rows if role == Role.USER]
    after = [text for depth, text in said if depth > fork_depth]
    snippet = after[0] if after else said[-1][1] if said else ""
    return _Excerpts(" ".join(snippet.split())[:SNIPPET], max(0, leaf_depth - fork_depth))
