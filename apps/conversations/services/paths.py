"""Reading a conversation's path in pages, with each message's siblings, and the map of its forks. Nothing is written.

The number of queries and their cost do not depend on the conversation's size, but for the map, which is O(runs).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import F
from django.db.models.functions import Substr

from apps.conversations.models import Conversation, Message
from apps.conversations.services.columns import from_column, from_column_or_none, to_column
from apps.conversations.services.lineage import (
    Lineage,
    common_fork,
    leaf_below,
    lineage,
    newest_leaf_below,
)
from apps.core.errors import NotFound
from apps.core.ids import parse_id

__all__ = [
    "Fork",
    "ForkChild",
    "Lineage",
    "PathPage",
    "attach_siblings",
    "common_fork",
    "forks_of",
    "leaf_below",
    "lineage",
    "newer_page",
    "newest_leaf",
    "newest_leaf_below",
    "page_around",
    "path_page",
    "path_to",
]

PAGE = 50  # Source: the API's contract, at most 50 messages a page.
EXCERPT = 160

SIBLING_ROWS = "SELECT id, parent_id, created_at FROM conversations_message WHERE deletion IS NULL"
SIBLINGS = """
SELECT id, place, number, previous_id, next_id FROM (
    SELECT id,
        ROW_NUMBER() OVER (PARTITION BY parent_id ORDER BY created_at, id) AS place,
        COUNT(*) OVER (PARTITION BY parent_id) AS number,
        LAG(id) OVER (PARTITION BY parent_id ORDER BY created_at, id) AS previous_id,
        LEAD(id) OVER (PARTITION BY parent_id ORDER BY created_at, id) AS next_id
    FROM ({rows}) AS siblings
) AS ranked WHERE id IN ({ids})
"""

# Of each run where it hangs, and how far it stands.
RUNS = """
SELECT run.id, run.parent_id, run.parent_depth, (
    SELECT tip.depth FROM conversations_message tip
    WHERE tip.run_id = run.id AND tip.deletion IS NULL ORDER BY tip.depth DESC LIMIT 1
) FROM conversations_run run WHERE run.conversation_id = %s
"""


@dataclass
class PathPage:
    """One page of a path, oldest first; empty only in an empty conversation or above a root."""

    messages: list[Message]
    leaf: Message | None
    leaf_changed: bool = False
    reason: str | None = None
    # The message to go on above, as `cursor`; None at the root.
    next_cursor: str | None = None
    # The message to go on below with `newer_page`; None at the leaf.
    newer_cursor: str | None = None


def path_page(
    *,
    conversation: Conversation,
    leaf_id: str | UUID | None = None,
    cursor: str | UUID | None = None,
    limit: int = PAGE,
    strict: bool = False,
) -> PathPage:
    """Read the page of the path that ends at a leaf, or goes on above a cursor.

    Shape: a leaf with descendants stands for its newest leaf, unless strict; an unknown one for where the owner stands.
    Raises: NotFound for a cursor that doesn't stand in this conversation.
    Effects: at most four queries.
    """
    leaf, reason = _leaf_for(conversation, leaf_id, strict=strict)
    start = leaf.pk if leaf else None
    if cursor is not None and cursor != "":
        start = _get(conversation, cursor).parent_id
    messages = path_to(start, limit=limit) if start else []
    attach_siblings(messages)
    return PathPage(
        messages=messages,
        leaf=leaf,
        leaf_changed=reason is not None or (bool(leaf_id) and leaf is not None and leaf.pk != parse_id(leaf_id)),
        reason=reason,
        next_cursor=_cursor_above(messages),
    )


def page_around(*, conversation: Conversation, message_id: str | UUID, limit: int = PAGE) -> PathPage:
    """Read a page that holds a message, on the path where the owner would land by choosing it.

    Shape: ends at the leaf where the leaf is near; else half a page below the message, with `newer_cursor`.
    Raises: NotFound. Effects: at most seven queries.
    """
    message = _get(conversation, message_id)
    leaf = _active_leaf(conversation)
    path = lineage(leaf) if leaf is not None else None
    if leaf is None or path is None or not path.contains(message):
        leaf = leaf_below(message)
        path = None
    limit = _clamp(limit)
    end = leaf
    if leaf.depth - message.depth >= limit:
        end = _at_depth(path or lineage(leaf), message.depth + limit // 2)
    messages = path_to(end.pk, limit=limit)
    attach_siblings(messages)
    return PathPage(
        messages=messages,
        leaf=leaf,
        leaf_changed=leaf.pk != conversation.active_leaf_id,
        next_cursor=_cursor_above(messages),
        newer_cursor=None if end == leaf else str(end.pk),
    )


def newer_page(*, conversation: Conversation, leaf_id: str | UUID, cursor: str | UUID, limit: int = PAGE) -> PathPage:
    """Read the page below a cursor on the path to a leaf. Raises: NotFound. Effects: at most six queries."""
    leaf, above = _get(conversation, leaf_id), _get(conversation, cursor)
    path = lineage(leaf)
    if not path.contains(above):
        raise NotFound
    end = _at_depth(path, min(leaf.depth, above.depth + _clamp(limit)))
    messages = path_to(end.pk, limit=end.depth - above.depth) if end.depth > above.depth else []
    attach_siblings(messages)
    return PathPage(
        messages=messages,
        leaf=leaf,
        next_cursor=_cursor_above(messages),
        newer_cursor=None if end == leaf else str(end.pk),
    )


def path_to(message_id: UUID, *, limit: int = PAGE) -> list[Message]:
    """Read the newest messages of the path that ends at a message, oldest first. Effects: one query."""
    return Message.objects.walk_up(message_id, limit=_clamp(limit))


def attach_siblings(messages: Sequence[Message]) -> None:
    """Set each message's place among its standing siblings.

    Effects: one query for all of one conversation's messages; sets sibling_index (from 1), sibling_count,
        previous_sibling_id and next_sibling_id. A message that no longer stands is alone.
    """
    places = _read_places(messages) if messages else {}
    for message in messages:
        index, count, previous, following = places.get(message.pk, (1, 1, None, None))
        message.sibling_index, message.sibling_count = index, count
        message.previous_sibling_id, message.next_sibling_id = previous, following


def _read_places(messages: Sequence[Message]) -> dict[UUID, tuple[int, int, UUID | None, UUID | None]]:
    parents = [to_column(message.parent_id) for message in messages if message.parent_id is not None]
    ids = [to_column(message.pk) for message in messages]
    # Two reads put together, each by its own index: joined by OR, SQLite read the whole conversation (50 ms at 100,000).
    reads, values = [], list(parents)
    if parents:
        reads.append(f"{SIBLING_ROWS} AND parent_id IN ({_marks(parents)})")
    if len(parents) < len(messages):
        reads.append(f"{SIBLING_ROWS} AND parent_id IS NULL AND depth = 0 AND conversation_id = %s")
        values.append(to_column(messages[0].conversation_id))
    sql = SIBLINGS.format(rows=" UNION ALL ".join(reads), ids=_marks(ids))
    with connection.cursor() as cursor:
        cursor.execute(sql, [*values, *ids])
        return {
            from_column(pk): (index, count, from_column_or_none(previous), from_column_or_none(following))
            for pk, index, count, previous, following in cursor.fetchall()
        }


def _leaf_for(
    conversation: Conversation, leaf_id: str | UUID | None, *, strict: bool
) -> tuple[Message | None, str | None]:
    """Decide which leaf is read, and why it is another than the one asked for."""
    if leaf_id is None or leaf_id == "":
        return _active_leaf(conversation), None
    asked = _find(conversation, leaf_id)
    if asked is None:
        return _active_leaf(conversation), "not_found"
    return (asked if strict else newest_leaf_below(asked)), None


def _active_leaf(conversation: Conversation) -> Message | None:
    """Read where the owner stands; if that is gone, the newest leaf."""
    return _find(conversation, conversation.active_leaf_id) or newest_leaf(conversation)


def newest_leaf(conversation: Conversation) -> Message | None:
    """Find the leaf at or below the newest standing message; None where nothing stands. Effects: two queries."""
    newest = Message.objects.standing().filter(conversation=conversation).order_by("-id").first()
    return newest_leaf_below(newest) if newest else None


def _find(conversation: Conversation, message_id: str | UUID | None) -> Message | None:
    pk = parse_id(message_id)
    return Message.objects.standing().filter(conversation=conversation, pk=pk).first() if pk else None


def _get(conversation: Conversation, message_id: str | UUID) -> Message:
    found = _find(conversation, message_id)
    if found is None:
        raise NotFound
    return found


def _at_depth(path: Lineage, depth: int) -> Message:
    run_ids = [stretch.run_id for stretch in path.stretches if stretch.from_depth <= depth <= stretch.to_depth]
    return Message.objects.get(run_id__in=run_ids, depth=depth)


def _cursor_above(messages: Sequence[Message]) -> str | None:
    return str(messages[0].pk) if messages and messages[0].parent_id is not None else None


def _clamp(limit: int) -> int:
    return max(1, min(limit, PAGE))


def _marks(values: Iterable[object]) -> str:
    return ", ".join("%s" for _ in values)


# --- the map of forks -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ForkChild:
    """One of several siblings; `size` counts the standing messages from it down."""

    id: UUID
    role: str
    created_at: datetime
    excerpt: str
    size: int
    active: bool


@dataclass(frozen=True, slots=True)
class Fork:
    """A place where the tree parts; no parent means the conversation's first messages."""

    parent_id: UUID | None
    depth: int
    children: list[ForkChild]


