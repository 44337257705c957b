"""What a web process holds beside its requests: the hub, and in the embedded shape the runner and the upkeep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from apps.accounts.services.passes import Lapse, Pass, lapsed
from apps.conversations.runner.housekeeping import Housekeeper
from apps.conversations.runner.runner import Runner
from apps.conversations.services import hosting, live, reading
from apps.core.db import in_db
from apps.providers import registry
from apps.streaming.answers import Snapshot
from apps.streaming.guard import Guard
from apps.streaming.hub import Hub
from apps.streaming.rates import Buckets
from apps.streaming.rendering import StreamRenderer
from apps.streaming.sockets import ActiveAnswer

# How long a request may take from a new password to the session that goes with it.
SECOND_LOOK_SECONDS = 0.3
# How often one session may open a socket: a second, and at once. All tabs of a browser come back after a restart.
KNOCKS, KNOCKS_AT_ONCE = 2.0, 60.0
# How many of those who knock are looked up at once; the other threads of the database are there for answers.
LANES = 4


class Doors:
    """Bound the work that opening sockets makes: how often one session knocks, and how many are looked up at once."""

    def __init__(self) -> None:
        self.lanes = asyncio.Semaphore(LANES)
        self._knocks = Buckets(KNOCKS, KNOCKS_AT_ONCE)

    def knock(self, session_key: str) -> bool:
        """Tell whether a session may open one more socket now, and count that."""
        return self._knocks.take(session_key, time.monotonic())


class WebProcess:
    """Start and end what lives on the web process's loop; one per loop."""

    def __init__(self) -> None:
        self.hub = Hub(live.bus(), load_row=_load_row, load_active=_load_active, renderer=StreamRenderer)
        self.guard: Guard[Pass, Lapse] = Guard(_find_lapsed)
        self.doors = Doors()
        self.runner: Runner | None = None
        self.housekeeper: Housekeeper | None = None
        self.is_over = False
        self._starting: asyncio.Future[None] | None = None

    async def serving(self) -> None:
        """Start the hub, unless that is under way or done; returns once it takes sockets."""
        if self._starting is None:
            self._starting = asyncio.ensure_future(self.hub.start())
            self._starting.add_done_callback(self._started)
        # Shielded: whoever waited and left must not take the start away from the others.
        await asyncio.shield(self._starting)

    def _started(self, starting: asyncio.Future[None]) -> None:
        if starting.cancelled() or starting.exception() is not None:
            self._starting = None

    async def start(self, *, with_runner: bool) -> None:
        """Start the hub; and, if generations run here, the runner and the upkeep."""
        await self.serving()
        if with_runner:
            self.runner = Runner(live.bus())
            await self.runner.start()
            hosting.install(self.runner)
            self.housekeeper = Housekeeper()
            self.housekeeper.start()

    async def stop(self, grace_seconds: float | None = None) -> None:
        """Let answers finish within their grace, then send all readers away."""
        await self.drain(grace_seconds)
        await self.close()

    async def drain(self, grace_seconds: float | None = None) -> None:
        """Let the answers that are written here finish within their grace, interrupt the rest."""
        if self.housekeeper is not None:
            await self.housekeeper.stop()
        if self.runner is not None:
            hosting.install(None)
            await self.runner.drain(grace_seconds)

    async def close(self) -> None:
        """End sockets and event streams so that their readers come back, elsewhere; close the providers' connections."""
        self.is_over = True
        # As those whose session was renewed: come again.
        await self.guard.stop(Lapse.RENEWED)
        await self.hub.stop()
        for provider in registry.current().values():
            await provider.aclose()

    def hurry(self) -> None:
        """Stop waiting for answers: the second signal."""
        if self.runner is not None:
            self.runner.interrupt_all()


_processes: dict[asyncio.AbstractEventLoop, WebProcess] = {}


async def here() -> WebProcess:
    """Give the process object of the running loop with its hub started; made without a runner if nobody made one."""
    process = unstarted()
    await process.serving()
    return process


def unstarted() -> WebProcess:
    """Give the process object of the running loop as it is: for whoever needs no hub."""
    return _processes.get(asyncio.get_running_loop()) or register(WebProcess())


def register(process: WebProcess) -> WebProcess:
    """Make a process object the one of the running loop."""
    for loop in [loop for loop in _processes if loop.is_closed()]:
        del _processes[loop]
    _processes[asyncio.get_running_loop()] = process
    return process


async def _find_lapsed(passes: Collection[Pass]) -> dict[Pass, Lapse]:
    found = await in_db(lapsed, passes)
    if found:
        # A new password and its browser's new session are two writes: between them, the old one looks like any other's.
        await asyncio.sleep(SECOND_LOOK_SECONDS)
        found = await in_db(lapsed, found)
    return found


async def _load_row(live_id: str) -> Snapshot | None:
    return await in_db(reading.snapshot_of, live_id)


async def _load_active(conversation_ids: Collection[str]) -> dict[str, list[ActiveAnswer]]:
    return await in_db(reading.active_in, conversation_ids)
