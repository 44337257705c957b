"""One node of the tree, its earlier texts, and the runs that make ancestry cheap."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from django.conf import settings
from django.db import connection, models
from django.db.models import F, Q

from apps.core.ids import new_id

if TYPE_CHECKING:
    from apps.accounts.models import User


class Role(models.TextChoices):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    CONTEXT = "context"


class MessageStatus(models.TextChoices):
    COMPLETE = "complete"
    STREAMING = "streaming"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Run(models.Model):
    """A chain of messages without forks: the first child goes on in it, every further child starts a new one.

    A path is a handful of (run, depth range), so ancestor test, common fork and leaf below cost O(runs). Source: ADR-0002.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    conversation = models.ForeignKey("conversations.Conversation", on_delete=models.CASCADE, related_name="runs")
    # The run and depth of the message this one hangs below; both null for a run that starts at a first message.
    parent = models.ForeignKey("self", null=True, on_delete=models.CASCADE, related_name="children")
    parent_depth = models.PositiveIntegerField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="run_parent_and_depth_together",
                condition=Q(parent__isnull=True, parent_depth__isnull=True)
                | Q(parent__isnull=False, parent_depth__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.pk}"


# One text for SQLite and PostgreSQL.
WALK_UP = """
WITH RECURSIVE walk(id, parent_id, step) AS (
    SELECT id, parent_id, 1 FROM conversations_message WHERE id = %s
    UNION ALL
    SELECT above.id, above.parent_id, walk.step + 1
    FROM conversations_message above JOIN walk ON above.id = walk.parent_id
    WHERE walk.step < %s
)
SELECT {columns} FROM walk JOIN conversations_message message ON message.id = walk.id ORDER BY walk.step
"""
WHOLE = "message.*"
# What a model is sent of a path; of its end, the message that is to be written, the parts too.
FOR_CONTEXT = """
message.id, message.role, message.text, message.token_estimate, CASE WHEN walk.step = 1 THEN message.parts END AS parts
"""


class MessageQuerySet(models.QuerySet["Message"]):
    def visible_to(self, user: User) -> MessageQuerySet:
        """Keep this user's messages that stand: neither they nor their conversation deleted."""
        return self.filter(owner=user, deletion__isnull=True, conversation__deleted_at__isnull=True)

    def standing(self) -> MessageQuerySet:
        return self.filter(deletion__isnull=True)

    def walk_up(self, message_id: UUID | None, *, limit: int) -> list[Message]:
        """Walk from a message to its ancestors. Shape: oldest first, at most `limit`, the message last; one query.

        The recursion is bounded inside the query, so its cost is the same at any depth (measured: ADR-0001).
        """
        return self._walk_up(WHOLE, message_id, limit)

    def walk_up_for_context(self, message_id: UUID | None, *, limit: int) -> list[Message]:
        """Walk as `walk_up`, and read only what a model is sent: a third of the cost for a page of messages."""
        return self._walk_up(FOR_CONTEXT, message_id, limit)

    def _walk_up(self, columns: str, message_id: UUID | None, limit: int) -> list[Message]:
        if message_id is None:
            return []
        key = self.model._meta.pk.get_db_prep_value(message_id, connection)
        found = self.raw(WALK_UP.format(columns=columns), [key, limit])
        return list(cast(Iterable[Message], found))[::-1]

    def siblings_in_order(self) -> MessageQuerySet:
        return self.order_by("created_at", "id")


