"""Conversations as rows of a list: create, find, name, pin, archive, delete, restore, page through.

What is inside one is in `messages`, `paths` and `branches`; copying a path into a new one is in `forks`.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from apps.accounts.models import User
from apps.conversations.models import Conversation, ConversationStatus, Generation, TitleSource
from apps.conversations.services import generations, live
from apps.conversations.services.contents import check_characters
from apps.conversations.services.keeping import cutoff
from apps.core.errors import HasForks, InvalidField, Malformed, NotFound
from apps.core.ids import new_id, parse_id

TITLE_CHARACTERS = 500
SETTINGS_BYTES = 20_000
# What is read back deep inside a template's stack must not need much of its own: Python's parser of JSON is recursive.
SETTINGS_LEVELS = 20
PAGE, MOST = 20, 100  # Source: the API's contract.


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; no cursor on the last."""

    items: list[Conversation]
    next_cursor: str | None


# --- reading ----------------------------------------------------------------------------------------------------


def get(*, user: User, conversation_id: str | UUID) -> Conversation:
    """Get a conversation. Raises: NotFound."""
    found = Conversation.objects.visible_to(user).filter(pk=parse_id(conversation_id)).first()
    if found is None:
        raise NotFound
    return found


def list_page(
    *, user: User, archived: bool = False, cursor: str | None = None, limit: int = PAGE, pinned: bool | None = None
) -> Page:
    """Read a page of the user's conversations, newest change first.

    Shape: goes on after the cursor's (updated_at, id), so that no unchanged row is repeated or missed while others
        change; limit is clamped to 1–100; `pinned` keeps only those, or only the others.
    Raises: Malformed for a cursor that isn't ours. Effects: one query.
    """
    rows = Conversation.objects.visible_to(user)
    rows = rows.archived() if archived else rows.unarchived()
    if pinned is not None:
        rows = rows.filter(is_pinned=pinned)
    if cursor:
        at, pk = _read_cursor(cursor)
        rows = rows.filter(Q(updated_at__lt=at) | Q(updated_at=at, id__lt=pk), updated_at__lte=at)
    limit = max(1, min(limit, MOST))
    items = list(rows.newest_first()[: limit + 1])
    more = len(items) > limit
    items = items[:limit]
    return Page(items, _cursor(items[-1]) if more else None)


def _cursor(last: Conversation) -> str:
    return urlsafe_b64encode(f"{last.updated_at.isoformat()} {last.pk.hex}".encode()).decode()


def _read_cursor(cursor: str) -> tuple[datetime, UUID]:
    try:
        at, _, pk = urlsafe_b64decode(cursor.encode("ascii")).decode("ascii").partition(" ")
        found = datetime.fromisoformat(at), UUID(hex=pk)
        if found[0].tzinfo is None:
            raise ValueError(cursor)
        found[0].astimezone(timezone.get_default_timezone())
    except (ValueError, OverflowError):
        raise Malformed("The cursor is not one of ours.") from None
    return found


# --- writing ----------------------------------------------------------------------------------------------------


def create(*, user: User, title: str = "", settings: dict[str, Any] | None = None) -> Conversation:
    """Begin an empty conversation; without a title, one is found after the first answer. Raises: InvalidField."""
    title = clean_title(title) if title and title.strip() else ""
    now, pk = timezone.now(), new_id()
    conversation = Conversation(
        id=pk,
        owner=user,
        title=title,
        title_source=TitleSource.USER if title else TitleSource.DEFAULT,
        settings=_merged({}, settings or {}),
        root_conversation_id=pk,
        created_at=now,
        updated_at=now,
        seen_at=now,
    )
    with transaction.atomic():
        conversation.save(force_insert=True)
        live.publish_conversation(conversation, what="created")
    return conversation


