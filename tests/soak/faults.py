"""What breaks under a soak, at random times and one at a time."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Coroutine
from typing import Any

from tests.process.installation import Installation
from tests.soak.ledger import Ledger


class Faults:
    """Break an installation again and again until cancelled; what is broken is whole again after each fault.

    Shape: `gap` is the shortest and the longest pause between two faults, in seconds.
    """

    def __init__(
        self, installation: Installation, ledger: Ledger, dice: random.Random, gap: tuple[float, float]
    ) -> None:
        self._all = installation
        self._ledger = ledger
        self._dice = dice
        self._gap = gap
        self._waiting: list[tuple[str, bool]] = []

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._dice.uniform(*self._gap))
            name, announced = self._next()
            with self._ledger.fault(name.replace("_", " "), announced=announced):
                await _to_its_end(getattr(self, name)())

    def _next(self) -> tuple[str, bool]:
        """Draw every fault once before any comes again."""
        if not self._waiting:
            self._waiting = list(SCALED if self._all.postgres else EMBEDDED)
            self._dice.shuffle(self._waiting)
        return self._waiting.pop()

    async def web_killed(self) -> None:
        await asyncio.to_thread(self._all.stop, signal.SIGKILL)
        await asyncio.to_thread(self._all.start)

    async def web_restarted(self) -> None:
        await asyncio.to_thread(self._all.stop, signal.SIGTERM)
        await asyncio.to_thread(self._all.start)

    async def sqlite_locked(self) -> None:
        with self._all.sqlite() as other:
            other.execute("PRAGMA busy_timeout = 20000")
            await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
            await asyncio.sleep(3)
            other.execute("ROLLBACK")

    async def runner_killed(self) -> None:
        await asyncio.to_thread(self._all.stop_runner, signal.SIGKILL)
        self._all.start_runner()

    async def runner_restarted(self) -> None:
        self._all.start_runner()
        await asyncio.to_thread(self._all.stop_runner, signal.SIGTERM)

    async def runner_paused(self) -> None:
        """Stop a runner for longer than its lease, and let it go on as a zombie."""
        runner = self._all.runners[0]
        runner.send_signal(signal.SIGSTOP)
        await asyncio.sleep(7)
        runner.send_signal(signal.SIGCONT)

    async def redis_killed(self) -> None:
        assert self._all.redis is not None
        await asyncio.to_thread(self._all.redis.kill)
        await asyncio.sleep(self._dice.uniform(0.2, 5))
        await asyncio.to_thread(self._all.redis.start)

    async def redis_emptied(self) -> None:
        assert self._all.redis is not None
        await asyncio.to_thread(self._all.redis.call, "FLUSHALL")

    async def redis_paused(self) -> None:
        assert self._all.redis is not None
        self._all.redis.pause()
        await asyncio.sleep(self._dice.uniform(0.5, 6))
        self._all.redis.resume()

    async def postgres_restarted(self) -> None:
        assert self._all.postgres is not None
        await asyncio.to_thread(self._all.postgres.stop, self._dice.choice((signal.SIGINT, signal.SIGQUIT)))
        await asyncio.sleep(self._dice.uniform(0, 6))
        await asyncio.to_thread(self._all.postgres.start)

    async def postgres_cut(self) -> None:
        assert self._all.postgres is not None
        await asyncio.to_thread(self._all.postgres.cut, self._all.database)


async def _to_its_end(fault: Coroutine[Any, Any, None]) -> None:
    """Wait for a fault; a soak that ends waits for the repair as well."""
    task = asyncio.ensure_future(fault)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


# With each, whether 503 and lost connections are no error then.
EMBEDDED = (("web_killed", True), ("web_restarted", True), ("sqlite_locked", False))
SCALED = (
    ("web_killed", True),
    ("web_restarted", True),
    ("runner_killed", False),
    ("runner_restarted", False),
    ("runner_paused", False),
    ("redis_killed", False),
    ("redis_emptied", False),
    ("redis_paused", False),
    ("postgres_restarted", True),
    ("postgres_cut", True),
)