def forks_of(conversation: Conversation) -> list[Fork]:
    """Map where a conversation's tree parts, top first; children in the order of siblings. Effects: five queries."""
    leaf = _find(conversation, conversation.active_leaf_id)
    path = lineage(leaf) if leaf else None
    children: dict[UUID | None, list[_Row]] = defaultdict(list)
    for row in _fork_children(conversation):
        children[row.parent_id].append(row)
    sizes = _Sizes(conversation)
    forks = [
        Fork(parent_id, siblings[0].depth, [_fork_child(row, path, sizes) for row in siblings])
        for parent_id, siblings in children.items()
        if len(siblings) > 1
    ]
    return sorted(forks, key=lambda fork: (fork.depth, fork.children[0].created_at, fork.children[0].id))


class _Row(NamedTuple):
    id: UUID
    parent_id: UUID | None
    run_id: UUID
    depth: int
    role: str
    created_at: datetime
    text: str


def _fork_children(conversation: Conversation) -> Iterator[_Row]:
    """Read the standing messages that may have siblings: a run begins at every child but the first."""
    standing = Message.objects.standing()
    forks = standing.filter(run__conversation=conversation, depth=F("run__parent_depth") + 1).values("parent_id")
    for rows in (standing.filter(parent_id__in=forks), standing.filter(parent=None, conversation=conversation)):
        named = rows.siblings_in_order().values_list(*_Row._fields[:-1], Substr("text", 1, 2 * EXCERPT))
        yield from (_Row(*row) for row in named)


