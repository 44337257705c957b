"""The hub: one per web process, between the bus and the sockets of this process's readers.

No ORM and no HTTP: rows are read through callables that are given; sockets hand over two functions.
"""

import asyncio
import contextvars
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any

from apps.core.logs import get_logger
from apps.streaming import frames
from apps.streaming.answers import Snapshot
from apps.streaming.bus import Bus, Event, Subscription, live_topic, loggable, user_topic
from apps.streaming.frames import Frame
from apps.streaming.metrics import SOCKETS
from apps.streaming.painting import Renderer
from apps.streaming.rendering import StreamRenderer
from apps.streaming.rooms import Pace, Room, Seat, Sources
from apps.streaming.sockets import ActiveAnswer, Socket

log = get_logger(__name__)


class Topics:
    """Count who needs which topic and keep one subscription in step with it."""

    def __init__(self) -> None:
        self.subscription: Subscription | None = None
        self._wanted: Counter[str] = Counter()
        self._held: set[str] = set()
        self._lock = asyncio.Lock()

    @property
    def settled(self) -> bool:
        """Tell whether the subscription holds exactly what is wanted."""
        return self._held == self._wanted.keys()

    def want(self, topic: str) -> None:
        """Count one more user of a topic."""
        self._wanted[topic] += 1

    def release(self, topic: str) -> None:
        """Count one less."""
        self._wanted[topic] -= 1
        if self._wanted[topic] <= 0:
            del self._wanted[topic]

    async def settle(self) -> None:
        """Bring the subscription in step; returns once everything wanted is confirmed."""
        # Under the lock and from the counts alone, so that a topic let go and wanted again is never lost in between.
        async with self._lock:
            if self.subscription is None:
                return
            if new := self._wanted.keys() - self._held:
                await self.subscription.add(*new)
                self._held |= new
            if old := self._held - self._wanted.keys():
                self._held -= old
                await self.subscription.remove(*old)


