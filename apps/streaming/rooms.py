"""A room: one generation as all its watchers in this process see it, rendered once for all of them.

Which socket gets its frame when is decided in sockets.py; who watches what, in hub.py.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from apps.core.logs import get_logger
from apps.streaming import frames
from apps.streaming.answers import Snapshot
from apps.streaming.bus import Bus, Event
from apps.streaming.frames import Frame
from apps.streaming.painting import Renderer, View
from apps.streaming.readers import SLOWEST_RETRY, Follower

log = get_logger(__name__)

# Settled HTML in one frame; only a very long answer passes it, and goes on in the next frame. As a frame waits for a
# slow reader it takes up to five bytes a character.
FRAME_CHARS = 400_000

WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Pace:
    """Set how fast, how much and how patiently watchers are served.

    Units: seconds, except window (frames not acknowledged), backlog (characters) and tail (characters that one
    frame interval pays for: a longer tail is sent less often). An answer that has not begun after `patience` may be
    queued behind others.
    """

    frame: float = 0.1
    slowest_frame: float = 1.0
    tail: int = 4000
    window: int = 16
    stall: float = 60.0
    backlog: int = 4_000_000
    reread: float = 10.0
    tick: float = 1.0
    retry: float = 0.05
    patience: float = 2.0


@dataclass(frozen=True, slots=True)
class Sources:
    """Hold what a room is made from."""

    bus: Bus
    load_row: Callable[[str], Awaitable[Snapshot | None]]
    load_footer: Callable[[str], Awaitable[str | None]] | None
    renderer: Callable[[], Renderer]
    pace: Pace
    hold: Callable[[], Awaitable[None]]
    spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


@dataclass(frozen=True, slots=True)
class Ended:
    """Say how an answer ended."""

    status: str
    footer: str | None


@dataclass(frozen=True, slots=True)
class Doing:
    """Say what an answer is doing while no text comes, and until when by the loop's clock."""

    word: str = ""
    text: str = ""
    until: float | None = None


NOTHING = Doing()


class Room:
    """Follow one generation on the bus and keep its views for every seat."""

    def __init__(
        self,
        generation_id: str,
        message_id: str,
        attempt: int,
        sources: Sources,
        *,
        opened_at: float = 0.0,
        is_new: bool = False,
    ) -> None:
        self.generation_id = generation_id
        self.message_id = message_id
        self.attempt = attempt
        self.seats: set[Seat] = set()
        self.views: dict[int, View] = {}
        self.loaded = False
        self.ended: Ended | None = None
        self.doing = NOTHING
        self._sources = sources
        self._opened_at = opened_at
        self._begun = False
        self._loop = asyncio.get_running_loop()
        self._follower = Follower(sources.bus, generation_id, sources.load_row, is_new=is_new)
        self._follower.reader.load(Snapshot(attempt, ()))
        self._fed = (0, 0)
        self._timer: asyncio.Handle | None = None
        self._next_paint = 0.0
        self._mending: asyncio.Task[None] | None = sources.spawn(self._open())

    def hear(self, event: Event) -> None:
        """Take in an event of the live topic."""
        if event["type"] == "status":
            seconds = event.get("seconds")
            until = None if seconds is None else self._loop.time() + seconds
            self._tell(Doing(event["word"], event.get("text", ""), until))
            return
        if self.ended is not None:
            return
        self._begin()
        self._follower.hear(event)
        if self._follower.stale or self._follower.ended is not None:
            self._mend_soon()
        elif self._timer is None:
            self._schedule()

    def seems_queued(self, now: float) -> bool:
        """Tell whether the answer has not begun for longer than one waits without a word."""
        return not self._begun and self.ended is None and now - self._opened_at > self._sources.pace.patience

    def look(self, *, queued: bool, now: float) -> None:
        """Take in whether the row says that the answer still waits behind others."""
        if not queued:
            self._begin()
        elif self.seems_queued(now) and not self.doing.word:
            self._tell(Doing(WAITING))

    @property
    def is_unheard(self) -> bool:
        """Tell whether nothing was heard yet of an answer that was new."""
        return self._follower.is_new

    def doubt(self) -> None:
        """Compare with the row: the bus may have lost something, the end above all."""
        self._follower.doubt()
        self._mend_soon()

    def close(self) -> None:
        """Stop following."""
        self._stop_timer()
        if self._mending is not None:
            self._mending.cancel()

    def _begin(self) -> None:
        self._begun = True
        if self.doing.word == WAITING:
            self._tell(NOTHING)

    def _tell(self, doing: Doing) -> None:
        self.doing = doing
        self._wake_seats()

    def _mend_soon(self) -> None:
        if self._mending is None and self.ended is None:
            self._mending = self._sources.spawn(self._mend())

    async def _open(self) -> None:
        await self._sources.hold()
        await self._mend()

    async def _mend(self) -> None:
        try:
            await self._catch_up()
            if self._follower.ended is not None:
                await self._end(self._follower.ended)
        finally:
            self._mending = None

    async def _catch_up(self) -> None:
        """Read until nothing is missing, ever more slowly where the source lags or fails."""
        follower = self._follower
        wait = self._sources.pace.retry
        while follower.stale:
            try:
                await follower.read()
            except Exception:
                # The source may be down for minutes; the text goes on elsewhere and is read when it is back.
                first = wait == self._sources.pace.retry
                log.warning("live-text-not-read", exc_info=first, generation=self.generation_id)
                failed = True
            else:
                failed = follower.lagging
                self.loaded = True
                self._schedule()
            if failed:
                await asyncio.sleep(wait)
                wait = min(wait * 2, SLOWEST_RETRY)

    async def _end(self, status: str) -> None:
        footer = None
        if self._sources.load_footer is not None:
            try:
                footer = await self._sources.load_footer(self.generation_id)
            except Exception:
                # Without its footer the end is still the end; the page shows it when it is opened again.
                log.exception("footer-not-read", generation=self.generation_id)
        self._stop_timer()
        self.ended = Ended(status, footer)
        self._paint()

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_at(self._next_paint, self._paint)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _paint(self) -> None:
        """Render what came since the last time, once for all seats, and wake them."""
        self._timer = None
        try:
            self._take_in()
        finally:
            # A rendering that fails is reported by whoever called; the end of the answer is told all the same.
            self._wake_seats()

    def _take_in(self) -> None:
        reader = self._follower.reader
        if reader.attempt != self.attempt:
            self.attempt = reader.attempt
            self.views.clear()
            self._fed = (0, 0)
        fed, self._fed = self._fed, reader.position
        for index, kind, _, text in reader.since(*fed):
            if index not in self.views:
                self.views[index] = View(kind, self._sources.renderer())
            self.views[index].feed(text)
            self._begun = True
            self.doing = NOTHING
        if fed != self._fed or self.ended is not None:
            self._render()

    def _render(self) -> None:
        last = max(self.views, default=0)
        for index, view in self.views.items():
            if index < last or self.ended is not None:
                view.close()
            else:
                view.refresh()
        # Only what shows text counts: the first words never wait for a frame that said nothing.
        tail = self.views[last].tail if self.views else ""
        self._next_paint = self._loop.time() + self._interval(tail)

    def _interval(self, tail: str) -> float:
        pace = self._sources.pace
        return min(pace.frame * max(1.0, len(tail) / pace.tail), pace.slowest_frame)

    def _wake_seats(self) -> None:
        for seat in self.seats:
            seat.wake(seat)


