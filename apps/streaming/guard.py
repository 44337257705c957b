"""The guard: readers stay for hours, so whether they still may is asked again every few seconds, for all at once.

By what somebody may read, and who knows, is not decided here; nor how a reader is sent away.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from typing import Generic, TypeVar

from apps.core.logs import get_logger

log = get_logger(__name__)

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")
TurnOut = Callable[[R], Awaitable[None]]

# Who loses a right must be gone within five seconds, with the time that asking takes.
EVERY_SECONDS = 3.0


class Guard(Generic[K, R]):
    """Turn out readers whose key has lapsed. For one event loop.

    `ask` gives the lapsed ones among some keys, each with the reason; while it fails, all read on.
    Units: every in seconds.
    """

    def __init__(
        self, ask: Callable[[Collection[K]], Awaitable[Mapping[K, R]]], *, every: float = EVERY_SECONDS
    ) -> None:
        self.every = every
        self._ask = ask
        self._readers: dict[object, tuple[K, TurnOut[R]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._over: R | None = None

    @property
    def is_idle(self) -> bool:
        """Tell whether nobody is watched over."""
        return self._task is None

    def admit(self, key: K, turn_out: TurnOut[R]) -> Callable[[], None]:
        """Watch over a reader until it is turned out, or until the function given back is called."""
        reader = object()
        self._readers[reader] = (key, turn_out)
        if self._task is None:
            # In a context of its own: one that began in a request would keep that request's alive.
            loop = asyncio.get_running_loop()
            work = self._watch() if self._over is None else self._turn_out_all(self._over)
            self._task = loop.create_task(work, context=contextvars.Context())

        def leave() -> None:
            self._readers.pop(reader, None)

        return leave

    async def stop(self, reason: R | None = None) -> None:
        """Watch over nobody any more. With a reason, turn out for it all there are, and whoever still comes."""
        self._over = reason
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if reason is not None:
            await self._turn_out_all(reason)
        else:
            self._readers.clear()

    async def _turn_out_all(self, reason: R) -> None:
        while self._readers:
            await self._turn_out(dict.fromkeys((key for key, _ in self._readers.values()), reason))
        self._task = None

    async def _watch(self) -> None:
        while self._readers:
            await asyncio.sleep(self.every)
            await self._look()
        self._task = None

    async def _look(self) -> None:
        keys = {key for key, _ in self._readers.values()}
        if not keys:
            return
        try:
            lapsed = await self._ask(keys)
        except Exception:
            # The database may be away: nobody loses a right by that, and there is little to read meanwhile.
            log.exception("rights-not-read")
            return
        await self._turn_out(lapsed)

    async def _turn_out(self, lapsed: Mapping[K, R]) -> None:
        leaving = [reader for reader, (key, _) in self._readers.items() if key in lapsed]
        turned_out = [self._readers.pop(reader) for reader in leaving]
        ends = await asyncio.gather(*(turn_out(lapsed[key]) for key, turn_out in turned_out), return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                log.error("reader-not-turned-out", exc_info=end)
