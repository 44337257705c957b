"""What waits to go to Redis, in order, and the text of every answer written by this process. No connection here.

The text is kept because Redis may lose it at any moment: then it is written whole again from here.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from apps.core.logs import get_logger
from apps.streaming import redis_wire as wire
from apps.streaming.answers import Delta, PartText
from apps.streaming.bus import Event, live_topic, loggable
from apps.streaming.metrics import BUS_ERRORS

log = get_logger(__name__)

# How much goes in one call, so that Redis is never held up for long.
BATCH_OPERATIONS = 256
BATCH_BYTES = 1_000_000

# Seconds without a word after which an answer that nobody ended is let go of: four times the longest answer.
FORSAKEN = 3600.0

RESYNC = wire.pack_event({"type": "resync"})


class Operation(Protocol):
    """Ask Redis for one thing."""

    @property
    def size(self) -> int:
        """Count roughly the bytes it sends."""

    def put(self, names: wire.Names, keys: list[str], args: list[wire.Arg]) -> None:
        """Write itself down for the script."""

    def after_loss(self) -> "Operation | None":
        """Give what is still to be asked when nobody knows whether this reached Redis."""


class Held:
    """The text of one answer as its writer knows it, in UTF-8; in_step says that what is queued brings Redis there too."""

    __slots__ = ("_chars", "attempt", "epoch", "in_step", "kinds", "live", "texts", "touched")

    def __init__(self, live: str, attempt: int, parts: Sequence[PartText]) -> None:
        self.live = live
        self.attempt = attempt
        self.epoch = 0
        self.in_step = False
        self.touched = time.monotonic()
        self.kinds = [part.kind for part in parts]
        self.texts = [bytearray(part.text.encode("utf-8", wire.ERRORS)) for part in parts]
        self._chars = [len(part.text) for part in parts]

    def value(self, state: str = wire.LIVE) -> str:
        """Give what Redis holds about this attempt beside its texts."""
        return f"{self.epoch} {state} {','.join(self.kinds)}"

    def write(self, delta: Delta) -> tuple[int, bytes]:
        """Take in a delta; gives the offset and bytes of what was new.

        Raises: ValueError if text before it is missing: a snapshot with a hole would be trusted by readers.
        """
        self.touched = time.monotonic()
        count = len(self.texts)
        held = self._chars[delta.part] if delta.part < count else 0
        if delta.part > count or delta.offset > held:
            position = f"({count - 1}, {self._chars[-1]})" if count else "(0, 0)"
            raise ValueError(f"Delta at {delta.part}:{delta.offset} does not continue {position}.")
        new = delta.text[held - delta.offset :]
        if new and delta.part == count:
            self.kinds.append(delta.kind)
            self.texts.append(bytearray())
            self._chars.append(0)
        data = new.encode("utf-8", wire.ERRORS)
        if new:
            self.texts[delta.part] += data
            self._chars[delta.part] += len(new)
        return held, data

    def renew(self) -> None:
        """Begin a new epoch; later than every one before, also than those of a process that is gone."""
        self.epoch = max(self.epoch + 1, time.time_ns() // 1000)


@dataclass(slots=True)
class Piece:
    """Append text to a part, and publish it."""

    live: str
    attempt: int
    epoch: int
    part: int
    kind: str
    offset: int
    known: str
    after: str
    before: int
    text: bytes

    @property
    def size(self) -> int:
        return len(self.text)

    def put(self, names: wire.Names, keys: list[str], args: list[wire.Arg]) -> None:
        keys += (names.meta(self.live), names.part(self.live, self.attempt, self.part))
        args += ("append", self.attempt, self.epoch, self.known, self.after, self.before, self.text)
        args += (names.channel(live_topic(self.live)), wire.head(self.attempt, self.part, self.kind, self.offset))

    def after_loss(self) -> None:
        return None


@dataclass(slots=True)
class Whole:
    """Write everything an answer said up to now, and have its readers read it."""

    live: str
    attempt: int
    epoch: int
    value: str
    texts: list[bytes]
    event: bytes

    @property
    def size(self) -> int:
        return sum(map(len, self.texts))

    def put(self, names: wire.Names, keys: list[str], args: list[wire.Arg]) -> None:
        keys.append(names.meta(self.live))
        keys += (names.part(self.live, self.attempt, part) for part in range(len(self.texts)))
        args += ("whole", self.attempt, self.epoch, self.value, len(self.texts))
        args += (names.channel(live_topic(self.live)), self.event, *self.texts)

    def after_loss(self) -> None:
        return None


@dataclass(slots=True)
class Forget:
    """Take an attempt's snapshot away, because it may not be whole."""

    live: str
    attempt: int
    epoch: int
    size: int = 0

    def put(self, names: wire.Names, keys: list[str], args: list[wire.Arg]) -> None:
        keys.append(names.meta(self.live))
        args += ("forget", self.attempt, self.epoch)

    def after_loss(self) -> "Forget":
        return self


