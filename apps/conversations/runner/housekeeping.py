"""Upkeep in the web process that does everything itself: where a scheduler runs as well, the two don't overlap."""

from __future__ import annotations

import asyncio

from apps.conversations.services import upkeep
from apps.core.db import DATABASE_AWAY, in_db
from apps.core.locks import Locked
from apps.core.logs import get_logger

log = get_logger(__name__)


class Housekeeper:
    """Do the upkeep now and then, a little at a time. `start` it on a running loop, `stop` it before the process ends."""

    def __init__(self, *, first_seconds: float = 300, every_seconds: float = 3_600, at_most_seconds: float = 5) -> None:
        self._pauses = (first_seconds, every_seconds)
        self._at_most = at_most_seconds
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin: the first time is a while after the start, which has enough to do."""
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """End; a batch that is under way is finished."""
        self._over.set()
        if self._task is not None:
            await self._task

    async def _keep(self) -> None:
        pause, every = self._pauses
        while not await self._is_over_within(pause):
            pause = every
            try:
                counts = await in_db(upkeep.run, seconds=self._at_most, over=self._over.is_set)
            except Locked:
                continue
            except DATABASE_AWAY:
                log.warning("upkeep-failed")
                continue
            if any(counts.values()):
                log.info("swept", whole=True, **counts)

    async def _is_over_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._over.wait(), seconds)
        except TimeoutError:
            return False
        return True
