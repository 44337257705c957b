"""Following one answer: what every reader does to have all of it, and the plain deltas that the HTTP API streams.

No HTTP here, and no rendering: pages follow through rooms.py.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from apps.streaming.answers import Delta, Reader, Snapshot
from apps.streaming.bus import Bus, Event, Subscription, live_topic
from apps.streaming.metrics import RESYNCS

# How an answer ends that neither bus nor row knows any more.
GONE = "gone"

# Deltas kept while a snapshot lags behind them: half a minute of one answer.
MISSED = 600

# Seconds between readings of a source that lags, doubled each time up to the last.
RETRY = 0.05
# Seconds until an answer is looked for that was begun a moment ago, and of which nothing is heard.
FIRST_LOOK = 1.0
NOTHING_YET = Snapshot(1, ())
SLOWEST_RETRY = 1.0


class Follower:
    """Keep a Reader in step with the bus, and with the row where the bus knows less.

    Feed it the events of the live topic, subscribed to before the first `read`; whenever it is stale, await `read`.
    One that `is_new`, begun a moment ago, has nothing in its row: if nothing is heard of it for a second, doubt it.
    """

    __slots__ = (
        "_asked",
        "_bus",
        "_doubt",
        "_live",
        "_load_row",
        "_missed",
        "_over",
        "ended",
        "facts",
        "is_new",
        "reader",
    )

    def __init__(
        self, bus: Bus, live: str, load_row: Callable[[str], Awaitable[Snapshot | None]], *, is_new: bool = False
    ) -> None:
        self.is_new = is_new
        self.reader = Reader()
        self.ended: str | None = None
        self.facts: Mapping[str, Any] | None = None
        self._bus = bus
        self._live = live
        self._load_row = load_row
        self._asked = True
        self._doubt = False
        self._over: str | None = None
        self._missed: list[Delta] = []

    @property
    def stale(self) -> bool:
        """Tell whether a snapshot must be read."""
        return self.ended is None and (self._asked or bool(self._missed))

    @property
    def lagging(self) -> bool:
        """Tell, after a `read`, whether the source was behind what the bus has carried already."""
        return bool(self._missed)

    def hear(self, event: Event) -> None:
        """Take in an event of the live topic."""
        self.is_new = False
        match event["type"]:
            case "delta":
                self._hear_delta(event["delta"])
            case "resync":
                RESYNCS.inc()
                self._asked = True
            case "ended":
                self._over = event["status"]
                self.facts = event.get("facts")
                if not self.stale and event.get("at") == [self.reader.attempt, *self.reader.position]:
                    self.ended = self._over  # all of it is here: nothing to read
                else:
                    self._asked = True

    def doubt(self) -> None:
        """Have the row read next, in place of what the bus holds."""
        self.is_new, self._asked, self._doubt = False, True, True

    async def read(self) -> None:
        """Load the newest snapshot, then what came while it was read.

        Raises: what the bus or load_row raises; the follower stays stale then.
        """
        over, doubt = self._over, self._doubt
        self._asked = self._doubt = False
        try:
            snapshot = await self._snapshot(over, doubt)
        except BaseException:
            self._asked, self._doubt = True, doubt
            raise
        if snapshot is not None:
            self.reader.load(snapshot)
        self._missed = [delta for delta in self._missed if not self.reader.apply(delta)]
        # An end heard before the reading began is in the snapshot, with all the text before it; one heard since is not.
        if over is not None or snapshot is None or snapshot.ended:
            self.ended = over or (GONE if snapshot is None else snapshot.status)
            self._missed.clear()

    async def _snapshot(self, over: str | None, doubt: bool) -> Snapshot | None:
        snapshot = None if doubt else await self._bus.snapshot(self._live)
        if snapshot is None and self.is_new and self._bus.connected:
            return NOTHING_YET
        if snapshot is None or (snapshot.ended and over is None):
            # The bus marks an end but not how it ended; the row knows.
            return await self._load_row(self._live)
        return snapshot

    def _hear_delta(self, delta: Delta) -> None:
        if self._missed or not self.reader.apply(delta):
            if not self.stale:
                RESYNCS.inc()
            if len(self._missed) >= MISSED:
                # What is forgotten here is one more gap for the snapshot to fill.
                self._missed.clear()
                self._asked = True
            self._missed.append(delta)


@dataclass(frozen=True, slots=True)
class End:
    """Say how an answer ended: its status, or "gone"; with the writer's facts where the bus brought them."""

    status: str
    facts: Mapping[str, Any] | None = None


async def follow(
    bus: Bus,
    live: str,
    *,
    start_part: int = 0,
    start_offset: int = 0,
    start_attempt: int | None = None,
    load_row: Callable[[str], Awaitable[Snapshot | None]],
    quiet: float = 10.0,
    keepalive: bool = False,
    is_new: bool = False,
    over: bool = False,
) -> AsyncGenerator[Delta | End, None]:
    """Yield an answer from a position on: deltas without gap or repeat, then one End.

    Shape: what waits comes as one delta for each part. A new attempt begins again at (0, 0); so does the current one
    if start_attempt names another. With keepalive, each `quiet` seconds of silence yield an empty delta. `over`: the row
    has ended, so it is read first: the bus never hears of the end of an answer whose writer is gone.
    Units: after `quiet` seconds of silence the row is read, so that a lost end heals; after one while the bus is away, or
        for an answer that `is_new`.
    Raises: what load_row raises.
    Effects: holds a subscription until it is closed: leave it early only through contextlib.aclosing.
    """
    follower = Follower(bus, live, load_row, is_new=is_new)
    if over:
        follower.doubt()
    reader, hearing = follower.reader, _Hearing(bus, follower, quiet)
    position, attempt = (start_part, start_offset), start_attempt
    async with await bus.subscribe(live_topic(live)) as subscription:
        while True:
            if follower.stale:
                await follower.read()
            if attempt is not None and attempt != reader.attempt:
                position = (0, 0)
            attempt = reader.attempt
            for piece in reader.since(*position):
                yield Delta(live, attempt, *piece)
            position = max(position, reader.position)
            if follower.ended is not None:
                yield End(follower.ended, follower.facts)
                return
            if not await hearing.wait(subscription) and keepalive:
                yield Delta(live, attempt, position[0], "text", position[1], "")


class _Hearing:
    """Wait for what comes next, as long as makes sense, and hand it to the follower."""

    def __init__(self, bus: Bus, follower: Follower, quiet: float) -> None:
        self._bus = bus
        self._follower = follower
        self._quiet = quiet
        self._lag = RETRY

    async def wait(self, subscription: Subscription) -> bool:
        """Wait; False means that all was silent, and the row is to be read."""
        follower = self._follower
        if follower.lagging:
            await asyncio.sleep(self._lag)
            self._lag = min(self._lag * 2, SLOWEST_RETRY)
            events = await subscription.take(0)
        else:
            self._lag = RETRY
            is_quick = follower.is_new or not self._bus.connected
            events = await subscription.take(min(self._quiet, FIRST_LOOK) if is_quick else self._quiet)
            if not events:
                follower.doubt()
                return False
        for _, event in events:
            follower.hear(event)
        return True
