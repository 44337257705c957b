"""What the processes that write answers say of themselves: that they live, and how much they have in hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import DurationField, ExpressionWrapper, F, QuerySet
from django.db.models.functions import Now

from apps.conversations.models import RunnerProcess

# How often a runner says that it lives, and after how long without a word it counts as gone. Units: seconds.
PULSE_SECONDS = 5.0
GONE_SECONDS = 20.0
# So long the row of one that was killed tells of it.
KEPT_FOR = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a runner says of itself."""

    name: str
    started_at: datetime
    concurrency: int
    active: int
    draining: bool


def note(pulse: Pulse) -> None:
    """Keep what a runner says of itself. Effects: one statement."""
    row = RunnerProcess(
        name=pulse.name,
        started_at=pulse.started_at,
        concurrency=pulse.concurrency,
        active=pulse.active,
        draining=pulse.draining,
    )
    seen: Any = Now()
    row.seen_at = seen
    RunnerProcess.objects.bulk_create(
        [row],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["seen_at", "concurrency", "active", "draining"],
    )


def remove(name: str) -> None:
    """Forget a runner that ended."""
    RunnerProcess.objects.filter(pk=name).delete()


def gone() -> QuerySet[RunnerProcess]:
    """Keep runners that nobody has heard of for a day."""
    return RunnerProcess.objects.filter(seen_at__lt=Now() - KEPT_FOR)


def forget_gone() -> int:
    """Forget runners that nobody has heard of for a day. Shape: how many. Effects: a query alone where there are none."""
    return gone().delete()[0] if gone().exists() else 0


def known() -> QuerySet[Any]:
    """List runners with their `age`, a timedelta since their last word; the freshest first."""
    age = ExpressionWrapper(Now() - F("seen_at"), output_field=DurationField())
    return RunnerProcess.objects.annotate(age=age).order_by("-seen_at", "name")


def count_alive() -> int:
    """Count the runners that were heard of lately."""
    return RunnerProcess.objects.filter(seen_at__gte=Now() - timedelta(seconds=GONE_SECONDS)).count()