def _fork_child(row: _Row, path: Lineage | None, sizes: _Sizes) -> ForkChild:
    return ForkChild(
        id=row.id,
        role=row.role,
        created_at=row.created_at,
        excerpt=" ".join(row.text.split())[:EXCERPT],
        size=sizes.below(row.run_id, row.depth),
        active=path is not None and path.holds(row.run_id, row.depth),
    )


class _Sizes:
    """Sizes of subtrees, counted by runs. Effects: one query when made."""

    def __init__(self, conversation: Conversation) -> None:
        with connection.cursor() as cursor:
            cursor.execute(RUNS, [to_column(conversation.pk)])
            rows = cursor.fetchall()
        self._tips: dict[UUID, int] = {}
        hanging: dict[UUID, list[tuple[int, UUID]]] = defaultdict(list)
        for run_id, parent_id, parent_depth, tip in rows:
            if tip is not None:
                self._tips[from_column(run_id)] = tip
                if parent_id is not None:
                    hanging[from_column(parent_id)].append((parent_depth, from_column(run_id)))
        self._starts = {child: depth + 1 for children in hanging.values() for depth, child in children}
        # Per run: the depths where others hang, and the sizes of what hangs there or deeper.
        self._depths: dict[UUID, list[int]] = {}
        self._sums: dict[UUID, list[int]] = {}
        # Deeper runs begin later in a tree, so that children are summed before the run they hang on.
        for run_id in sorted(self._tips, key=lambda run: self._starts.get(run, 0), reverse=True):
            self._sum(run_id, sorted(hanging[run_id]))

    def below(self, run_id: UUID, depth: int) -> int:
        """Count the standing messages of the subtree that begins at a place: one that was seen to stand, so at least 1.

        No one snapshot spans the queries: what was deleted since counts as it was seen, for itself alone.
        """
        if self._tips.get(run_id, -1) < depth:
            return 1
        depths, sums = self._depths[run_id], self._sums[run_id]
        return self._tips[run_id] - depth + 1 + sums[bisect_left(depths, depth)]

    def _sum(self, run_id: UUID, hanging: list[tuple[int, UUID]]) -> None:
        sums = [0]
        for _, child in reversed(hanging):
            sums.append(sums[-1] + self.below(child, self._starts[child]))
        self._depths[run_id] = [depth for depth, _ in hanging]
        self._sums[run_id] = sums[::-1]
