"""What tests of the bus over Redis share: a bus that is started and stopped, and a writing and a reading one as a pair."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from apps.streaming.answers import Delta, LiveAnswer, Parts, PartText, Snapshot
from apps.streaming.bus import live_topic
from apps.streaming.readers import End, follow
from apps.streaming.redis_bus import RedisBus
from tests.servers import PATIENCE, RedisServer


@asynccontextmanager
async def bus_on(
    server: RedisServer, *, prefix: str = "test", kind: type[RedisBus] = RedisBus, **options: Any
) -> AsyncIterator[RedisBus]:
    bus = kind(server.url, prefix=prefix, **options)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds that no event tells."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


class TwoBuses:
    """One process writes, another reads. Each writing has left the process when it returns."""

    def __init__(self, *, writer: RedisBus, reader: RedisBus) -> None:
        self.writer = writer
        self.reader = reader
        self.ended: dict[str, str] = {}

    @property
    def connected(self) -> bool:
        return self.writer.connected and self.reader.connected

    async def open(self, live, attempt, parts=()):
        await self.writer.open(live, attempt, parts)
        await self.writer.settled()

    async def append(self, delta):
        await self.append_many([delta])

    async def append_many(self, deltas):
        try:
            await self.writer.append_many(deltas)
        finally:
            await self.writer.settled()

    async def drop(self, live, attempt=None):
        await self.writer.drop(live, attempt)
        await self.writer.settled()

    def publish(self, topic, event):
        self.writer.publish(topic, event)

    async def snapshot(self, live):
        return await self.reader.snapshot(live)

    async def subscribe(self, *topics):
        return await self.reader.subscribe(*topics)

    async def end(self, answer: LiveAnswer) -> None:
        """End an answer as a runner does: the row first, then the bus."""
        self.ended[answer.live] = "complete"
        await self.writer.drop(answer.live)
        self.writer.publish(live_topic(answer.live), {"type": "ended", "status": "complete", "message": "m"})

    async def read(
        self, answer: LiveAnswer, *, row: Callable[[], tuple[PartText, ...]] | None = None
    ) -> tuple[PartText, ...]:
        """Follow an answer to its end; its row has all of it only when it ended, and until then what `row` gives."""

        async def load_row(live: str) -> Snapshot:
            status = self.ended.get(live, "")
            parts = answer.parts if status else row() if row else ()
            return Snapshot(answer.attempt, parts, ended=bool(status), status=status)

        parts = Parts()
        async with aclosing(follow(self.reader, answer.live, load_row=load_row, quiet=0.2)) as events:
            async for event in events:
                if isinstance(event, End):
                    break
                assert isinstance(event, Delta)
                assert parts.write(event.part, event.kind, event.offset, event.text)
        return parts.frozen()