class Message(models.Model):
    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # Conversation, parent and run have no index of their own: composite ones below begin with them.
    conversation = models.ForeignKey(
        "conversations.Conversation", on_delete=models.CASCADE, related_name="messages", db_index=False
    )
    # Copied from the conversation: guards and search need it beside the row.
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="children", db_index=False
    )
    depth = models.PositiveIntegerField(default=0)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="messages", db_index=False)
    role = models.CharField(max_length=10, choices=Role)
    # [{"type": "text", "text": …}, {"type": "reasoning", "text": …, "durationMs": …}]
    parts = models.JSONField(default=list)
    # The text parts joined: for lists, search and context.
    text = models.TextField(blank=True)
    status = models.CharField(max_length=12, choices=MessageStatus, default=MessageStatus.COMPLETE)
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.CharField(max_length=500, blank=True)
    # Snapshots: who answered, whatever is renamed later.
    model_id = models.CharField(max_length=200, blank=True)
    provider = models.CharField(max_length=100, blank=True)
    prompt_tokens = models.PositiveIntegerField(null=True, blank=True)
    completion_tokens = models.PositiveIntegerField(null=True, blank=True)
    reasoning_tokens = models.PositiveIntegerField(null=True, blank=True)
    cached_tokens = models.PositiveIntegerField(null=True, blank=True)
    ttft_ms = models.PositiveIntegerField(null=True, blank=True)
    duration_ms = models.PositiveIntegerField(null=True, blank=True)
    finish_reason = models.CharField(max_length=40, blank=True)
    token_estimate = models.PositiveIntegerField(default=0)
    is_favourite = models.BooleanField(default=False)
    # Position memory: where the owner last stood below this message, written when a sibling is left.
    last_leaf = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_constraint=False
    )
    copied_from = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_constraint=False
    )
    client_id = models.CharField(max_length=100, null=True, blank=True)  # noqa: DJ001 (null: unique only where given)
    # One UUIDv7 per act of deleting; undo clears exactly that act.
    deletion = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField()

    # Not columns: its place among its siblings, set for a whole page by paths.attach_siblings.
    sibling_index: int
    sibling_count: int
    previous_sibling_id: UUID | None
    next_sibling_id: UUID | None

    objects = MessageQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(name="message_role_known", condition=Q(role__in=Role.values)),
            models.CheckConstraint(name="message_status_known", condition=Q(status__in=MessageStatus.values)),
            models.CheckConstraint(name="message_not_own_parent", condition=~Q(parent=F("id"))),
            # A first message has depth 0, and nothing else has.
            models.CheckConstraint(
                name="message_depth_zero_is_root",
                condition=Q(parent__isnull=True, depth=0) | Q(parent__isnull=False, depth__gt=0),
            ),
            # A run is a chain: two siblings can't both go on in it. Serves path ranges too.
            models.UniqueConstraint(fields=["run", "depth"], name="message_one_per_run_and_depth"),
            # Sending twice with one client id stores one message.
            models.UniqueConstraint(
                fields=["owner", "client_id"], name="message_client_id_once", condition=Q(client_id__isnull=False)
            ),
        ]
        indexes = [
            # Siblings of the messages of a page.
            models.Index(fields=["parent", "id"], name="message_siblings"),
            # First messages of a conversation (siblings without a parent). By depth too, which is 0 there: of two indexes
            # that begin alike SQLite takes the one that matches more.
            models.Index(fields=["conversation", "depth"], name="message_first", condition=Q(parent__isnull=True)),
            # Deleting and restoring, the tree map, the newest message.
            models.Index(fields=["conversation", "id"], name="message_conversation"),
            # The standing tip of each run: leaf below.
            models.Index(fields=["run", "depth"], name="message_standing_tip", condition=Q(deletion__isnull=True)),
            # The rows of one act of deleting.
            models.Index(fields=["deletion"], name="message_deletion", condition=Q(deletion__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.role} message {self.pk}"

    @property
    def is_answer(self) -> bool:
        return self.role == Role.ASSISTANT


class MessageRevision(models.Model):
    """The parts a message had before it was edited in its place."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="revisions", db_index=False)
    parts = models.JSONField()
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["message", "created_at"], name="revision_of_message")]

    def __str__(self) -> str:
        return f"revision {self.pk} of {self.message_id}"


def joined_text(parts: Iterable[dict[str, Any]]) -> str:
    """Join the text parts: what the user reads, without reasoning and tools."""
    return "".join(part["text"] for part in parts if part["type"] == "text")
