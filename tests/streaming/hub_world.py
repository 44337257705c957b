"""A runner, its rows and a hub on one bus, for tests to play."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from apps.streaming.answers import LiveAnswer, PartText, Snapshot
from apps.streaming.bus import live_topic
from apps.streaming.hub import Hub
from apps.streaming.rooms import Pace
from apps.streaming.sockets import ActiveAnswer, Socket
from tests.streaming.doubles import SOON, FrailBus, Page, Paragraphs, rendered

CONVERSATION = "c"
QUICK = Pace(frame=0.002, tick=0.005, reread=1000.0, stall=1000.0, retry=0.002)


class World:
    """A runner, its rows and a hub, played on one bus."""

    def __init__(self, **pace: float) -> None:
        self.bus = FrailBus()
        self.rows: dict[str, Snapshot] = {}
        self.active: dict[str, list[ActiveAnswer]] = {CONVERSATION: []}
        self.answers: dict[str, LiveAnswer] = {}
        self.row_reads: list[str] = []
        self.active_reads = 0
        self.footers: list[str] = []
        self.database_is_down = False
        self.now = 0.0
        self.looks_at_the_clock = 0
        self.renderers: list[Paragraphs] = []
        self.hub = Hub(
            self.bus,
            load_row=self.load_row,
            load_active=self.load_active,
            load_footer=self.load_footer,
            renderer=self.renderer,
            pace=replace(QUICK, **pace),
            clock=self.clock,
        )

    def clock(self) -> float:
        self.looks_at_the_clock += 1
        return self.now

    async def tick(self) -> None:
        """Wait until the hub has looked after its sockets once more."""
        seen = self.looks_at_the_clock
        await until(lambda: self.looks_at_the_clock >= seen + 2)

    def renderer(self) -> Paragraphs:
        self.renderers.append(Paragraphs())
        return self.renderers[-1]

    async def load_row(self, generation: str) -> Snapshot | None:
        self.row_reads.append(generation)
        if self.database_is_down:
            raise ConnectionError("no database")
        return self.rows.get(generation)

    async def load_active(self, conversations: Collection[str]) -> Mapping[str, Sequence[ActiveAnswer]]:
        self.active_reads += 1
        if self.database_is_down:
            raise ConnectionError("no database")
        return {conversation: self.active.get(conversation, []) for conversation in conversations}

    async def load_footer(self, generation: str) -> str | None:
        self.footers.append(generation)
        if self.database_is_down:
            raise ConnectionError("no database")
        return f"<footer>{generation}</footer>"

    async def begin(self, generation: str = "g", *, attempt: int = 1, parts: Sequence[PartText] = ()) -> ActiveAnswer:
        self.answers[generation] = LiveAnswer(generation, attempt, parts)
        self.rows[generation] = Snapshot(attempt, tuple(parts))
        await self.bus.open(generation, attempt, parts)
        active = ActiveAnswer(generation, f"m-{generation}", attempt)
        self.active[CONVERSATION] = [active]
        return active

    async def say(self, text: str, kind: str = "text", generation: str = "g") -> None:
        answer = self.answers[generation]
        answer.add(kind, text)
        for delta in answer.take():
            await self.bus.append(delta)

    def checkpoint(self, generation: str = "g") -> None:
        self.rows[generation] = replace(self.rows[generation], parts=self.answers[generation].parts)

    async def end(self, status: str = "complete", generation: str = "g") -> None:
        self.rows[generation] = Snapshot(self.answers[generation].attempt, self.answers[generation].parts, True, status)
        self.active[CONVERSATION] = []
        await self.bus.drop(generation)
        event = {"type": "ended", "status": status, "message": f"m-{generation}"}
        self.bus.publish(live_topic(generation), event)

    async def open_page(self, *active: ActiveAnswer, user: str = "u", **options: bool) -> tuple[Page, Socket]:
        page = Page(**options)
        page.socket = await self.hub.connect(user, page.send, page.close)
        if active:
            page.socket.watch(CONVERSATION, active)
        return page, page.socket


@asynccontextmanager
async def world(**pace: float) -> AsyncIterator[World]:
    here = World(**pace)
    await here.hub.start()
    try:
        yield here
    finally:
        await here.hub.stop()


async def until(condition) -> None:
    """Wait for something no page shows."""
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.001)


def says(text: str, message: str = "m-g"):
    return lambda page: message in page.parts and page.html(message) == rendered(text)
