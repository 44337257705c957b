"""The bus over Redis, for several processes: the public side, and the loop that writes.

Text never waits for Redis: it is queued (redis_outbox.py), and what Redis loses is written again from what the writer
holds. One connection listens (redis_link.py). Redis may be one server or one address that fails over, not a cluster:
the keys of an answer would lie in different slots.
"""

import asyncio
import atexit
import contextlib
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, cast

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from apps.core.logs import get_logger
from apps.streaming import redis_wire as wire
from apps.streaming.answers import Delta, PartText, Snapshot
from apps.streaming.bus import Event, loggable
from apps.streaming.memory import RESYNC, MemorySubscription
from apps.streaming.metrics import BUS_ERRORS
from apps.streaming.redis_link import CONNECTING, FIRST_PAUSE, LONGEST_PAUSE, Link, describe
from apps.streaming.redis_outbox import Outbox

log = get_logger(__name__)

# Seconds: until a call is given up, until the reader of a snapshot turns to the row, until nobody waits any longer for
# what is queued, until a process starts without Redis, between looks at what Redis refused, and between signs of life
# on the writing connection, which servers and routers would close were it silent for long.
REPLY = 3.0
READ = 1.0
SETTLE = 1.0
START = 1.0
TICK = 1.0
LIFE = 20.0

# Connections for snapshots; writing and listening have one each.
CONNECTIONS = 8

# How long the keys of a running answer live without a word of it; if it goes on after all, they are written again.
LIVE_MS = 1_800_000


class RedisSubscription(MemorySubscription):
    """Queue the events of some topics for one reader, fed by the process's one connection.

    While Redis is away nothing waits for it; a live topic finds a `resync` once it is confirmed.
    """

    def __init__(
        self,
        listeners: dict[str, set[MemorySubscription]],
        backlog: int,
        want: Callable[[Iterable[str]], Awaitable[None]],
        release: Callable[[Iterable[str]], None],
    ) -> None:
        super().__init__(listeners, backlog)
        self._want = want
        self._release = release

    async def add(self, *topics: str) -> None:
        """Listen to further topics; returns once that is confirmed."""
        if topics and not self._closed:
            await super().add(*topics)
            await self._want(topics)

    async def remove(self, *topics: str) -> None:
        """Stop listening to some topics."""
        await super().remove(*topics)
        self._release(topics)


