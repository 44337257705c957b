"""What workers do; each task is one call of a service. Any of them may run twice, or twice at once, without harm."""

from __future__ import annotations

from celery import shared_task

from apps.conversations.services import generations, upkeep
from apps.core.locks import Locked
from apps.core.logs import get_logger

log = get_logger(__name__)
# What the whole upkeep does not get done by then, the next one does; a worker that is to end waits no longer.
WHOLE_SECONDS = 20.0


@shared_task(name="sweep")
def sweep(*, whole: bool = False) -> None:
    """End or re-queue what dead runners left; `whole` also removes what has run out."""
    try:
        counts = upkeep.run(seconds=WHOLE_SECONDS) if whole else {"generations": generations.sweep()}
    except Locked:
        # Two schedulers, or somebody at a terminal: it is being done.
        log.info("sweep-locked")
    else:
        log.info("swept", whole=whole, **counts)
