"""Where a message stands in its tree, told by runs: lineage, ancestor test, common fork, newest leaf below.

Everything here costs O(runs), whatever the number of messages (ADR-0002). Pages of messages are in `paths`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from django.db import connection

from apps.conversations.models import Conversation, Message
from apps.conversations.services.columns import from_column, to_column

# One text for SQLite and PostgreSQL. Subqueries, not a join: PostgreSQL would read a small table of runs at each step.
LINEAGE = """
WITH RECURSIVE up (run_id, parent_id, from_depth, to_depth, step) AS (
    SELECT id, parent_id, COALESCE(parent_depth + 1, 0), CAST(%s AS integer), 0
    FROM conversations_run WHERE id = %s
    UNION ALL
    SELECT up.parent_id,
        (SELECT run.parent_id FROM conversations_run run WHERE run.id = up.parent_id),
        (SELECT COALESCE(run.parent_depth + 1, 0) FROM conversations_run run WHERE run.id = up.parent_id),
        up.from_depth - 1, up.step + 1
    FROM up WHERE up.parent_id IS NOT NULL
)
SELECT run_id, from_depth, to_depth FROM up ORDER BY step
"""

# Standing messages of a run are its first ones, so a run has one standing tip; those that nothing stands below are the
# leaves. A run's tip may have a child elsewhere, where the rest of the run was deleted.
# Subqueries, not joins: SQLite would read the whole table for a Bloom filter. The tip's depth first: PostgreSQL then
# takes it from the index of standing messages, and doesn't step over the deleted ones.
NEWEST_LEAF = """
SELECT * FROM conversations_message WHERE id = (
    WITH RECURSIVE below (run_id, from_depth) AS (
        SELECT id, CAST(%s AS integer) FROM conversations_run WHERE id = %s
        UNION ALL
        SELECT run.id, run.parent_depth + 1
        FROM below JOIN conversations_run run ON run.parent_id = below.run_id
        WHERE run.parent_depth >= below.from_depth
    ),
    tips (id) AS MATERIALIZED (
        SELECT (
            SELECT tip.id FROM conversations_message tip WHERE tip.run_id = below.run_id AND tip.depth = (
                SELECT MAX(other.depth) FROM conversations_message other
                WHERE other.run_id = below.run_id AND other.deletion IS NULL
            )
        ) FROM below
    )
    SELECT tips.id FROM tips
    WHERE tips.id IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM conversations_message child WHERE child.parent_id = tips.id AND child.deletion IS NULL
    )
    ORDER BY (SELECT leaf.created_at FROM conversations_message leaf WHERE leaf.id = tips.id) DESC, tips.id DESC
    LIMIT 1
)
"""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The part of a run that lies on a path; both depths are on it."""

    run_id: UUID
    from_depth: int
    to_depth: int


@dataclass(frozen=True, slots=True)
class Place:
    """One message, named by where it stands."""

    run_id: UUID
    depth: int


@dataclass(frozen=True)
class Lineage:
    """A path as stretches of runs, from the leaf's run up; never empty."""

    stretches: tuple[Stretch, ...]
    _by_run: dict[UUID, Stretch] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_run", {stretch.run_id: stretch for stretch in self.stretches})

    def contains(self, message: Message) -> bool:
        """Tell whether a message is on the path: the leaf itself or an ancestor of it."""
        return self.holds(message.run_id, message.depth)

    def holds(self, run_id: UUID, depth: int) -> bool:
        """Tell the same of a message named by its place."""
        stretch = self._by_run.get(run_id)
        return stretch is not None and depth <= stretch.to_depth

    def stretch_of(self, run_id: UUID) -> Stretch | None:
        return self._by_run.get(run_id)

    def place_at(self, depth: int) -> Place | None:
        """Name the path's message at a depth; None below the leaf."""
        for stretch in self.stretches:
            if stretch.from_depth <= depth <= stretch.to_depth:
                return Place(stretch.run_id, depth)
        return None


def lineage(leaf: Message) -> Lineage:
    """Read the path that ends at a message as stretches of runs. Effects: one query."""
    with connection.cursor() as cursor:
        cursor.execute(LINEAGE, [leaf.depth, to_column(leaf.run_id)])
        rows = cursor.fetchall()
    return Lineage(tuple(Stretch(from_column(run_id), start, end) for run_id, start, end in rows))


def common_fork(a: Lineage, b: Lineage) -> Place | None:
    """Find the deepest message that two paths share: where they part, or the end of the shorter.

    Shape: None if they begin with different first messages.
    """
    for stretch in a.stretches:
        other = b.stretch_of(stretch.run_id)
        if other is not None:
            return Place(stretch.run_id, min(stretch.to_depth, other.to_depth))
    return None


def newest_leaf_below(message: Message) -> Message:
    """Find the newest standing leaf at or below a standing message, by (created_at, id). Effects: one query."""
    found: Iterable[Message] = Message.objects.raw(NEWEST_LEAF, [message.depth, to_column(message.run_id)])
    return next(iter(found), message)


def leaf_below(message: Message) -> Message:
    """Find where to land when a standing message is chosen: where the owner last stood below it, else the newest leaf.

    Shape: a place that was added to since is followed to its newest leaf. Effects: at most three queries.
    """
    if message.last_leaf_id is not None:
        last = Message.objects.standing().filter(pk=message.last_leaf_id).first()
        if last is not None and lineage(last).contains(message):
            return newest_leaf_below(last)
    return newest_leaf_below(message)


def move_leaf(conversation: Conversation, leaf: Message | None) -> None:
    """Make a message the place where the owner stands, and remember the place left behind.

    Effects: writes `last_leaf` of the sibling that is left, and the instance's `active_leaf`, which the caller saves.
        No query where the new leaf is a child or sibling of the old one; else at most three. Under the lock.
    """
    remember_place(old=conversation.active_leaf, new=leaf)
    conversation.active_leaf = leaf


def remember_place(*, old: Message | None, new: Message | None) -> None:
    """Write the old leaf down at the sibling that is left, where the two paths part."""
    if old is None or new is None or new.parent_id in (old.pk, old.parent_id) or _goes_on(old, new):
        return
    old_path = lineage(old)
    fork = common_fork(old_path, lineage(new))
    left = old_path.place_at(fork.depth + 1 if fork else 0)
    # A leaf does not name itself: that is how deleting marks where the owner stood (see branches).
    if left is not None and left != Place(old.run_id, old.depth):
        Message.objects.filter(run_id=left.run_id, depth=left.depth).update(last_leaf=old)


def _goes_on(old: Message, new: Message) -> bool:
    return old.run_id == new.run_id and new.depth >= old.depth