def update(
    *,
    user: User,
    conversation_id: str | UUID,
    title: str | None = None,
    pinned: bool | None = None,
    status: str | None = None,
    model: str | None = None,
    settings: dict[str, Any] | None = None,
) -> Conversation:
    """Change what is given and leave the rest.

    Shape: settings are merged key by key, None removes one. Only a new title moves it up in the list.
    Raises: NotFound, InvalidField; nothing is changed then. Effects: archiving stops the answers inside.
    """
    changes = dict(settings or {})
    if model is not None:
        changes["model"] = model
    with transaction.atomic():
        conversation = _lock(user, conversation_id)
        before = {name: getattr(conversation, name) for name in ("title", "is_pinned", "status", "settings")}
        if title is not None:
            conversation.title, conversation.title_source = clean_title(title), TitleSource.USER
            conversation.updated_at = timezone.now()
        if pinned is not None:
            conversation.is_pinned = bool(pinned)
        if changes:
            conversation.settings = _merged(conversation.settings, changes)
        if status is not None:
            conversation.status = _clean_status(status)
        if conversation.is_archived and before["status"] != ConversationStatus.ARCHIVED:
            generations.stop_all(Generation.objects.filter(conversation=conversation))
        if title is not None or any(getattr(conversation, name) != value for name, value in before.items()):
            conversation.save(update_fields=[*before, "title_source", "updated_at"])
            live.publish_conversation(conversation, what="changed")
    return conversation


def rename(*, user: User, conversation_id: str | UUID, title: str) -> Conversation:
    """Give a title that nothing but its owner changes. Raises: NotFound, InvalidField (blank, over 500 characters)."""
    return update(user=user, conversation_id=conversation_id, title=title)


def set_pinned(*, user: User, conversation_id: str | UUID, pinned: bool) -> Conversation:
    """Pin a conversation, or let it go. Raises: NotFound."""
    return update(user=user, conversation_id=conversation_id, pinned=pinned)


def set_status(*, user: User, conversation_id: str | UUID, status: str) -> Conversation:
    """Mark a conversation active, completed or archived.

    Raises: NotFound, InvalidField. Effects: archiving stops the answers inside.
    """
    return update(user=user, conversation_id=conversation_id, status=status)


def set_model(*, user: User, conversation_id: str | UUID, model: str) -> Conversation:
    """Choose the language model that answers here. Raises: NotFound, InvalidField."""
    return update(user=user, conversation_id=conversation_id, model=model)


def mark_seen(*, user: User, conversation_id: str | UUID) -> Conversation:
    """Note that the owner has looked; says so to other tabs only if there was something unread. Raises: NotFound."""
    conversation = get(user=user, conversation_id=conversation_id)
    if conversation.is_unread:
        with transaction.atomic():
            conversation.seen_at = timezone.now()
            conversation.save(update_fields=["seen_at"])
            live.publish_conversation(conversation, what="changed")
    return conversation


def delete(*, user: User, conversation_id: str | UUID, forks: str | None = None) -> Conversation:
    """Delete a conversation, for `restore` to undo.

    Shape: a root with forks asks what becomes of them: `delete` takes the whole family, `detach` makes roots of them.
    Raises: NotFound; HasForks with their number, if that was not said; InvalidField for anything else said.
    Effects: stops the answers inside; the rows of one act share `deleted_at`.
    """
    if forks not in (None, "delete", "detach"):
        raise InvalidField("forks is delete or detach.", field="forks")
    with transaction.atomic():
        conversation = _lock(user, conversation_id)
        others = standing_forks(conversation)
        if others and forks is None:
            raise HasForks(forks=len(others))
        gone = [conversation, *(others if forks == "delete" else [])]
        if forks == "detach":
            for changed in detach(_with_their_forks(others)):
                if changed.deleted_at is None:
                    live.publish_conversation(changed, what="changed")
        generations.stop_all(Generation.objects.filter(conversation__in=gone))
        now = timezone.now()
        Conversation.objects.filter(pk__in=[row.pk for row in gone]).update(deleted_at=now)
        for row in gone:
            row.deleted_at = now
            live.publish_conversation(row, what="deleted")
    return conversation


def restore(*, user: User, conversation_id: str | UUID) -> Conversation:
    """Undo the act of deleting that took a conversation; a standing one stays as it is.

    Shape: forks deleted in the same act come back too; a fork whose root is gone becomes a root.
    Raises: NotFound, also for what was deleted too long ago: it may be purged at any moment.
    """
    with transaction.atomic():
        rows = Conversation.objects.owned_by(user)
        conversation = rows.filter(pk=parse_id(conversation_id)).select_for_update().first()
        if conversation is None:
            raise NotFound
        if conversation.deleted_at is None:
            return conversation
        if conversation.deleted_at < cutoff():
            raise NotFound
        together = rows.filter(root_conversation=conversation.root_conversation_id, deleted_at=conversation.deleted_at)
        back = list(together)
        together.update(deleted_at=None)
        if not rows.filter(pk=conversation.root_conversation_id, deleted_at__isnull=True).exists():
            detach(_with_their_forks(back))
        for row in back:
            live.publish_conversation(row, what="restored")
    conversation.refresh_from_db()
    return conversation


