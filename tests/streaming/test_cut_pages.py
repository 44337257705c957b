"""A page whose socket is cut off after any delta comes back and shows what the others show, down to the last tag.

Frames are applied as docs/frames.md says, and once more by the page's own module where Node is there.
"""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path

import pytest

from apps.core import markdown
from apps.streaming.bus import Bus
from apps.streaming.hub import Hub
from apps.streaming.memory import MemoryBus
from apps.streaming.painting import View
from apps.streaming.rendering import StreamRenderer
from apps.streaming.rooms import Pace
from apps.streaming.sockets import ActiveAnswer
from tests.fault_table import record_fault
from tests.streaming.doubles import Page
from tests.streaming.writing import LAST, LIVE, MESSAGE, PATIENCE, Writing, bus  # noqa: F401  (a fixture)
from tests.upstream.recorded import DELTAS

ROOT = Path(__file__).resolve().parents[2]
CONVERSATION = "c"
ACTIVE = ActiveAnswer(LIVE, MESSAGE, 1)
PLACES = range(LAST + 1)
# Each delta becomes a frame at once, and a silent hub reads nothing again.
NO_TIME = Pace(frame=0.0, slowest_frame=0.0, tick=1000.0, reread=1000.0, stall=1000.0)


class Tab(Page):
    """A page with its own copy of the text, which survives its sockets; it keeps each socket's frames."""

    def __init__(self, hub: Hub, cut_after: int, away_for: int, *, active: ActiveAnswer = ACTIVE) -> None:
        super().__init__()
        self.hub = hub
        self.active = [active]
        self.cut_after = cut_after
        self.back_at = min(cut_after + away_for, LAST)
        self.sockets: list[list[dict]] = []

    def is_there_for(self, number: int) -> bool:
        return number <= self.cut_after or number >= self.back_at

    async def connect(self) -> None:
        self.messages = {}
        self.frames = []
        self.sockets.append(self.frames)
        self.socket = await self.hub.connect("u", self.send, self.close)
        self.socket.watch(CONVERSATION, self.active)

    def lose_socket(self) -> None:
        self.before = self.shown()
        self.socket.close()

    def record(self) -> dict:
        shown = [self.before, self.shown()]
        return {"name": f"cut after {self.cut_after}", "message": MESSAGE, "sockets": self.sockets, "shown": shown}

    def shown(self) -> str:
        return self.html(MESSAGE) if MESSAGE in self.parts else ""


