"""The one connection on which a process hears from Redis: kept up, kept honest, and in step with what is wanted.

redis-py's own PubSub reconnects in silence, is not safe to use from several tasks, and costs twice the CPU for each
message (measured), so this speaks SUBSCRIBE and PING on a plain connection. Nothing is written to Redis here.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from apps.core.logs import get_logger
from apps.streaming.metrics import BUS_ERRORS

log = get_logger(__name__)

# Seconds.
CONNECTING = 2.0
BEAT = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0

# Beats without a word from Redis after which it counts as gone. Beats, not seconds: a process that stood still for
# a while has missed them itself.
PATIENCE = 3

# Messages after which other tasks get their turn: what has arrived already is read without waiting.
STRETCH = 100


class Link:
    """Listen to the channels that are wanted, for as long as `run` runs.

    hear gets (channel, data); risen is called whenever everything wanted is confirmed on a new connection, fallen
    when such a connection is gone.
    """

    def __init__(
        self,
        connection: Callable[[], AbstractConnection],
        *,
        hear: Callable[[bytes, bytes], None],
        risen: Callable[[], None],
        fallen: Callable[[], None],
    ) -> None:
        self.up = False
        self._make = connection
        self._hear = hear
        self._risen = risen
        self._fallen = fallen
        self._wanted: set[bytes] = set()
        # Channels asked for on this connection, by the number of the ping that followed.
        self._asked: dict[bytes, int] = {}
        self._pings = self._pongs = 0
        self._silence = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._changed = asyncio.Event()

    async def want(self, channels: Iterable[bytes]) -> None:
        """Listen to channels; returns once that is confirmed, or at once while Redis is away.

        Whoever was not confirmed hears so by `risen`.
        """
        new = set(channels)
        self._wanted |= new
        number = self._asked_by(new)
        if number > self._pings:
            self._changed.set()
        if not self.up or number <= self._pongs:
            return
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((number, confirmed))
        # Not for ever: a connection that says nothing is given up.
        await confirmed

    def release(self, channel: bytes) -> None:
        """Stop listening to a channel."""
        self._wanted.discard(channel)
        self._changed.set()

    async def run(self) -> None:
        """Connect, and connect again whenever the connection is gone."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self._session()
            except* (RedisError, OSError) as errors:
                if self.up:
                    pause = FIRST_PAUSE
                    BUS_ERRORS.inc()
                level = logging.WARNING if pause == FIRST_PAUSE else logging.DEBUG
                log.log(level, "bus-listening-lost", error=describe(errors))
            finally:
                self._fall()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _session(self) -> None:
        connection = self._make()
        try:
            async with asyncio.timeout(CONNECTING):
                await connection.connect()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tend(connection))
                group.create_task(self._read(connection))
        finally:
            await connection.disconnect(nowait=True)

    async def _tend(self, connection: AbstractConnection) -> None:
        """Ask for what is wanted, and for a sign of life at each beat."""
        clock = asyncio.get_running_loop().time
        beat = clock() + BEAT
        while self._silence < PATIENCE:
            self._changed.clear()
            async with asyncio.timeout(PATIENCE * BEAT):
                await self._ask(connection)
            try:
                async with asyncio.timeout_at(beat):
                    await self._changed.wait()
            except TimeoutError:
                self._silence += 1
                beat = clock() + BEAT
        raise TimeoutError("Redis is silent.")

    async def _ask(self, connection: AbstractConnection) -> None:
        """Bring Redis in step with what is wanted. One order on one connection: the pong says that it is done."""
        asked = self._asked.keys()
        new, old = sorted(self._wanted - asked), sorted(asked - self._wanted)
        self._pings += 1
        if new:
            self._asked.update(dict.fromkeys(new, self._pings))
            await connection.send_command("SUBSCRIBE", *new)
        if old:
            for channel in old:
                del self._asked[channel]
            await connection.send_command("UNSUBSCRIBE", *old)
        await connection.send_command("PING", str(self._pings))

    async def _read(self, connection: AbstractConnection) -> None:
        heard = 0
        while True:
            message: Any = await connection.read_response()
            self._silence = 0
            if isinstance(message, bytes):
                self._hear_pong(int(message))
            elif message[0] == b"message":
                self._hear(message[1], message[2])
            elif message[0] == b"pong":
                self._hear_pong(int(message[1]))
            heard += 1
            if heard % STRETCH == 0:
                await asyncio.sleep(0)

    def _asked_by(self, channels: set[bytes]) -> int:
        """Give the number of the ping behind which all these channels are confirmed; the next one's if need be."""
        return max((self._asked.get(channel, self._pings + 1) for channel in channels), default=0)

    def _hear_pong(self, number: int) -> None:
        self._pongs = number
        if not self.up and self._asked_by(self._wanted) <= number:
            self.up = True
            log.info("bus-listening")
            self._risen()
        self._release_waiting(number)

    def _fall(self) -> None:
        """Forget the connection; nobody is kept waiting for it."""
        was_up, self.up = self.up, False
        self._asked.clear()
        self._pongs = self._silence = 0
        self._release_waiting(self._pings + 1)
        if was_up:
            self._fallen()

    def _release_waiting(self, number: int) -> None:
        waiting, self._waiting = self._waiting, []
        for asked, confirmed in waiting:
            if asked > number:
                self._waiting.append((asked, confirmed))
            elif not confirmed.done():
                confirmed.set_result(None)


def describe(errors: BaseException) -> str:
    """Say in one line what went wrong; an address may be in it, a password never is."""
    if isinstance(errors, BaseExceptionGroup):
        return ", ".join(describe(error) for error in errors.exceptions)
    return f"{type(errors).__name__}: {errors}"