def family_of(conversation: Conversation) -> list[Conversation]:
    """List the standing members of a conversation's family, the root first, then by age."""
    rows = Conversation.objects.filter(root_conversation=conversation.root_conversation_id, deleted_at__isnull=True)
    return sorted(rows.order_by("created_at", "id"), key=lambda member: member.pk != conversation.root_conversation_id)


def standing_forks(conversation: Conversation) -> list[Conversation]:
    """List the standing forks of a root, at any depth; none for a fork."""
    if conversation.root_conversation_id != conversation.pk:
        return []
    return [member for member in family_of(conversation) if member.pk != conversation.pk]


def _with_their_forks(members: Sequence[Conversation]) -> list[Conversation]:
    """Add the forks of these, at any depth and deleted ones too: they go where these go. Effects: one query a level."""
    found = {member.pk: member for member in members}
    level = list(found)
    while level:
        forks = Conversation.objects.filter(parent_conversation__in=level).exclude(pk__in=found)
        level = [fork.pk for fork in forks]
        found |= {fork.pk: fork for fork in forks}
    return list(found.values())


def detach(members: Sequence[Conversation]) -> list[Conversation]:
    """Let go of a root: each fork whose parent is not among these becomes one, its own forks follow it.

    Shape: the changed conversations. Effects: one UPDATE a row; the caller holds a transaction.
    """
    by_id = {member.pk: member for member in members}
    branches: dict[UUID, UUID] = {}
    for member in members:
        root = member
        while root.parent_conversation_id in by_id:
            root = by_id[root.parent_conversation_id]
        if root is not member:
            branches.setdefault(root.pk, new_id())
        member.root_conversation_id = root.pk
    for member in members:
        if member.root_conversation_id == member.pk:
            member.parent_conversation_id = member.branch_from_message_id = None
        member.branch_id = branches.get(member.root_conversation_id)
        member.save(update_fields=["root_conversation", "branch_id", "parent_conversation", "branch_from_message"])
    return list(members)


def clean_title(title: object) -> str:
    """Check a title and trim it. Raises: InvalidField (no text, blank, over 500 characters, NUL, lone surrogates)."""
    if not isinstance(title, str):
        raise InvalidField("title must be text.", field="title")
    check_characters(title, field="title")
    title = " ".join(title.split())
    if not title:
        raise InvalidField("The title is empty.", field="title")
    if len(title) > TITLE_CHARACTERS:
        raise InvalidField(f"The title is longer than {TITLE_CHARACTERS} characters.", field="title")
    return title


def _clean_status(status: str) -> ConversationStatus:
    try:
        return ConversationStatus(status)
    except ValueError:
        raise InvalidField("status is active, completed or archived.", field="status") from None


def _merged(old: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Merge settings. Raises: InvalidField for what can't be stored, is too long or deep, or a model that is no name."""
    settings = {key: value for key, value in {**old, **changes}.items() if value is not None}
    model = settings.get("model", "")
    if not isinstance(model, str) or len(model) > 200:
        raise InvalidField("model must be the name of a model.", field="model")
    settings = {key: value for key, value in settings.items() if key != "model" or value}
    if not _fits_levels(settings, SETTINGS_LEVELS):
        raise InvalidField(f"settings are nested more than {SETTINGS_LEVELS} levels deep.", field="settings")
    try:
        text = json.dumps(settings, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        raise InvalidField("settings must be plain JSON.", field="settings") from None
    if len(text) > SETTINGS_BYTES:
        raise InvalidField("settings are too long.", field="settings")
    # Escaped in JSON, a NUL still is one to PostgreSQL.
    check_characters(text.replace("\\u0000", "\x00"), field="settings")
    return settings


def _fits_levels(value: Any, levels: int) -> bool:
    if not isinstance(value, (dict, list)):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_fits_levels(item, levels - 1) for item in inner)


def _lock(user: User, conversation_id: str | UUID) -> Conversation:
    found = Conversation.objects.visible_to(user).filter(pk=parse_id(conversation_id)).select_for_update().first()
    if found is None:
        raise NotFound
    return found
