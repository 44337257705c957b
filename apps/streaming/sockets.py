"""A browser's socket as the hub sees it: what it was sent, what it acknowledged, what waits.

The protocol of the wire and rights are the consumer's; frames' contents come from rooms.py.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from apps.core.logs import get_logger
from apps.streaming import frames
from apps.streaming.frames import Frame
from apps.streaming.metrics import FRAMES
from apps.streaming.rooms import Pace, Room, Seat

log = get_logger(__name__)

# What a waiting event takes beside its characters. Units: bytes.
EVENT_COST = 500


@dataclass(frozen=True, slots=True)
class ActiveAnswer:
    """Name a generation that is queued or running, and the message it writes; `is_new` if that has no text before it."""

    generation_id: str
    message_id: str
    attempt: int = 0
    queued: bool = False
    is_new: bool = False


class Host(Protocol):
    """Give sockets their rooms."""

    pace: Pace

    def now(self) -> float:
        """Tell the time in seconds."""

    def enter(self, answer: ActiveAnswer) -> Room:
        """Give the room of a generation, opening it for its first watcher."""

    def leave(self, seat: Seat) -> None:
        """Take a seat out of its room; the last one closes it."""

    def forget(self, socket: "Socket") -> None:
        """Let go of a closed socket."""


class Socket:
    """Send one browser its frames, never faster than it acknowledges them.

    Nothing waits in a queue but events: an answer's frame is built when it can be sent, from the newest state.
    """

    def __init__(
        self,
        host: Host,
        user_id: str,
        send: Callable[[Frame], Awaitable[None]],
        close: Callable[[int], Awaitable[None]],
    ) -> None:
        self.user_id = user_id
        self.conversation_id = ""
        self._host = host
        self._send = send
        self._close = close
        self._seats: dict[str, Seat] = {}
        self._finished: set[str] = set()
        self._numbers = 0
        self._dirty: dict[Seat, None] = {}
        self._events: deque[tuple[Frame, int]] = deque([(frames.hello(), 0)])
        self._events_size = EVENT_COST
        self._n = 0
        self._unacked: deque[int] = deque()
        self._unacked_size = 0
        self._stalled_at: float | None = None
        self._waker: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def watched(self) -> frozenset[str]:
        """Name the generations this socket follows at present."""
        return frozenset(self._seats)

    def watch(self, conversation_id: str, active: Sequence[ActiveAnswer]) -> None:
        """Follow a conversation's running answers, each from its start, in place of what was watched before."""
        before, self._seats = self._seats, {}
        self._dirty.clear()
        self._finished.clear()
        self.conversation_id = conversation_id
        self.follow(active)
        # Left last, so that a room watched again is not made again.
        for seat in before.values():
            self._host.leave(seat)

    def follow(self, active: Sequence[ActiveAnswer]) -> None:
        """Follow further answers of the watched conversation; the ones followed or finished already stay as they are."""
        for answer in active:
            if self._closed or answer.generation_id in self._seats or answer.generation_id in self._finished:
                continue
            self._numbers += 1
            room = self._host.enter(answer)
            seat = self._seats[answer.generation_id] = Seat(room, self._numbers, self._seat_changed)
            room.seats.add(seat)
            self._seat_changed(seat)

    def unwatch(self) -> None:
        """Stop following."""
        self.watch("", ())

    def ack(self, n: int) -> bool:
        """Take the client's word that all frames up to number n arrived; False if it says nothing new."""
        arrived = min(len(self._unacked), n - (self._n - len(self._unacked)))
        if arrived <= 0:
            return False
        for _ in range(arrived):
            self._unacked_size -= self._unacked.popleft()
        self._stalled_at = None
        self._wake()
        return True

    def forward(self, event: Frame, size: int) -> bool:
        """Queue an event of the user's topic; False means that too much waits already.

        Units: size in characters of JSON.
        """
        self._events.append((event, size))
        self._events_size += size + EVENT_COST
        self._wake()
        return self._events_size <= self._host.pace.backlog

    def too_slow(self, now: float) -> bool:
        """Tell whether frames have waited for this reader longer than it may make them wait."""
        return self._stalled_at is not None and now - self._stalled_at > self._host.pace.stall

    async def expel(self, code: int) -> None:
        """Close the connection from our side, unless it is closed already."""
        if self._closed:
            return
        self.close()
        try:
            await self._close(code)
        except Exception:
            # The other side may be gone already, each server says so with an exception of its own.
            log.info("socket-already-gone", exc_info=True)

    def close(self) -> None:
        """Let go of everything; call it when the connection has ended."""
        if not self._closed:
            self._closed = True
            self.unwatch()
            self._events.clear()
            self._host.forget(self)
            self._wake()

    async def write(self) -> None:
        """Send frames as they become due, until the socket closes."""
        while not self._closed:
            frame = self._next() if self._window_open() else None
            if frame is None:
                await self._wait()
                continue
            self._stalled_at = self._host.now()
            try:
                await self._send(frame)
                FRAMES.inc()
            except Exception:
                # Closed on the other side, too: a page that gets no frames must not believe that there are none.
                log.warning("socket-broke", exc_info=True)
                await self.expel(frames.BROKEN)
            if not self._closed:
                self._stalled_at = None

    def _window_open(self) -> bool:
        pace = self._host.pace
        return len(self._unacked) < pace.window and self._unacked_size < pace.backlog

    def _next(self) -> Frame | None:
        if self._events:
            event, size = self._events.popleft()
            self._events_size -= size + EVENT_COST
            return self._number(dict(event), size)
        while self._dirty:
            seat = next(iter(self._dirty))
            built = seat.next_frame()
            if built is not None:
                # Behind the others: several answers on one socket take turns.
                del self._dirty[seat]
                if seat.done:
                    self._finish(seat)
                else:
                    self._dirty[seat] = None
                return self._number(*built)
            del self._dirty[seat]
        return None

    def _number(self, frame: Frame, size: int) -> Frame:
        self._n += 1
        frame["n"] = self._n
        self._unacked.append(size)
        self._unacked_size += size
        return frame

    def _finish(self, seat: Seat) -> None:
        generation_id = seat.room.generation_id
        self._finished.add(generation_id)
        del self._seats[generation_id]
        self._host.leave(seat)

    def _seat_changed(self, seat: Seat) -> None:
        self._dirty[seat] = None
        self._wake()

    def _wake(self) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    async def _wait(self) -> None:
        if self._stalled_at is None and (self._events or self._dirty):
            self._stalled_at = self._host.now()
        self._waker = asyncio.get_running_loop().create_future()
        try:
            await self._waker
        finally:
            self._waker = None
