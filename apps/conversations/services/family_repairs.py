"""Putting conversations right: where their owners stand, and which family they belong to. All of it under the lock."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from apps.conversations.models import Conversation, Message
from apps.conversations.services.family_rules import is_in_ring
from apps.conversations.services.paths import newest_leaf
from apps.core.ids import new_id


def stand_on_newest(conversation_id: UUID, rows: Sequence[UUID]) -> int:
    """Let the owner stand on the newest leaf; nowhere, where nothing stands."""
    conversation = Conversation.objects.get(pk=conversation_id)
    conversation.active_leaf = newest_leaf(conversation)
    conversation.save(update_fields=["active_leaf"])
    return len(rows)


def settle_family(conversation_id: UUID, rows: Sequence[UUID]) -> int:
    """Give everything below a root that root, and one branch id that no other family has."""
    root = _root_of(Conversation.objects.get(pk=conversation_id))
    if root is None:
        return 0  # it hangs below a ring, which is opened first
    forks = _forks_below(root)
    branch_id = root.branch_id
    others = Conversation.objects.filter(branch_id=branch_id).exclude(root_conversation=root.pk)
    if (branch_id is None and forks) or (branch_id is not None and others.exclude(pk__in=forks).exists()):
        branch_id = new_id() if forks else None
    Conversation.objects.filter(pk=root.pk).update(root_conversation=root.pk, branch_id=branch_id)
    Conversation.objects.filter(pk__in=forks).update(root_conversation=root.pk, branch_id=branch_id)
    return len(rows)


def make_root(conversation_id: UUID, rows: Sequence[UUID]) -> int:
    """Part a conversation from a parent that it can't have; its own forks go with it."""
    Conversation.objects.filter(pk=conversation_id).update(
        parent_conversation=None, branch_from_message=None, root_conversation=conversation_id, branch_id=None
    )
    return settle_family(conversation_id, rows)


def open_ring(conversation_id: UUID, rows: Sequence[UUID]) -> int:
    """Make a root of a conversation that was forked from itself, unless another one's repair opened the ring."""
    return make_root(conversation_id, rows) if is_in_ring(conversation_id) else len(rows)


def name_origin(conversation_id: UUID, rows: Sequence[UUID]) -> int:
    """Name the deepest message of the parent that a fork holds a copy of as the one it was made from; none, if none."""
    fork = Conversation.objects.get(pk=conversation_id)
    origin = None
    if fork.parent_conversation_id is not None:
        copies = Message.objects.filter(conversation=fork, copied_from__conversation=fork.parent_conversation_id)
        origin = copies.order_by("-depth").values_list("copied_from", flat=True).first()
    Conversation.objects.filter(pk=fork.pk).update(branch_from_message=origin)
    return len(rows)


def _root_of(conversation: Conversation) -> Conversation | None:
    """Climb to the conversation that everything was forked from; None if that leads in a ring."""
    seen = set()
    while conversation.parent_conversation_id is not None:
        seen.add(conversation.pk)
        above = Conversation.objects.filter(pk=conversation.parent_conversation_id).first()
        if above is None or above.pk in seen:
            return None
        conversation = above
    return conversation


def _forks_below(root: Conversation) -> list[UUID]:
    """Name all forks below a root, at any depth."""
    found: list[UUID] = []
    level = [root.pk]
    while level:
        level = list(Conversation.objects.filter(parent_conversation__in=level).values_list("pk", flat=True))
        found += level
    return found