def views_of(parts: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Render what a page shows after each piece, beside the hub."""
    views: list[View] = []
    yield ""
    for kind, text in parts:
        if not views or views[-1].kind != kind:
            for view in views:
                view.close()
            views.append(View(kind, StreamRenderer()))
        views[-1].feed(text)
        views[-1].refresh()
        yield "".join("".join(view.settled) + view.tail for view in views)


def stored(writing: Writing) -> str:
    """Render the whole answer as history shows it."""
    return "".join(markdown.render(part.text) for part in writing.parts[LAST])


class Painting:
    """Know how much of the text the hub has rendered: it makes a frame of each delta if the next one waits for that."""

    def __init__(self) -> None:
        self.characters = 0
        self.changed = asyncio.Event()

    def renderer(self) -> StreamRenderer:
        painting = self

        class Told(StreamRenderer):
            def feed(self, text: str) -> None:
                super().feed(text)
                painting.characters += len(text)
                painting.changed.set()

        return Told()

    async def of(self, characters: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.characters < characters:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def running_hub(writing: Writing, painting: Painting, *, load_row=None) -> AsyncIterator[Hub]:
    async def load_active(conversations):
        return {}

    load_row = load_row or writing.load_row
    hub = Hub(writing.bus, load_row=load_row, load_active=load_active, renderer=painting.renderer, pace=NO_TIME)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()


async def play(writing: Writing, painting: Painting, tabs: list[Tab]) -> None:
    """Write the whole answer; after each delta all tabs that are there show the same, then some go and some come back."""
    for tab in tabs:
        await tab.connect()
    for number, shown in enumerate(views_of(DELTAS)):
        await writing.write(number)
        await painting.of(writing.characters(number))
        for tab in tabs:
            if tab.back_at == number and tab.cut_after != number:
                await tab.connect()
            if tab.is_there_for(number):
                await tab.until(lambda tab, shown=shown: tab.shown() == shown)
            if tab.cut_after == number:
                tab.lose_socket()
            if tab.back_at == tab.cut_after == number:
                await tab.connect()
    await writing.end()
    for tab in tabs:
        await tab.until_ended(MESSAGE)


@pytest.mark.fault
async def test_cut_after_any_delta_a_page_shows_what_the_others_show(bus: Bus):  # noqa: F811
    writing, painting = Writing(bus), Painting()
    await writing.begin()
    async with asyncio.timeout(PATIENCE), running_hub(writing, painting) as hub:
        tabs = [Tab(hub, place, (0, 1, 13)[place % 3]) for place in PLACES]
        await play(writing, painting, tabs)
    whole = stored(writing)
    assert [tab.cut_after for tab in tabs if tab.shown() != whole] == []
    # Where Node is, what the browser runs says the same.
    assert replayed(tabs) == ""
    record_fault(
        fault="a page's socket is cut off after any of 200 deltas",
        shape="one process" if isinstance(bus, MemoryBus) else "two processes' buses, Redis between them",
        reader_saw=f"each of {len(tabs)}, cut off at another place, the same {len(whole)} characters of HTML as history",
        database_held="the same text",
    )


async def test_cut_after_any_delta_the_only_page_finds_a_new_room(bus: Bus):  # noqa: F811
    for place in PLACES:
        writing, painting = Writing(bus, f"g{place}"), Painting()
        await writing.begin()
        async with asyncio.timeout(PATIENCE), running_hub(writing, painting) as hub:
            tab = Tab(hub, place, 1, active=ActiveAnswer(writing.live, MESSAGE, 1))
            await writing.write(place)
            await tab.connect()
            await tab.until(shows_at_once(writing, tab.cut_after))
            tab.lose_socket()
            await writing.write(tab.back_at)
            await tab.connect()
            await tab.until(shows_at_once(writing, tab.back_at))
            await writing.write(LAST)
            await writing.end()
            await tab.until_ended(MESSAGE)
        assert tab.shown() == stored(writing)


async def test_cut_amid_several_answers_at_once_a_page_has_each_of_them_whole(bus: Bus):  # noqa: F811
    writings = [Writing(bus, f"g{number}") for number in range(3)]
    by_live = {writing.live: writing for writing in writings}

    async def load_row(live):
        return await by_live[live].load_row(live)

    for writing in writings:
        await writing.begin()
    painting = Painting()
    async with asyncio.timeout(PATIENCE), running_hub(writings[0], painting, load_row=load_row) as hub:
        tabs = [Tab(hub, place, place % 30) for place in PLACES[::5]]
        for tab in tabs:
            tab.active = [ActiveAnswer(writing.live, f"m-{writing.live}", 1) for writing in writings]
            await tab.connect()
        for number in PLACES:
            for offset, writing in enumerate(writings):
                # None keeps step with another.
                await writing.write(min(LAST, number * (offset + 1)))
            await painting.of(writings[0].characters(number))
            for tab in tabs:
                if tab.cut_after == number:
                    tab.lose_socket()
                if tab.back_at == number:
                    await tab.connect()
        for writing in writings:
            await writing.end()
        for tab, writing in product(tabs, writings):
            await tab.until_ended(f"m-{writing.live}")
            assert tab.html(f"m-{writing.live}") == stored(writing)


def shows_at_once(writing: Writing, number: int):
    """Tell whether a tab shows what there is after so many deltas, to somebody who came just now."""
    *_, shown = views_of((part.kind, part.text) for part in writing.parts[number])
    return lambda tab: tab.shown() == shown


def replayed(tabs: list[Tab]) -> str:
    """Have the page's own module apply what each tab was sent; gives its complaints, none where Node is missing."""
    node = shutil.which("node")
    if node is None:
        return ""
    lines = [json.dumps(tab.record()) for tab in tabs]
    command = [node, str(ROOT / "tests" / "js" / "replay.mjs")]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, timeout=PATIENCE)
    return done.stdout + done.stderr