class RedisBus:
    """Carry live text and events between processes, for one event loop in each; from `start` to `stop`.

    What is published before or while Redis is away waits for it; a connection that breaks may bring an event twice.
    Units: keep_seconds is how long an ended answer's snapshot stays; backlog counts events that may wait for one reader.
    """

    def __init__(self, url: str, *, keep_seconds: float = 60.0, prefix: str = "bough", backlog: int = 2048) -> None:
        self._url = url
        self._backlog = backlog
        self._names = wire.Names(prefix)
        self._outbox = Outbox(keep_seconds=keep_seconds)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._server: threading.Thread | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._prepare()

    def _prepare(self) -> None:
        """Make everything that belongs to one loop."""
        self._listeners: dict[str, set[MemorySubscription]] = {}
        # Listening waits as long as nothing is said; the link itself looks for signs of life.
        self._link = Link(lambda: self._connection(None), hear=self._hear, risen=self._turn, fallen=self._turn)
        self._writing = self._in_flight = False
        self._tidy_at = self._mark_at = 0.0
        self._work = asyncio.Event()
        self._changed = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Tell whether events get through at present: Redis answers, and all that is listened to is confirmed."""
        return self._link.up and self._writing

    @property
    def dropped(self) -> int:
        """Count the events that were refused because too many waited for Redis."""
        return self._outbox.refused

    async def start(self) -> None:
        """Bind the bus to the running loop and connect, unless that is done already.

        Effects: waits a second at most; without Redis the process starts all the same, and goes on trying.
        Raises: RuntimeError if the bus belongs to another loop that still lives; ValueError for an address that is none.
        """
        loop = asyncio.get_running_loop()
        if self._tasks and self._loop is loop:
            return
        if self._tasks and self._loop is not None and not self._loop.is_closed():
            raise RuntimeError("This bus belongs to another event loop.")
        if self._loop is not loop:
            # Whoever listened on the closed loop is gone with it.
            self._prepare()
        self._loop, self._thread = loop, threading.get_ident()
        self._client = Redis.from_pool(self._pool(socket_timeout=REPLY, max_connections=CONNECTIONS, timeout=READ))
        self._read_script = self._client.register_script(wire.READ)
        self._outbox.lost(())
        self._tasks = [loop.create_task(_keep_up(work)) for work in (self._link.run, self._write)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START):
                while not self.connected:
                    self._changed.clear()
                    await self._changed.wait()

    async def stop(self) -> None:
        """Send what is queued, as far as Redis takes it within a second, and close all connections."""
        if not self._tasks:
            return
        await self.settled()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self._writing = False
        await self._client.aclose()

    def start_in_thread(self) -> threading.Thread:
        """Carry events for a process without a loop, such as a worker or a command, until `stop_thread` or its end."""
        ready = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), name="bus", daemon=True)
        self._server = thread
        thread.start()
        ready.wait(START + CONNECTING)
        atexit.register(self.stop_thread)
        return thread

    def stop_thread(self) -> None:
        """Send what is queued and end the thread that carries events."""
        if self._loop is not None and self._server is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._over.set)
            self._server.join(SETTLE + CONNECTING)
        atexit.unregister(self.stop_thread)

    async def open(self, live: str, attempt: int, parts: Sequence[PartText] = ()) -> None:
        """Start an attempt's snapshot, or replace it, and tell its readers."""
        self._outbox.open(live, attempt, parts)
        self._work.set()

    async def append(self, delta: Delta) -> None:
        """Queue a delta for snapshot and readers; an older attempt than the one held is ignored.

        Raises: ValueError if text before the delta is missing: a snapshot with a hole would be trusted by readers.
        """
        self._outbox.append(delta)
        self._work.set()

    async def append_many(self, deltas: Iterable[Delta]) -> None:
        """Queue the deltas of many answers; they go to Redis in one call.

        Raises: ValueError as `append` does, after all others are queued.
        """
        wrong: ValueError | None = None
        for delta in deltas:
            try:
                self._outbox.append(delta)
            except ValueError as error:
                wrong = wrong or error
        self._work.set()
        if wrong is not None:
            raise wrong

    async def snapshot(self, live: str) -> Snapshot | None:
        """Read an answer as it stands; None if nothing whole is held, or if Redis does not say within a second."""
        if not self.connected:
            return None
        try:
            async with asyncio.timeout(READ):
                await self.settled()
                return wire.unpack_snapshot(live, await self._read(live))
        except ValueError:
            # Never another answer's text, not even in a log. What else that connection would say is not trusted either.
            BUS_ERRORS.inc()
            log.error("snapshot-mixed-up", generation=live)
            await self._client.connection_pool.disconnect()
        except (RedisError, OSError) as error:
            BUS_ERRORS.inc()
            log.warning("snapshot-not-read", error=describe(error))
        return None

    async def drop(self, live: str, attempt: int | None = None) -> None:
        """Mark an answer that this process writes as ended; Redis forgets it after `keep_seconds`.

        Nothing if a newer attempt than this is held.
        """
        self._outbox.drop(live, attempt)
        self._work.set()

    def publish(self, topic: str, event: Event) -> None:
        """Queue an event for whoever listens; from any thread, never waiting."""
        self._outbox.publish(topic, event)
        if threading.get_ident() == self._thread:
            self._work.set()
        elif self._loop is not None:
            # A closed loop sends nothing more, and may close at any moment while another thread publishes.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._work.set)

    async def subscribe(self, *topics: str) -> RedisSubscription:
        """Listen to topics; returns once that is confirmed, or at once while Redis is away."""
        subscription = RedisSubscription(self._listeners, self._backlog, self._want, self._release)
        await subscription.add(*topics)
        return subscription

    async def settled(self) -> bool:
        """Wait until Redis has all that was queued so far, a second at most; False if it has not."""
        if not self._outbox and not self._in_flight:
            return True
        if not self.connected:
            return False
        mark = self._outbox.mark()
        self._work.set()
        try:
            async with asyncio.timeout(SETTLE):
                await mark
        except TimeoutError:
            return False
        return True

    async def _read(self, live: str) -> list[bytes]:
        return cast(list[bytes], await self._read_script(keys=[self._names.meta(live)], args=[live]))

    # --- listening -----------------------------------------------------------------------------------------------

    async def _want(self, topics: Iterable[str]) -> None:
        # What this process wrote before is not to be heard as if it came after.
        await self.settled()
        await self._link.want(map(self._names.channel, topics))

    def _release(self, topics: Iterable[str]) -> None:
        for topic in topics:
            if topic not in self._listeners:
                self._link.release(self._names.channel(topic))

    def _hear(self, channel: bytes, data: bytes) -> None:
        topic = self._names.topic(channel)
        listeners = self._listeners.get(topic)
        if not listeners:
            return
        try:
            event = wire.unpack(topic, data)
        except ValueError:
            # Without its words: they may be somebody's text.
            BUS_ERRORS.inc()
            log.error("event-not-read", topic=loggable(topic), bytes=len(data))
            return
        for subscription in listeners:
            subscription.push(topic, event)

    def _turn(self) -> None:
        """Have everybody read again: Redis went, and rows tell more; or it came, and what was said meanwhile is lost."""
        self._changed.set()
        for topic, listeners in self._listeners.items():
            if wire.is_live(topic):
                for subscription in listeners:
                    subscription.push(topic, RESYNC)

    # --- writing -------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        """Send what is queued, and after each break first what the break may have cost."""
        while True:
            connection, script = await self._reach()
            self._tidy_at = 0.0
            self._writing = True
            self._changed.set()
            try:
                await self._deliver(connection, script)
            except (RedisError, OSError) as error:
                BUS_ERRORS.inc()
                log.warning("bus-write-failed", error=describe(error))
            finally:
                self._writing = self._in_flight = False
                await connection.disconnect(nowait=True)

    async def _reach(self) -> tuple[AbstractConnection, bytes]:
        """Connect and store the script, however long that takes; gives the connection and the script's name.

        No text is sent before Redis answers: one that is stopped would carry it out much later.
        """
        pause = FIRST_PAUSE
        while True:
            connection = self._connection(socket_timeout=REPLY)
            try:
                async with asyncio.timeout(CONNECTING):
                    await connection.connect()
                await connection.send_command("SCRIPT", "LOAD", wire.WRITE)
                script: bytes = await connection.read_response()
                if pause > FIRST_PAUSE:
                    # Those who listen come back about now, too; what they miss they hear from nobody.
                    await asyncio.sleep(1.5 * LONGEST_PAUSE)
                return connection, script
            except (RedisError, OSError) as error:
                log.debug("bus-connect-failed", error=describe(error))
                await connection.disconnect(nowait=True)
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _deliver(self, connection: AbstractConnection, script: bytes) -> None:
        while True:
            await self._wait_for_work()
            batch = self._outbox.take()
            if not batch:
                continue
            self._in_flight = True
            keys: list[str] = []
            args: list[wire.Arg] = [LIVE_MS, len(batch)]
            for operation in batch:
                operation.put(self._names, keys, args)
            # Packed here: redis-py would spend more on that than everything else costs.
            command: Any = ("EVALSHA", script, len(keys), *keys, *args)
            try:
                await connection.send_packed_command(hiredis.pack_command(command))
                failed: list[int] = await connection.read_response()
            except BaseException:
                self._outbox.lost(batch)
                raise
            self._in_flight = False
            self._outbox.written(batch, failed)

    async def _wait_for_work(self) -> None:
        """Wait until something is queued; look after what Redis refused each second, idle or not."""
        now = time.monotonic()
        if now >= self._tidy_at:
            self._outbox.tidy()
            self._tidy_at = now + TICK
        if now >= self._mark_at:
            self._outbox.mark()
            self._mark_at = now + LIFE
        self._work.clear()
        # Looked at after clearing: another thread may be publishing right now.
        if not self._outbox:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._work.wait()

    # --- connections ---------------------------------------------------------------------------------------------

    def _pool(self, **options: Any) -> BlockingConnectionPool:
        # No retries of redis-py's own: a call repeated in silence would say things twice.
        retry = Retry(NoBackoff(), 0)
        return BlockingConnectionPool.from_url(
            self._url, protocol=2, retry=retry, socket_connect_timeout=CONNECTING, socket_keepalive=True, **options
        )

    def _connection(self, socket_timeout: float | None) -> AbstractConnection:
        connection: AbstractConnection = self._pool(socket_timeout=socket_timeout).make_connection()
        return connection

    async def _serve(self, ready: threading.Event) -> None:
        await self.start()
        ready.set()
        await self._over.wait()
        await self.stop()


async def _keep_up(work: Callable[[], Awaitable[None]], pause: float = LONGEST_PAUSE) -> None:
    """Run a loop, and run it again should it break: without it the process would be mute or deaf until restarted."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("bus-loop-broke")
        await asyncio.sleep(pause)
