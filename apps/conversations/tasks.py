"""What workers do; each task is one call of a service. Any of them may run twice, or twice at once, without harm."""

from __future__ import annotations

from celery import shared_task

from apps.conversations.services import generations
from apps.core.logs import get_logger

log = get_logger(__name__)


@shared_task(name="sweep")
def sweep(*, whole: bool = False) -> None:
    """End or re-queue what dead runners left; `whole` also removes what has expired."""
    dead = generations.sweep()
    log.info("swept", whole=whole, dead=dead)