@dataclass(slots=True)
class End:
    """Mark an answer as ended, and let it expire."""

    live: str
    attempt: int
    epoch: int
    known: str
    value: str
    keep_ms: int
    parts: int
    size: int = 0

    def put(self, names: wire.Names, keys: list[str], args: list[wire.Arg]) -> None:
        keys.append(names.meta(self.live))
        keys += (names.part(self.live, self.attempt, part) for part in range(self.parts))
        args += ("ended", self.attempt, self.epoch, self.known, self.value, self.keep_ms, self.parts)

    def after_loss(self) -> Forget:
        return Forget(self.live, self.attempt, self.epoch)


@dataclass(slots=True)
class Publish:
    """Pass on an event; it may come twice when a connection broke on the way."""

    topic: str
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def put(self, names: wire.Names, keys: list[str], args: list[wire.Arg]) -> None:
        args += ("publish", names.channel(self.topic), self.data)

    def after_loss(self) -> "Publish":
        return self


@dataclass(slots=True)
class Mark:
    """Tell somebody that everything queued before has been written; asks Redis for nothing."""

    reached: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    size: int = 0

    def put(self, names: wire.Names, keys: list[str], args: list[wire.Arg]) -> None:
        args.append("mark")

    def tell(self) -> None:
        if not self.reached.done():
            self.reached.set_result(None)

    def after_loss(self) -> "Mark":
        return self


