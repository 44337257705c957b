"""The recorded answer being written, for readers that are cut off from it; and the buses it is written on."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import pytest

from apps.streaming.answers import LiveAnswer, PartText, Snapshot
from apps.streaming.bus import live_topic
from apps.streaming.memory import MemoryBus
from tests.streaming.redis_buses import TwoBuses, bus_on
from tests.upstream.recorded import DELTAS

LAST = len(DELTAS)
PATIENCE = 30.0
LIVE, MESSAGE = "g", "m-g"
KEEP_EVERY = 20


class Writing:
    """The recorded answer, written delta by delta, with its row beside; the row lags as checkpoints do."""

    def __init__(self, bus, live: str = LIVE) -> None:
        self.bus = bus
        self.live = live
        self.row = Snapshot(1, ())
        self.written = 0
        # Where the answer stands after each delta.
        self.positions = [(0, 0)]
        self.parts: list[tuple[PartText, ...]] = [()]
        answer = LiveAnswer(live, 1)
        for kind, text in DELTAS:
            answer.add(kind, text)
            [delta] = answer.take()
            self.positions.append((delta.part, delta.offset + len(delta.text)))
            self.parts.append(answer.parts)
        self.numbers = {position: number for number, position in enumerate(self.positions)}
        self._answer = LiveAnswer(live, 1)
        self._moved = asyncio.Condition()
        self._reached: Counter[int] = Counter()

    def characters(self, number: int) -> int:
        """Count the characters of the first deltas."""
        return sum(len(part.text) for part in self.parts[number])

    async def load_row(self, live: str) -> Snapshot:
        assert live == self.live
        return self.row

    async def begin(self) -> None:
        await self.bus.open(self.live, 1)

    async def write(self, number: int) -> None:
        """Write all deltas up to this number, in one flush; the first is 1."""
        for kind, text in DELTAS[self.written : number]:
            self._answer.add(kind, text)
        await self.bus.append_many(self._answer.take())
        if number // KEEP_EVERY > self.written // KEEP_EVERY:
            self.row = Snapshot(1, self.parts[number - number % KEEP_EVERY])
        self.written = number
        await self._tell()

    async def end(self) -> None:
        self.row = Snapshot(1, self.parts[LAST], True, "complete")
        await self.bus.drop(self.live)
        self.bus.publish(live_topic(self.live), {"type": "ended", "status": "complete", "message": MESSAGE})

    async def write_all(self) -> None:
        """Write the whole answer, whoever reads."""
        await self.begin()
        await self.write(LAST)
        await self.end()

    async def reach(self, number: int) -> None:
        """Note that one more reader has all up to this delta."""
        self._reached[number] += 1
        await self._tell()

    async def all_reached(self, number: int, readers: int) -> None:
        await self._until(lambda: self._reached[number] >= readers)

    async def wrote(self, number: int) -> None:
        await self._until(lambda: self.written >= number)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._moved:
            await self._moved.wait_for(condition)

    async def _tell(self) -> None:
        async with self._moved:
            self._moved.notify_all()


@asynccontextmanager
async def over_memory(server) -> AsyncIterator[MemoryBus]:
    yield MemoryBus()


@asynccontextmanager
async def over_redis(server) -> AsyncIterator[TwoBuses]:
    prefix = f"cuts-{uuid4().hex}"
    async with AsyncExitStack() as stack:
        writer, reader = [await stack.enter_async_context(bus_on(server, prefix=prefix)) for _ in range(2)]
        yield TwoBuses(writer=writer, reader=reader)


@pytest.fixture(params=["memory", "redis"])
async def bus(request) -> AsyncIterator[MemoryBus | TwoBuses]:
    server = None if request.param == "memory" else request.getfixturevalue("shared_redis")
    async with over_memory(server) if server is None else over_redis(server) as bus:
        yield bus
