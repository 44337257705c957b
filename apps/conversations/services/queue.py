"""How much waits and runs in the whole installation, and whether its parts reach each other: for probes and figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from apps.conversations.models import Generation, GenerationState
from apps.conversations.services import live, runners
from apps.core import health, metrics
from apps.streaming.memory import MemoryBus


@dataclass(frozen=True, slots=True)
class Queue:
    """Count what waits for a runner and what runs, titles too. Units: seconds."""

    queued: int
    running: int
    oldest_seconds: float


def measure() -> Queue:
    """Count the queue. Effects: two queries, each answered by an index."""
    waiting = Generation.objects.filter(state=GenerationState.QUEUED).aggregate(
        number=Count("pk"), oldest=Min("queued_at")
    )
    running = Generation.objects.filter(state=GenerationState.RUNNING).count()
    age = (timezone.now() - waiting["oldest"]).total_seconds() if waiting["oldest"] else 0.0
    return Queue(waiting["number"], running, max(0.0, age))


def check_bus() -> str:
    """Say how live text travels. Raises: Unhealthy while Redis is away; pages are served all the same."""
    bus = live.bus()
    if not settings.REDIS_URL:
        return "in memory"
    if isinstance(bus, MemoryBus) or not bus.connected:
        raise health.Unhealthy("Redis does not answer")
    return "connected"


class QueueFigures(Collector):
    """Give Prometheus the queue as the database has it."""

    def collect(self) -> Iterable[Metric]:
        found = measure()
        for name, words, value in (
            ("queued", "Answers and titles that wait for a runner.", found.queued),
            ("running", "Answers and titles that are being written.", found.running),
            ("oldest_queued_seconds", "How long the first in the queue has waited.", found.oldest_seconds),
        ):
            yield GaugeMetricFamily(f"bough_generations_{name}", words, value)
        yield GaugeMetricFamily("bough_runners", "Processes that write answers and live.", runners.count_alive())


def register() -> None:
    """Add this room to readiness and to the figures; called once, when Django is set up."""
    health.add_check("bus", check_bus)
    metrics.SHARED.register(QueueFigures())