class Outbox:
    """Queue operations for Redis. Everything but `publish` belongs to the loop's thread.

    Units: keep_seconds as of the bus; limit counts operations that may wait before events are refused;
    forsaken_seconds is how long the text of an answer is kept that nobody goes on with and nobody ends.
    """

    def __init__(self, *, keep_seconds: float, limit: int = 10_000, forsaken_seconds: float = FORSAKEN) -> None:
        self.refused = 0
        self._forsaken = forsaken_seconds
        self.away = False
        self._keep_ms = int(keep_seconds * 1000)
        self._limit = limit
        self._held: dict[str, Held] = {}
        self._queue: deque[Operation] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def open(self, live: str, attempt: int, parts: Sequence[PartText]) -> None:
        """Start an attempt with what is there already; an older one than the one held is ignored."""
        held = self._held.get(live)
        if held is None or held.attempt <= attempt:
            self._begin(live, attempt, parts, RESYNC)

    def append(self, delta: Delta) -> None:
        """Queue a delta; an older attempt than the one held is ignored.

        Raises: ValueError if text before the delta is missing.
        """
        held = self._held.get(delta.live)
        if held is not None and held.attempt > delta.attempt:
            return
        if held is None or held.attempt < delta.attempt:
            if delta.part or delta.offset:
                raise ValueError(f"Delta at {delta.part}:{delta.offset} does not continue (0, 0).")
            held = self._begin(delta.live, delta.attempt, (), b"")
        known = held.value()
        offset, data = held.write(delta)
        if not data or self.away:
            return
        if len(self._queue) >= self._limit:
            # Redis hardly answers: rather the whole text, later.
            held.in_step = False
            return
        before = len(held.texts[delta.part]) - len(data)
        place = (held.live, held.attempt, held.epoch, delta.part)
        self._queue.append(Piece(*place, delta.kind, offset, known, held.value(), before, data))

    def drop(self, live: str, attempt: int | None = None) -> None:
        """Mark an answer as ended and let go of it; one that Redis does not hold whole is taken away there.

        Nothing if a newer attempt than this is held: its writer may be another of this process.
        """
        held = self._held.get(live)
        if held is None or (attempt is not None and held.attempt > attempt):
            return
        del self._held[live]
        if held.in_step:
            values = (held.value(), held.value(wire.ENDED))
            operation: Operation = End(live, held.attempt, held.epoch, *values, self._keep_ms, len(held.texts))
        else:
            held.renew()
            operation = Forget(live, held.attempt, held.epoch)
        self._queue.append(operation)

    def publish(self, topic: str, event: Event) -> None:
        """Queue an event, from any thread; beyond the limit it is refused, counted and reported."""
        if len(self._queue) >= self._limit:
            self.refused += 1
            BUS_ERRORS.inc()
            if self.refused % 1000 == 1:
                log.error("event-dropped", topic=loggable(topic), dropped=self.refused)
            return
        self._queue.append(Publish(topic, wire.pack_event(event)))

    def mark(self) -> "asyncio.Future[None]":
        """Give a future that is done once everything queued so far has been written."""
        mark = Mark()
        self._queue.append(mark)
        return mark.reached

    def take(self) -> list[Operation]:
        """Take the next operations out of the queue, as many as go in one call."""
        batch: list[Operation] = []
        size = 0
        while self._queue and len(batch) < BATCH_OPERATIONS and size < BATCH_BYTES:
            operation = self._queue.popleft()
            size += operation.size
            batch.append(operation)
        return batch

    def written(self, batch: Sequence[Operation], failed: Sequence[int]) -> None:
        """Hear that Redis took a batch, except the operations with these numbers."""
        before = len(self._queue)
        for number in failed:
            self._mend(batch[number])
        marks = [operation for operation in batch if isinstance(operation, Mark)]
        if len(self._queue) > before:
            # What had to be written again belongs to what they wait for.
            self._queue.extend(marks)
            return
        for mark in marks:
            mark.tell()

    def _mend(self, operation: Operation) -> None:
        """Write an answer whole again where Redis could not go on with it, unless that is under way already."""
        assert isinstance(operation, Piece | Whole), "nothing else can fail"
        held = self._held.get(operation.live)
        if held is None or (held.attempt, held.epoch) != (operation.attempt, operation.epoch):
            return
        was_in_step, held.in_step = held.in_step, False
        # A Redis that refuses whole answers is asked again at the next `tidy`, not at once.
        if was_in_step and isinstance(operation, Piece):
            self._write_whole(held, RESYNC)

    def lost(self, batch: Sequence[Operation]) -> None:
        """Hear that the connection broke: what must be said is said again later, text is written whole then."""
        self.away = True
        for held in self._held.values():
            held.in_step = False
        waiting = [*batch, *(self._queue.popleft() for _ in range(len(self._queue)))]
        kept = [operation.after_loss() for operation in waiting]
        self._queue.extendleft(operation for operation in reversed(kept) if operation is not None)

    def tidy(self) -> None:
        """Write whole again what Redis lost or refused, and let go of answers that nobody ended."""
        self.away = False
        now = time.monotonic()
        for held in list(self._held.values()):
            if now - held.touched > self._forsaken:
                del self._held[held.live]
            elif not held.in_step:
                self._write_whole(held, RESYNC)

    def _begin(self, live: str, attempt: int, parts: Sequence[PartText], event: bytes) -> Held:
        before = self._held.get(live)
        held = self._held[live] = Held(live, attempt, parts)
        held.epoch = before.epoch if before is not None else 0
        if not self.away:
            self._write_whole(held, event)
        return held

    def _write_whole(self, held: Held, event: bytes) -> None:
        held.renew()
        held.in_step = True
        texts = list(map(bytes, held.texts))
        self._queue.append(Whole(held.live, held.attempt, held.epoch, held.value(), texts, event))
