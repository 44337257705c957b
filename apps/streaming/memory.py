"""The bus inside one process: dictionaries and deques on one event loop.

Nothing here outlives the process; several processes need the bus over Redis.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Self

from apps.streaming.answers import Delta, Parts, PartText, Snapshot
from apps.streaming.bus import Event, live_topic

RESYNC: Event = {"type": "resync"}


class MemorySubscription:
    """Queue the events of some topics for one reader."""

    def __init__(self, topics: dict[str, set["MemorySubscription"]], backlog: int) -> None:
        self._everybody = topics
        self._backlog = backlog
        self._topics: set[str] = set()
        self._events: deque[tuple[str, Event]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def push(self, topic: str, event: Event) -> None:
        """Queue an event and wake the reader."""
        if len(self._events) >= self._backlog:
            self._collapse()
        self._events.append((topic, event))
        self._wake()

    def __aiter__(self) -> AsyncIterator[tuple[str, Event]]:
        return self

    async def __anext__(self) -> tuple[str, Event]:
        if not self._events and not self._closed:
            await self._wait(None)
        if self._closed:
            raise StopAsyncIteration
        return self._events.popleft()

    async def take(self, within: float | None = None) -> list[tuple[str, Event]]:
        """Wait for events and give all that are there; empty after `within` seconds or when closed."""
        if not self._events and not self._closed:
            await self._wait(within)
        events = list(self._events)
        self._events.clear()
        return events

    async def add(self, *topics: str) -> None:
        """Listen to further topics."""
        if not self._closed:
            for topic in topics:
                self._topics.add(topic)
                self._everybody.setdefault(topic, set()).add(self)

    async def remove(self, *topics: str) -> None:
        """Stop listening to some topics."""
        for topic in topics:
            self._topics.discard(topic)
            listeners = self._everybody.get(topic, set())
            listeners.discard(self)
            if not listeners:
                self._everybody.pop(topic, None)

    async def close(self) -> None:
        """Let go of all topics and end all waiting."""
        await self.remove(*tuple(self._topics))
        self._closed = True
        self._events.clear()
        self._wake()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, within: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if within is None else loop.call_later(within, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _collapse(self) -> None:
        """Put one `resync` in place of each topic's deltas: a reader that stalls must not hold a whole answer in pieces."""
        behind = {topic: None for topic, event in self._events if event["type"] == "delta"}
        kept = [(topic, event) for topic, event in self._events if event["type"] not in ("delta", "resync")]
        self._events = deque((topic, RESYNC) for topic in behind)
        self._events.extend(kept)


class _Held:
    """One answer as the bus holds it."""

    __slots__ = ("attempt", "ended", "parts")

    def __init__(self, attempt: int, parts: Sequence[PartText]) -> None:
        self.attempt = attempt
        self.parts = Parts(parts)
        self.ended = False


class MemoryBus:
    """Carry live text and events inside one process, for one event loop.

    Units: keep_seconds is how long an ended answer's snapshot stays; backlog counts events that may wait for one reader.
    """

    connected = True

    def __init__(self, *, keep_seconds: float = 60.0, backlog: int = 2048) -> None:
        self._keep_seconds = keep_seconds
        self._backlog = backlog
        self._held: dict[str, _Held] = {}
        self._topics: dict[str, set[MemorySubscription]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0

    def start(self) -> None:
        """Bind the bus to the running loop, unless it is bound already.

        Raises: RuntimeError if it belongs to another loop that still lives.
        """
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None and not self._loop.is_closed():
            raise RuntimeError("This bus belongs to another event loop.")
        # Whoever listened on the closed loop is gone with it.
        self._topics.clear()
        self._loop = loop
        self._thread = threading.get_ident()

    async def open(self, live: str, attempt: int, parts: Sequence[PartText] = ()) -> None:
        """Start an attempt's snapshot, or replace it, and tell its readers."""
        self.start()
        held = self._held.get(live)
        if held is not None and held.attempt > attempt:
            return
        self._held[live] = _Held(attempt, parts)
        self._spread(live_topic(live), RESYNC)

    async def append(self, delta: Delta) -> None:
        """Add a delta to the snapshot, then publish it; an older attempt than the one held is ignored.

        Raises: ValueError if text before the delta is missing: a snapshot with a hole would be trusted by readers.
        """
        self.start()
        held = self._held.get(delta.live)
        if held is None or held.attempt < delta.attempt:
            held = _Held(delta.attempt, ())
        elif held.attempt > delta.attempt:
            return
        if not held.parts.write(delta.part, delta.kind, delta.offset, delta.text):
            raise ValueError(f"Delta at {delta.part}:{delta.offset} does not continue {held.parts.position}.")
        self._held[delta.live] = held
        self._spread(live_topic(delta.live), {"type": "delta", "delta": delta})

    async def append_many(self, deltas: Iterable[Delta]) -> None:
        """Append the deltas of many answers, in order; a wrong one is reported after all others are kept."""
        wrong: ValueError | None = None
        for delta in deltas:
            try:
                await self.append(delta)
            except ValueError as error:
                wrong = wrong or error
        if wrong is not None:
            raise wrong

    async def snapshot(self, live: str) -> Snapshot | None:
        """Read an answer as it stands; None if nothing is held."""
        held = self._held.get(live)
        return None if held is None else Snapshot(held.attempt, held.parts.frozen(), held.ended)

    async def drop(self, live: str, attempt: int | None = None) -> None:
        """Mark the answer as ended and forget it after `keep_seconds`; nothing if a newer attempt than this is held."""
        self.start()
        held = self._held.get(live)
        if held is not None and not held.ended and (attempt is None or held.attempt <= attempt):
            held.ended = True
            asyncio.get_running_loop().call_later(self._keep_seconds, self._forget, live, held)

    def publish(self, topic: str, event: Event) -> None:
        """Send an event to whoever listens now; from any thread."""
        if threading.get_ident() == self._thread:
            self._spread(topic, event)
        elif self._loop is not None:
            # A closed loop has no listeners left, and may close at any moment while another thread publishes.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._spread, topic, event)

    async def subscribe(self, *topics: str) -> MemorySubscription:
        """Listen to topics."""
        self.start()
        subscription = MemorySubscription(self._topics, self._backlog)
        await subscription.add(*topics)
        return subscription

    def _spread(self, topic: str, event: Event) -> None:
        for subscription in self._topics.get(topic, ()):
            subscription.push(topic, event)

    def _forget(self, live: str, held: _Held) -> None:
        if self._held.get(live) is held:
            del self._held[live]
