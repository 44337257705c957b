"""What holds inside one conversation: parents, depths, runs, texts, and the places that are remembered."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any
from uuid import UUID

from apps.conversations.models import Message, MessageStatus, Run
from apps.conversations.models.message import joined_text
from apps.conversations.services.columns import from_column
from apps.conversations.services.findings import Examination, Found, Rule, Scope, by_sql

# Texts may be long: few are held at a time.
AT_ONCE = 50

RULES = [
    Rule("message_parent", "A message's parent is there, and in the same conversation."),
    Rule("message_cycle", "No message stands above itself."),
    Rule("message_depth", "A message is one deeper than its parent."),
    Rule("message_run", "A run is a chain of one conversation's messages that begins where the run says it hangs."),
    Rule("message_deleted_above", "Nothing stands below a deleted message."),
    Rule("message_owner", "A message belongs to its conversation's owner."),
    Rule("message_copied_from", "A copy's original is there, or not named."),
    Rule("message_last_leaf", "The place remembered at a message is that message, or below it."),
    Rule("message_text", "A message's text is that of its text parts."),
    Rule(
        "message_parts",
        "A message's parts can be read.",
        "Nobody can tell what they said. Take the message from a backup, or correct its parts by hand.",
    ),
    Rule("run_empty", "A run has messages."),
    Rule(
        "revision_message",
        "A revision belongs to a message that is there.",
        "It holds a text whose message is lost. Take the message from a backup, or remove the revision by hand.",
    ),
]

# Of each message its parent (p), its run (r) and its conversation (c).
MESSAGES = """
SELECT m.id, m.conversation_id, {facets}, CASE WHEN p.depth >= m.depth THEN 'climbs' END
FROM conversations_message m
LEFT JOIN conversations_message p ON p.id = m.parent_id
LEFT JOIN conversations_run r ON r.id = m.run_id
LEFT JOIN conversations_conversation c ON c.id = m.conversation_id
WHERE {scope}
"""
STARTS = "COALESCE(r.parent_depth + 1, 0)"
HANGS_RIGHT = (
    "(m.parent_id IS NULL AND r.parent_id IS NULL) OR "
    "(m.parent_id IS NOT NULL AND r.parent_id IS NOT NULL AND p.run_id = r.parent_id AND p.depth = r.parent_depth)"
)
PLACE = {
    "message_parent": "m.parent_id IS NOT NULL AND (p.id IS NULL OR p.conversation_id <> m.conversation_id)",
    "message_depth": "m.parent_id IS NOT NULL AND m.depth <> p.depth + 1",
    "message_run": (
        f"r.id IS NULL OR r.conversation_id <> m.conversation_id OR m.depth < {STARTS} "
        f"OR (m.depth = {STARTS} AND NOT ({HANGS_RIGHT})) "
        f"OR (m.depth > {STARTS} AND (m.parent_id IS NULL OR p.run_id <> m.run_id))"
    ),
    "message_deleted_above": "m.deletion IS NULL AND p.deletion IS NOT NULL",
}
OWNER = {"message_owner": "m.owner_id <> c.owner_id"}
ORIGINAL = {
    "message_copied_from": (
        "m.copied_from_id IS NOT NULL "
        "AND NOT EXISTS (SELECT 1 FROM conversations_message o WHERE o.id = m.copied_from_id)"
    )
}
RUNS = """
SELECT r.id, r.conversation_id, {facets} FROM conversations_run r WHERE {scope}
"""
EMPTY = {"run_empty": "NOT EXISTS (SELECT 1 FROM conversations_message m WHERE m.run_id = r.id)"}
# Without its message, a revision has no conversation; it is looked at under nobody's lock.
REVISIONS = """
SELECT v.id, v.id, {facets} FROM conversations_messagerevision v WHERE {scope}
"""
LOST = {"revision_message": "NOT EXISTS (SELECT 1 FROM conversations_message m WHERE m.id = v.message_id)"}

_placed = by_sql(MESSAGES, column="m.id", facets=[PLACE, OWNER, ORIGINAL])

LAST_LEAVES = """
SELECT m.id, m.conversation_id, m.run_id, m.depth, l.conversation_id, l.run_id, l.depth
FROM conversations_message m LEFT JOIN conversations_message l ON l.id = m.last_leaf_id
WHERE m.last_leaf_id IS NOT NULL AND {scope} ORDER BY m.conversation_id
"""


def find_misplaced(scope: Scope) -> Iterator[Found]:
    """Find messages whose place, owner or original is wrong; where the wrong place closes a ring, that is said instead."""
    climbing: set[UUID] = set()
    found: list[Found] = []
    for one in _placed(scope):
        if one.rule == "climbs":
            climbing.add(one.row)
        else:
            found.append(one)
    rings: dict[UUID, set[UUID]] = {}
    for one in found:
        # In a ring some message has a parent that is not less deep: only such ones are worth a look.
        if one.rule == "message_depth" and one.row in climbing:
            if one.conversation not in rings:
                rings[one.conversation] = in_rings(one.conversation)
            if one.row in rings[one.conversation]:
                one = one._replace(rule="message_cycle")
        yield one


def in_rings(conversation_id: UUID) -> set[UUID]:
    """Name the messages of a conversation that stand above themselves. Effects: reads the ids of the whole conversation."""
    rows = Message.objects.filter(conversation_id=conversation_id).values_list("pk", "parent_id")
    return rings_of(dict(rows.iterator(chunk_size=2000)))


def rings_of(parents: dict[UUID, UUID | None]) -> set[UUID]:
    """Name the members of rings, where each row has at most one parent."""
    done: set[UUID] = set()
    rings: set[UUID] = set()
    for start in parents:
        trail: list[UUID] = []
        on_trail: set[UUID] = set()
        at: UUID | None = start
        while at is not None and at in parents and at not in done and at not in on_trail:
            trail.append(at)
            on_trail.add(at)
            at = parents[at]
        if at is not None and at in on_trail:
            rings.update(trail[trail.index(at) :])
        done.update(trail)
    return rings


def find_forgotten_places(scope: Scope) -> Iterator[Found]:
    """Find messages that remember a place which is not at or below them."""
    rows = scope.read(LAST_LEAVES, column="m.id")
    for conversation, group in groupby(rows, key=lambda row: from_column(row[1])):
        runs: dict[UUID, tuple[UUID | None, int | None]] | None = None
        for row in group:
            if row[4] is None or from_column(row[4]) != conversation:
                yield Found("message_last_leaf", from_column(row[0]), conversation)
                continue
            above, leaf = (from_column(row[2]), _number(row[3])), (from_column(row[5]), _number(row[6]))
            if above[0] == leaf[0] and above[1] <= leaf[1]:
                continue
            if runs is None:
                runs = _runs_of(conversation)
            if not _is_above(above, leaf, runs):
                yield Found("message_last_leaf", from_column(row[0]), conversation)


def _runs_of(conversation_id: UUID) -> dict[UUID, tuple[UUID | None, int | None]]:
    rows = Run.objects.filter(conversation_id=conversation_id).values_list("pk", "parent_id", "parent_depth")
    return {pk: (parent, depth) for pk, parent, depth in rows.iterator(chunk_size=2000)}


def _is_above(
    above: tuple[UUID, int], leaf: tuple[UUID, int], runs: dict[UUID, tuple[UUID | None, int | None]]
) -> bool:
    """Climb from a leaf's run to the other's; runs that hang in a ring end the climb."""
    run, depth = leaf
    for _ in range(len(runs) + 1):
        if run == above[0]:
            return above[1] <= depth
        parent, parent_depth = runs.get(run, (None, None))
        if parent is None or parent_depth is None:
            return False
        run, depth = parent, parent_depth
    return False


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value


def find_other_texts(scope: Scope) -> Iterator[Found]:
    """Find messages whose text is not that of their parts. One that is being written has its text at its end."""
    rows = scope.narrow(Message.objects.exclude(status=MessageStatus.STREAMING))
    for pk, conversation, parts, text in rows.values_list("pk", "conversation_id", "parts", "text").iterator(
        chunk_size=AT_ONCE
    ):
        said = text_of(parts)
        if said != text:
            yield Found("message_parts" if said is None else "message_text", pk, conversation)


def text_of(parts: Any) -> str | None:
    """Join the text parts; None if these aren't parts."""
    try:
        return joined_text(parts) if isinstance(parts, list) else None
    except (TypeError, KeyError):
        return None


EXAMINATIONS = [
    Examination("messages", find_misplaced),
    Examination("messages", find_other_texts),
    Examination("messages", find_forgotten_places, stage=2),
    Examination("runs", by_sql(RUNS, column="r.id", facets=[EMPTY])),
    Examination("revisions", by_sql(REVISIONS, column="v.id", facets=[LOST])),
]
