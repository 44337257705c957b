"""One run of a model that writes one answer (or a title): a state machine with a lease."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Func, Q

from apps.core.ids import new_id


class GenerationState(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


ACTIVE_STATES = (GenerationState.QUEUED, GenerationState.RUNNING)


class Purpose(models.TextChoices):
    ANSWER = "answer"
    TITLE = "title"


def _written_out(field: str, condition: str) -> Func:
    """Make a condition with its values in it: SQLite can't match a bound parameter with a partial index's condition."""
    return Func(F(field), template=f"%(expressions)s {condition}", output_field=models.BooleanField())


class GenerationQuerySet(models.QuerySet["Generation"]):
    def active(self) -> GenerationQuerySet:
        return self.filter(_written_out("state", "IN ('queued', 'running')"))

    def answers(self) -> GenerationQuerySet:
        return self.filter(_written_out("purpose", "= 'answer'"))


class Generation(models.Model):
    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    conversation = models.ForeignKey("conversations.Conversation", on_delete=models.CASCADE, related_name="generations")
    # Null for a title. A continuation is a further generation of the same message.
    message = models.ForeignKey(
        "conversations.Message", null=True, on_delete=models.CASCADE, related_name="generations"
    )
    # No index of its own: the window's index begins with it.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    purpose = models.CharField(max_length=12, choices=Purpose)
    state = models.CharField(max_length=12, choices=GenerationState, default=GenerationState.QUEUED)
    # Which try this is; with lease_owner it fences off a runner that lost its lease.
    attempt = models.PositiveSmallIntegerField(default=0)
    # Several models answering one message share a batch; rank is their order. A continuation is a batch of its own.
    batch = models.UUIDField(default=new_id)
    rank = models.PositiveSmallIntegerField(default=0)
    # {"model": "provider/id", "continuation": bool}: what was asked for; and for log lines, by which "request_id", and
    # "of" how many models.
    request = models.JSONField(default=dict)
    stop_requested_at = models.DateTimeField(null=True, blank=True)
    lease_owner = models.CharField(max_length=60, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    queued_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    first_delta_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    error_code = models.CharField(max_length=40, blank=True)

    objects = GenerationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(name="generation_state_known", condition=Q(state__in=GenerationState.values)),
            models.CheckConstraint(name="generation_purpose_known", condition=Q(purpose__in=Purpose.values)),
            models.CheckConstraint(
                name="generation_answer_has_message", condition=~Q(purpose=Purpose.ANSWER) | Q(message__isnull=False)
            ),
            models.CheckConstraint(
                name="generation_finished_has_time", condition=Q(state__in=ACTIVE_STATES) | Q(finished_at__isnull=False)
            ),
            # One writer per message.
            models.UniqueConstraint(
                fields=["message"], name="generation_one_active_per_message", condition=Q(state__in=ACTIVE_STATES)
            ),
            # One batch of answers per conversation at a time: two that begin at once would share rank 0. All its ranks
            # are in here, for the question before each act whether any of them is active (access.ACTIVE_BATCH), and which
            # ones are, for pages and lists: without it, every generation that a conversation ever had was read.
            models.UniqueConstraint(
                fields=["conversation", "rank"],
                name="generation_one_active_batch",
                condition=Q(state__in=ACTIVE_STATES, purpose=Purpose.ANSWER),
            ),
        ]
        indexes = [
            # The runner's question each second: queued work, oldest first; stops and dead leases of running ones.
            # Not partial: SQLite can't match a bound parameter with an index's condition, and would read the whole table.
            models.Index(fields=["state", "queued_at"], name="generation_queue"),
            # Limits per user and window.
            models.Index(fields=["user", "queued_at"], name="generation_user_window"),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} generation {self.pk} ({self.state})"

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE_STATES
