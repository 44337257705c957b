"""What holds of conversations: where their owners stand, and how forks belong to their families."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from django.db.models import Count

from apps.conversations.models import Conversation
from apps.conversations.services.findings import Examination, Found, Rule, Scope, by_sql

RULES = [
    Rule("conversation_leaf", "The active leaf stands in its conversation; there is none only where nothing stands."),
    Rule("family_cycle", "No conversation was forked from itself, over however many others."),
    Rule("family_owner", "A fork belongs to its parent's owner."),
    Rule("family_root", "A conversation without a parent is its own root; a fork has its parent's root."),
    Rule("family_branch_id", "A root and its forks share one branch id, and no other family has it."),
    Rule("family_branch_from", "The message that a fork was made from is in its parent, or not named."),
]

# Of each conversation its active leaf, its parent (up), its root, and the message that it was forked from.
CONVERSATIONS = """
SELECT c.id, c.id, {facets}, CASE WHEN up.id >= c.id THEN 'later_parent' END
FROM conversations_conversation c
LEFT JOIN conversations_message leaf ON leaf.id = c.active_leaf_id
LEFT JOIN conversations_conversation up ON up.id = c.parent_conversation_id
LEFT JOIN conversations_conversation root ON root.id = c.root_conversation_id
LEFT JOIN conversations_message origin ON origin.id = c.branch_from_message_id
WHERE {scope}
"""
# By its first messages: nothing stands below a deleted one. A deleted conversation loses its leaf while it is purged.
STANDING = (
    "SELECT 1 FROM conversations_message first WHERE first.conversation_id = c.id AND first.parent_id IS NULL "
    "AND first.depth = 0 AND first.deletion IS NULL"
)
LEAF = {
    "conversation_leaf": (
        "(c.active_leaf_id IS NOT NULL "
        "AND (leaf.id IS NULL OR leaf.conversation_id <> c.id OR leaf.deletion IS NOT NULL)) "
        f"OR (c.active_leaf_id IS NULL AND c.deleted_at IS NULL AND EXISTS ({STANDING}))"
    )
}
FAMILY = {
    "family_owner": "up.owner_id <> c.owner_id",
    "family_root": (
        "(c.parent_conversation_id IS NULL AND c.root_conversation_id <> c.id) "
        "OR (c.parent_conversation_id IS NOT NULL AND (up.id IS NULL OR c.root_conversation_id = c.id "
        "OR c.root_conversation_id <> up.root_conversation_id OR root.id IS NULL))"
    ),
    "family_branch_id": (
        "c.parent_conversation_id IS NOT NULL "
        "AND (c.branch_id IS NULL OR root.branch_id IS NULL OR c.branch_id <> root.branch_id)"
    ),
}
ORIGIN = {
    "family_branch_from": (
        "c.branch_from_message_id IS NOT NULL AND (c.parent_conversation_id IS NULL OR origin.id IS NULL "
        "OR origin.conversation_id <> c.parent_conversation_id)"
    )
}

_related = by_sql(CONVERSATIONS, column="c.id", facets=[LEAF, FAMILY, ORIGIN])


def find_estranged(scope: Scope) -> Iterator[Found]:
    """Find conversations whose leaf or family is wrong; forks in a ring are told as such, and nothing else of them."""
    found = list(_related(scope))
    # In a ring some parent is not older than its fork: only such ones are worth a look.
    rings = {one.row for one in found if one.rule == "later_parent" and is_in_ring(one.row)}
    for pk in rings:
        yield Found("family_cycle", pk, pk)
    for one in found:
        if one.rule != "later_parent" and not (one.row in rings and one.rule in FAMILY):
            yield one


def is_in_ring(conversation_id: UUID) -> bool:
    """Climb from a fork, and tell whether that leads back to it. Effects: one query a step."""
    seen: set[UUID] = set()
    at: UUID | None = conversation_id
    while at is not None and at not in seen:
        seen.add(at)
        at = Conversation.objects.filter(pk=at).values_list("parent_conversation_id", flat=True).first()
    return at == conversation_id


def find_shared_branch_ids(scope: Scope) -> Iterator[Found]:
    """Find roots whose branch id an older root has too. Effects: one pass over the roots that have one."""
    roots = Conversation.objects.filter(parent_conversation__isnull=True, branch_id__isnull=False)
    twice = (
        roots.values("branch_id").annotate(number=Count("pk")).filter(number__gt=1).values_list("branch_id", flat=True)
    )
    for branch_id in list(twice):
        rows = roots.filter(branch_id=branch_id).order_by("created_at", "pk").values_list("pk", flat=True)
        for pk in rows[1:]:
            if not scope.rows or pk in scope.rows:
                yield Found("family_branch_id", pk, pk)


EXAMINATIONS = [
    Examination("conversations", find_estranged),
    Examination("", find_shared_branch_ids),
]