class Seat:
    """Remember what one socket was sent of one room, and build its next frame from that."""

    __slots__ = ("_attempt", "_doing", "_introduced", "_sent", "a", "done", "room", "wake")

    def __init__(self, room: Room, a: int, wake: Callable[["Seat"], None]) -> None:
        self.room = room
        self.a = a
        self.wake = wake
        self.done = False
        self._introduced = False
        self._attempt = 0
        self._sent: dict[int, tuple[int, int]] = {}
        self._doing = NOTHING

    def next_frame(self) -> tuple[Frame, int] | None:
        """Build the frame that brings this socket up to date, with its size in characters; None if it is."""
        room = self.room
        if not room.loaded or self.done:
            return None
        known = self._introduced and self._attempt == room.attempt
        if not known:
            self._sent.clear()
        parts, size = self._parts()
        if parts or not known:
            message_id = None if self._introduced else room.message_id
            self._introduced, self._attempt = True, room.attempt
            if room.doing is NOTHING:
                # Text takes the place of what was said before it.
                self._doing = NOTHING
            return frames.answer(self.a, parts, message_id=message_id, attempt=None if known else room.attempt), size
        if room.ended is not None:
            self.done = True
            html = {index: view.html for index, view in room.views.items() if view.html is not None}
            ended = frames.ended(self.a, room.message_id, room.ended.status, html, room.ended.footer)
            return ended, sum(map(len, html.values()))
        if room.doing is not self._doing:
            self._doing = room.doing
            return self._status(), 0
        return None

    def _status(self) -> Frame:
        doing = self._doing
        left = None if doing.until is None else max(0, math.ceil(doing.until - asyncio.get_running_loop().time()))
        return frames.status(self.a, doing.word, text=doing.text, seconds=left)

    def _parts(self) -> tuple[list[Frame], int]:
        parts: list[Frame] = []
        size = 0
        for index, view in self.room.views.items():
            count, version = self._sent.get(index, (0, 0))
            if version == view.version:
                continue
            end = count
            while end < len(view.settled) and size < FRAME_CHARS:
                size += len(view.settled[end])
                end += 1
            whole = end == len(view.settled)
            tail = view.tail_after(version) if whole else ""
            size += len(view.tail) if whole else 0
            kind = None if index in self._sent else view.kind
            parts.append(frames.part(index, count, view.settled[count:end], tail, kind=kind))
            self._sent[index] = (end, view.version if whole else -1)
            if not whole:
                break
        return parts, size
