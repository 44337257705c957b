"""Where the text of running answers goes: to the bus by turns of a flush, to the rows once a second.

Which answers there are and how they end is the runner's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from itertools import cycle
from typing import Any

from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from apps.conversations.runner.limits import Limits
from apps.conversations.runner.writer import AnswerWriter
from apps.conversations.services import leases, observation
from apps.core.db import in_db
from apps.core.logs import get_logger
from apps.streaming.bus import Bus, Event

log = get_logger(__name__)
# Psycopg calls a cut connection an InterfaceError; SQLite so calls a value that it can't store.
AWAY: tuple[type[Exception], ...] = (OperationalError,)
if connection.vendor != "sqlite":
    AWAY += (InterfaceError,)
# The answers share the turns of one interval, so that a hundred of them don't all want the loop at the same moment.
TURNS = 4


class Outlet:
    """Pass on what writers say. `flush` and `keep` are loops that end soon after `close`."""

    def __init__(self, bus: Bus, limits: Limits, writers: Callable[[], Collection[AnswerWriter]]) -> None:
        self._bus = bus
        self._limits = limits
        self._writers = writers
        self._over = False
        self._next_turn = cycle(range(TURNS))
        # What waits to be flushed, and whoever waits for that, by turn.
        self._fresh: list[set[AnswerWriter]] = [set() for _ in range(TURNS)]
        self._turns = [asyncio.Event() for _ in range(TURNS)]
        self._flush_now = asyncio.Event()
        self._keep_now = asyncio.Event()
        # When the leases were last looked at, and whoever waits for that.
        self._vouched_at = time.monotonic()
        self._vouched = asyncio.Event()

    def admit(self, writer: AnswerWriter) -> None:
        """Give a writer its turn."""
        writer.turn = next(self._next_turn)

    def forget(self, writer: AnswerWriter) -> None:
        """Pass nothing of a writer on any more."""
        self._fresh[writer.turn].discard(writer)

    def close(self) -> None:
        """End the loops."""
        self._over = True
        self._keep_now.set()
        self._flush_now.set()
        self._vouched.set()

    def vouch(self) -> None:
        """Say that the leases were looked at just now, or that nobody can look at them."""
        self._vouched_at = time.monotonic()
        self._vouched.set()

    # --- what writers call ---------------------------------------------------------------------------------------

    async def until_flush(self, writer: AnswerWriter) -> None:
        """Wait for the answer's next turn: nothing that its provider says before would leave sooner."""
        self._flush_now.set()
        await self._turns[writer.turn].wait()

    def on_delta(self, writer: AnswerWriter) -> None:
        """Have what was added flushed at the answer's next turn."""
        self._fresh[writer.turn].add(writer)
        self._flush_now.set()

    def on_status(self, writer: AnswerWriter, event: Event) -> None:
        """Tell readers what an answer does while no text comes."""
        self._bus.publish(f"live:{writer.live.live}", event)

    async def on_first(self, writer: AnswerWriter) -> None:
        """Show the first delta at once, whatever the others wait for, and have it kept."""
        self._keep_now.set()
        await self.show(writer)
        observation.began(writer.generation, writer.first_delta_at or timezone.now())

    async def show(self, writer: AnswerWriter) -> None:
        """Hand what an answer has to the bus now."""
        await self._until_sure()
        for delta in [] if writer.is_lost else writer.live.take():
            await self._bus.append(delta)

    # --- loops ---------------------------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Hand new text to the bus, turn by turn: each answer's at most 20 times a second, less when the loop lags."""
        interval = self._limits.flush_seconds
        while not self._over:
            await self._flush_now.wait()
            self._flush_now.clear()
            for turn in range(TURNS):
                await self._flush_turn(turn)
                before = time.monotonic()
                await asyncio.sleep(interval / TURNS)
                lag = time.monotonic() - before - interval / TURNS
                interval = min(self._limits.slow_flush_seconds, max(self._limits.flush_seconds, interval * 0.9 + lag))

    async def _flush_turn(self, turn: int) -> None:
        # Whoever waits for this turn reads first, so that what it finds leaves at once.
        now, self._turns[turn] = self._turns[turn], asyncio.Event()
        now.set()
        await asyncio.sleep(0)
        await self._until_sure()
        fresh, self._fresh[turn] = self._fresh[turn], set()
        await self._bus.append_many([delta for writer in fresh if not writer.is_lost for delta in writer.live.take()])

    async def _until_sure(self) -> None:
        """Wait for the heartbeat if this process stood still for a lease: what it holds may have ended elsewhere since."""
        while not self._over and time.monotonic() - self._vouched_at > self._limits.lease_seconds:
            self._vouched.clear()
            await self._vouched.wait()

    async def keep(self) -> None:
        """Keep the text so far in the rows: at most once a second, a first delta at once."""
        while not self._over:
            await wait(self._keep_now, 1.0)
            self._keep_now.clear()
            dirty = [writer for writer in self._writers() if writer.dirty]
            if not dirty:
                continue
            progress = [writer.progress() for writer in dirty]
            try:
                await in_db(leases.keep, progress)
            except AWAY:
                log.warning("checkpoint-failed")
                for writer in dirty:
                    writer.dirty = True
            except Exception:
                log.exception("checkpoint-broke")
                await _one_by_one(progress)
            await asyncio.sleep(0.1)


async def _one_by_one(progress: list[leases.Progress]) -> None:
    """Keep what can be kept, so that one text that can't be stored costs the others nothing."""
    for one in progress:
        try:
            await in_db(leases.keep, [one])
        except Exception:
            log.exception("checkpoint-broke", generation=str(one.lease.generation_id))


async def wait(event: asyncio.Event, seconds: float) -> Any:
    """Wait for an event, but no longer than some seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
