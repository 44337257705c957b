"""Many tabs in one process: each connects, watches, and comes back after exactly the waits that the page's script makes."""

from __future__ import annotations

import asyncio
import json
import random
import re
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tests.process.raw_sockets import CLOSE, TEXT, frame, greeting

SCRIPTS = Path(__file__).parents[2] / "static" / "js"


def constant(script: str, name: str) -> float:
    """Read a number of milliseconds from a script of the page, and give it in seconds."""
    found = re.search(rf"\b{name} = ([\d_]+)", (SCRIPTS / script).read_text())
    assert found, f"{script} names no {name}"
    return int(found[1]) / 1000


BASE, CAP = constant("backoff.js", "base"), constant("backoff.js", "cap")
GREETED_WITHIN = constant("socket.js", "GREETED_WITHIN")
STEADY_AFTER = constant("socket.js", "STEADY_AFTER")
SIGN_IN = 4401


class Tab(asyncio.Protocol):
    """One tab and the sockets it has had; `is_live` once the present one was greeted."""

    def __init__(self, crowd: Crowd, session: str, conversation: str) -> None:
        self.is_live = False
        self.greeted_at = 0.0
        self.session = session
        self._crowd = crowd
        self._watch = frame(TEXT, json.dumps({"type": "watch", "conversation": conversation}).encode())
        self._failures = 0
        self._left = False
        self._transport: asyncio.Transport | None = None
        self._greeting: asyncio.TimerHandle | None = None

    async def connect(self) -> None:
        """Open the socket."""
        loop, at = asyncio.get_running_loop(), urlsplit(self._crowd.url)
        self._data, self._begun = b"", False
        try:
            await loop.create_connection(lambda: self, at.hostname, at.port)
        except OSError:
            self._lost()

    def leave(self) -> None:
        """Close the tab."""
        self._left = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(greeting(self._crowd.url, self.session))
        self._greeting = asyncio.get_running_loop().call_later(GREETED_WITHIN, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._begun:
            head, mark, rest = self._data.partition(b"\r\n\r\n")
            if not mark:
                return
            self._begun, self._data = True, rest
            self._crowd.seen[head.split()[1].decode()] += 1
        while self._data[1:] and len(self._data) >= 2 + self._data[1]:
            # Nothing that an idle tab is sent is longer than 125 bytes.
            size = self._data[1]
            opcode, payload, self._data = self._data[0] & 15, self._data[2 : 2 + size], self._data[2 + size :]
            if opcode == CLOSE:
                (code,) = struct.unpack("!H", payload[:2])
                self._crowd.seen[f"closed {code}"] += 1
                self._left = self._left or code == SIGN_IN
            elif not self.is_live:
                self._greet()

    def connection_lost(self, error: Exception | None) -> None:
        if self._greeting is not None:
            self._greeting.cancel()
        self._transport = None
        self._lost()

    def _greet(self) -> None:
        assert self._transport is not None
        assert self._greeting is not None
        self._greeting.cancel()
        self.is_live, self.greeted_at = True, self._crowd.now()
        self._transport.write(self._watch)
        self._crowd.changed()

    def _lost(self) -> None:
        steady = self.is_live and self._crowd.now() - self.greeted_at > STEADY_AFTER
        self._failures = 1 if steady else self._failures + 1
        self.is_live = False
        self._crowd.changed()
        if not self._left:
            wait = random.random() * min(CAP, BASE * 2 ** (self._failures - 1))
            loop = asyncio.get_running_loop()
            loop.call_later(wait, lambda: self._crowd.spawn(self.connect()))


class Crowd:
    """All tabs, and what they have seen: status lines and close codes, counted."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.tabs: list[Tab] = []
        self.seen: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._change = asyncio.Event()

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    @property
    def live(self) -> int:
        return sum(tab.is_live for tab in self.tabs)

    async def open(self, sessions: list[str], conversations: list[str], each: int) -> None:
        """Open so many tabs for each session, some at a time."""
        for session, conversation in zip(sessions, conversations, strict=True):
            tabs = [Tab(self, session, conversation) for _ in range(each)]
            self.tabs += tabs
            await asyncio.gather(*(tab.connect() for tab in tabs))
            await self.until(lambda: self.live == len(self.tabs))

    async def until(self, condition: Callable[[], bool], patience: float = 60.0) -> None:
        """Wait until what the tabs have meets a condition."""
        async with asyncio.timeout(patience):
            while not condition():
                self._change.clear()
                await self._change.wait()

    async def leave(self) -> None:
        """Close all tabs."""
        for tab in self.tabs:
            tab.leave()
        await self.until(lambda: not self.live)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def changed(self) -> None:
        self._change.set()

    def spawn(self, work: object) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
