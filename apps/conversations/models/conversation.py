"""One tree of messages, owned by one user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q

from apps.core.ids import new_id

if TYPE_CHECKING:
    from apps.accounts.models import User


class TitleSource(models.TextChoices):
    DEFAULT = "default"
    GENERATED = "generated"
    USER = "user"


class ConversationStatus(models.TextChoices):
    ACTIVE = "active"
    COMPLETED = "completed"
    ARCHIVED = "archived"


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def visible_to(self, user: User) -> ConversationQuerySet:
        """Keep what this user may see: their own, and not deleted."""
        return self.filter(owner=user, deleted_at__isnull=True)

    def owned_by(self, user: User) -> ConversationQuerySet:
        """Keep this user's own, deleted ones too."""
        return self.filter(owner=user)

    def archived(self) -> ConversationQuerySet:
        return self.filter(status=ConversationStatus.ARCHIVED)

    def unarchived(self) -> ConversationQuerySet:
        return self.exclude(status=ConversationStatus.ARCHIVED)

    def newest_first(self) -> ConversationQuerySet:
        return self.order_by("-updated_at", "-id")


class Conversation(models.Model):
    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="conversations")
    # Empty until named; pages then show the first words of the first message.
    title = models.CharField(max_length=500, blank=True)
    title_source = models.CharField(max_length=10, choices=TitleSource, default=TitleSource.DEFAULT)
    # {"model": "provider/id"}: what the owner chose here.
    settings = models.JSONField(default=dict, blank=True)
    # Where the owner stands. No database constraint: conversation and message point at each other.
    active_leaf = models.ForeignKey(
        "conversations.Message", null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_constraint=False
    )
    status = models.CharField(max_length=10, choices=ConversationStatus, default=ConversationStatus.ACTIVE)
    is_pinned = models.BooleanField(default=False)
    seen_at = models.DateTimeField(null=True, blank=True)
    # When the last answer ended; later than seen_at means unread.
    answered_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    # Only what the user would call a change: a message, a rename, an answer.
    updated_at = models.DateTimeField()
    # Fork links. A root names itself as root and has no branch_id until its first fork.
    parent_conversation = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="forks"
    )
    branch_from_message = models.ForeignKey(
        "conversations.Message", null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_constraint=False
    )
    root_conversation = models.ForeignKey(
        "self", on_delete=models.DO_NOTHING, related_name="family", db_constraint=False
    )
    branch_id = models.UUIDField(null=True, blank=True)

    # Not columns: what tells it from its family, set by forks.family.
    snippet: str
    messages_after: int

    objects = ConversationQuerySet.as_manager()

    class Meta:
        constraints = [
            # Choice sets hold in the database, not only in forms.
            models.CheckConstraint(name="conversation_status_known", condition=Q(status__in=ConversationStatus.values)),
            models.CheckConstraint(
                name="conversation_title_source_known", condition=Q(title_source__in=TitleSource.values)
            ),
        ]
        indexes = [
            # The sidebar and GET /api/chats: one user's, newest change first, by keyset.
            models.Index(
                fields=["owner", "-updated_at", "-id"], name="conversation_list", condition=Q(deleted_at__isnull=True)
            ),
            # What was deleted long ago, for the purge.
            models.Index(fields=["deleted_at"], name="conversation_deleted", condition=Q(deleted_at__isnull=False)),
            # The family menu: a root and all its forks.
            models.Index(fields=["root_conversation", "created_at"], name="conversation_family"),
        ]

    def __str__(self) -> str:
        return f"{self.title or 'Untitled'} ({self.pk})"

    @property
    def display_title(self) -> str:
        """Give the title, or what stands for one before the first message."""
        return self.title or "New Chat"

    @property
    def is_archived(self) -> bool:
        return self.status == ConversationStatus.ARCHIVED

    @property
    def is_unread(self) -> bool:
        """Tell whether an answer ended since the owner last looked."""
        return self.answered_at is not None and (self.seen_at is None or self.answered_at > self.seen_at)