class Hub:
    """Show live answers to the sockets of this process: one subscription, one rendering for all watchers.

    load_row reads an answer from its row (None: it is gone). load_active gives, in one go, the running answers of
    conversations. load_footer renders what stands below an ended answer; without it frames carry none.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        load_row: Callable[[str], Awaitable[Snapshot | None]],
        load_active: Callable[[Collection[str]], Awaitable[Mapping[str, Sequence[ActiveAnswer]]]],
        load_footer: Callable[[str], Awaitable[str | None]] | None = None,
        renderer: Callable[[], Renderer] = StreamRenderer,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pace = pace or Pace()
        self.now = clock
        self._bus = bus
        self._load_active = load_active
        self._sources = Sources(
            bus, load_row, load_footer, renderer, self.pace, hold=self._settle_topics, spawn=self._spawn
        )
        # Both by topic.
        self._rooms: dict[str, Room] = {}
        self._users: dict[str, set[Socket]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._topics = Topics()
        self._context = contextvars.Context()
        self._reread_at = 0.0
        self._delayed = False

    async def start(self) -> None:
        """Subscribe to the bus and begin to serve sockets."""
        self._context = contextvars.copy_context()
        self._topics.subscription = subscription = await self._bus.subscribe()
        self._reread_at = self.now() + self.pace.reread
        self._spawn(self._listen(subscription))
        self._spawn(self._tend())

    async def stop(self) -> None:
        """Close all sockets with 1012 (restarting) and let go of the bus."""
        await asyncio.gather(*(socket.expel(frames.RESTARTING) for socket in self._sockets()))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        subscription, self._topics = self._topics.subscription, Topics()
        if subscription is not None:
            await subscription.close()

    async def connect(
        self, user_id: str, send: Callable[[Frame], Awaitable[None]], close: Callable[[int], Awaitable[None]]
    ) -> Socket:
        """Serve a socket: `hello` comes first, then what its user's topic says, then what it watches.

        `send` gets frames one at a time; `close` gets the close code when the hub wants the connection ended.
        Raises: RuntimeError if the hub is not running.
        """
        if self._topics.subscription is None:
            raise RuntimeError("The hub is not running.")
        socket = Socket(self, user_id, send, close)
        SOCKETS.inc()
        if self._delayed:
            self._tell_delay([socket])
        topic = user_topic(user_id)
        self._users.setdefault(topic, set()).add(socket)
        self._topics.want(topic)
        try:
            await self._settle_topics()
        except BaseException:
            # The browser may leave before it was served.
            socket.close()
            raise
        self._spawn(socket.write())
        return socket

    def count(self, user_id: str) -> int:
        """Count a user's open sockets."""
        return len(self._users.get(user_topic(user_id), ()))

    def enter(self, answer: ActiveAnswer) -> Room:
        """Give the room of a generation, opening it for its first watcher."""
        topic = live_topic(answer.generation_id)
        room = self._rooms.get(topic)
        if room is None:
            self._topics.want(topic)
            names = (answer.generation_id, answer.message_id, answer.attempt)
            room = Room(*names, self._sources, opened_at=self.now(), is_new=answer.is_new)
            self._rooms[topic] = room
        return room

    def leave(self, seat: Seat) -> None:
        """Take a seat out of its room; the last one closes it."""
        room = seat.room
        room.seats.discard(seat)
        if not room.seats:
            room.close()
            self._let_go(live_topic(room.generation_id), self._rooms)

    def forget(self, socket: Socket) -> None:
        """Let go of a closed socket."""
        SOCKETS.dec()
        topic = user_topic(socket.user_id)
        sockets = self._users[topic]
        sockets.discard(socket)
        if not sockets:
            self._let_go(topic, self._users)
        else:
            self._topics.release(topic)

    def _let_go(self, topic: str, table: dict[str, Any]) -> None:
        del table[topic]
        self._topics.release(topic)
        self._spawn(self._settle_topics())

    def _sockets(self) -> list[Socket]:
        return [socket for sockets in self._users.values() for socket in sockets]

    async def _listen(self, subscription: Subscription) -> None:
        while events := await subscription.take():
            for topic, event in events:
                try:
                    self._dispatch(topic, event)
                except Exception:
                    # One bad event must not deafen every reader of this process.
                    log.exception("event-not-handled", topic=loggable(topic))

    def _dispatch(self, topic: str, event: Event) -> None:
        if (room := self._rooms.get(topic)) is not None:
            room.hear(event)
        elif (sockets := self._users.get(topic)) is not None:
            self._tell(list(sockets), event)

    def _tell(self, sockets: Sequence[Socket], event: Event) -> None:
        """Pass an event to all sockets of a user; `close` ends them, `messages` lets them follow the answers it names."""
        if event["type"] == "close":
            for socket in sockets:
                self._spawn(socket.expel(event["code"]))
            return
        frame = dict(event)
        size = len(frames.encode(frame))
        for socket in sockets:
            if not socket.forward(frame, size):
                self._spawn(socket.expel(frames.SLOW))
            elif event["type"] == "messages" and event["conversation"] == socket.conversation_id:
                answers = event.get("answers", ())
                socket.follow(
                    [ActiveAnswer(one["generation"], one["message"], is_new=one.get("new", False)) for one in answers]
                )

    def _tell_delay(self, sockets: Sequence[Socket]) -> None:
        frame = frames.delayed(self._delayed)
        for socket in sockets:
            socket.forward(frame, len(frames.encode(frame)))

    async def _tend(self) -> None:
        """Look after what no event tells: readers that stall, topics not confirmed, ends that got lost."""
        while True:
            await asyncio.sleep(self.pace.tick)
            now = self.now()
            for socket in self._sockets():
                if socket.too_slow(now):
                    self._spawn(socket.expel(frames.SLOW))
            if not self._topics.settled:
                await self._settle_topics()
            if self._delayed == self._bus.connected:
                self._delayed = not self._delayed
                self._tell_delay(self._sockets())
            for room in self._rooms.values():
                if self._delayed or room.is_unheard:
                    room.doubt()
            if now >= self._reread_at or any(room.seems_queued(now) for room in self._rooms.values()):
                self._reread_at = now + self.pace.reread
                await self._reread()

    async def _reread(self) -> None:
        """Compare what is watched with what runs: follow what is new, doubt what runs no more, say what still waits."""
        watched = {socket.conversation_id for socket in self._sockets()} - {""}
        if not watched:
            return
        try:
            active = await self._load_active(watched)
        except Exception:
            log.exception("running-answers-not-read")
            return
        for socket in self._sockets():
            socket.follow(active.get(socket.conversation_id, ()))
        running = {answer.generation_id: answer for answers in active.values() for answer in answers}
        for room in self._rooms.values():
            answer = running.get(room.generation_id)
            if answer is None:
                room.doubt()
            else:
                room.look(queued=answer.queued, now=self.now())

    async def _settle_topics(self) -> None:
        try:
            await self._topics.settle()
        except Exception:
            # The bus is away; readers read rows until it is back, and this is tried again at each tick.
            log.exception("subscription-not-confirmed")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        # In the hub's own context: a task born in a request would keep that request's alive.
        task = asyncio.get_running_loop().create_task(work, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("hub-task-failed", exc_info=error)
