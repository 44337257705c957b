"""Those who ask and read: through the relay, over the API, and as pages do (a form, then frames of the socket)."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any, Protocol

import aiohttp

from bench.server import Person
from bench.tokens import Tally, now

# As static/js/socket.js acknowledges.
ACK_EVERY = 5
ACK_SECONDS = 0.25


class ReadError(Exception):
    """An answer was refused, broke off, or ended otherwise than complete."""


class Reader(Protocol):
    """One person in front of one target."""

    async def open(self) -> None:
        """Come in, and begin a conversation."""

    async def ask(self, prompt: str, expected: int, tally: Tally) -> None:
        """Ask, and read the answer to its end. Raises: ReadError."""

    async def close(self) -> None:
        """Go away."""


def session(**arguments: Any) -> aiohttp.ClientSession:
    """Make a client whose connections are never the bottleneck."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None), **arguments)


class RelayReader:
    """Ask the provider itself, through a relay."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def open(self) -> None:
        self.http = session()

    async def ask(self, prompt: str, expected: int, tally: Tally) -> None:
        body = {"model": "bench", "stream": True, "messages": [{"role": "user", "content": prompt}]}
        tally.asked_at = now()
        async with self.http.post(f"{self.url}/chat/completions", json=body) as response:
            await read_stream(response, tally)
        tally.lost += expected - tally.last

    async def close(self) -> None:
        await self.http.close()


class ApiReader:
    """Send over the API and read its events."""

    def __init__(self, url: str, person: Person) -> None:
        self.url = url
        self.person = person

    async def open(self) -> None:
        self.http = session(headers={"Authorization": f"Bearer {self.person.token}"})
        self.chat = await begin_conversation(self.http, self.url)

    async def ask(self, prompt: str, expected: int, tally: Tally) -> None:
        body = {"content": prompt, "model": "openai/bench", "stream": True}
        tally.asked_at = now()
        async with self.http.post(f"{self.url}/api/chats/{self.chat}/messages", json=body) as response:
            end = await read_stream(response, tally)
        tally.lost += expected - tally.last
        if '"status":"complete"' not in end.replace(" ", ""):
            raise ReadError(f"ended with {end[-200:]!r}")

    async def close(self) -> None:
        await self.http.close()


class PageReader:
    """A tab: signed in by a session, watching its conversation, sending by the form's address."""

    def __init__(self, url: str, person: Person) -> None:
        self.url = url
        self.person = person
        csrf = secrets.token_hex(16)
        self._cookies = {"sessionid": person.session, "csrftoken": csrf}
        self._headers = {"X-CSRFToken": csrf, "HX-Request": "true", "Origin": url}
        self._answers: dict[int, dict[int, tuple[list[str], str]]] = {}
        self._tally = Tally()
        self._ended: asyncio.Future[tuple[str, str]] | None = None
        self._highest = self._acked = 0
        self._ack_timer: asyncio.TimerHandle | None = None
        self._came = asyncio.Event()

    async def open(self) -> None:
        async with session(headers={"Authorization": f"Bearer {self.person.token}"}) as api:
            self.chat = await begin_conversation(api, self.url)
        self.http = session(cookies=self._cookies, headers=self._headers)
        await self.connect()

    async def connect(self) -> None:
        """Open the socket, and watch."""
        self._answers, self._highest, self._acked = {}, 0, 0
        self._socket = await self.http.ws_connect(f"{self.url.replace('http', 'ws', 1)}/ws/", compress=15)
        await self._say(type="watch", conversation=self.chat)
        self._listening = asyncio.create_task(self._listen())

    async def ask(self, prompt: str, expected: int, tally: Tally) -> None:
        self._tally, self._ended = tally, asyncio.get_running_loop().create_future()
        form = {"content": prompt, "model": "openai/bench", "client_id": secrets.token_hex(16)}
        tally.asked_at = now()
        async with self.http.post(f"{self.url}/c/{self.chat}/send/", data=form) as response:
            if response.status != 200:
                raise ReadError(f"{response.status}: {(await response.text())[:200]}")
            await response.read()
        status, text = await self._ended
        tally.check(text, expected)
        if status != "complete":
            raise ReadError(f"ended as {status}")

    async def lose_socket(self) -> None:
        """Drop the socket, as a network does; the answer goes on."""
        self._listening.cancel()
        await self._socket.close()

    async def next_frame(self) -> None:
        """Wait until a frame has come."""
        self._came.clear()
        await self._came.wait()

    async def close(self) -> None:
        await self.lose_socket()
        await self.http.close()

    async def _listen(self) -> None:
        async for message in self._socket:
            if message.type != aiohttp.WSMsgType.TEXT:
                break
            at = now()
            self._tally.bytes += len(message.data)
            await self._take(at, json.loads(message.data))
            self._came.set()
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(ReadError(f"the socket closed with {self._socket.close_code}"))

    async def _take(self, at: int, frame: dict[str, Any]) -> None:
        if frame["type"] == "answer":
            self._tally.reads += 1
            parts = self._answers.setdefault(frame["a"], {})
            for part in frame["parts"]:
                self._tally.show(at, apply_part(parts, part))
        elif frame["type"] == "ended" and self._ended is not None and not self._ended.done():
            shown = "".join("".join(settled) + tail for settled, tail in self._answers.pop(frame["a"], {}).values())
            whole = "".join(part["html"] for part in frame["html"] or ())
            self._ended.set_result((frame["status"], whole or shown))
        self._highest = max(self._highest, frame.get("n", 0))
        if self._highest - self._acked >= ACK_EVERY:
            await self._ack()
        elif self._ack_timer is None:
            loop = asyncio.get_running_loop()
            self._ack_timer = loop.call_later(ACK_SECONDS, lambda: loop.create_task(self._ack()))

    async def _ack(self) -> None:
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None
        if self._highest > self._acked and not self._socket.closed:
            self._acked = self._highest
            await self._say(type="ack", n=self._highest)

    async def _say(self, **frame: Any) -> None:
        await self._socket.send_str(json.dumps(frame))


def apply_part(parts: dict[int, tuple[list[str], str]], part: dict[str, Any]) -> str:
    """Apply a part of a frame as docs/frames.md says, and give the HTML that it brought."""
    settled, before = parts.get(part["i"], ([], ""))
    fresh, tail = part.get("settled", []), part.get("tail", "")
    if part["from"] > len(settled):
        raise ReadError(f"blocks before {part['from']} are missing")
    settled = settled[: part["from"]] + fresh
    whole = tail if isinstance(tail, str) else before[: tail["keep"]] + tail["add"]
    parts[part["i"]] = (settled, whole)
    # Some context before what was added: the frames may part within a token.
    return "".join(fresh) + (tail if isinstance(tail, str) else whole[max(0, tail["keep"] - 32) :])


async def begin_conversation(http: aiohttp.ClientSession, url: str) -> str:
    """Begin a conversation that has its name, so that naming it is no part of what is measured."""
    async with http.post(f"{url}/api/chats", json={"title": "bench"}) as response:
        if response.status != 201:
            raise ReadError(f"{response.status}: {(await response.text())[:200]}")
        chat: str = (await response.json())["id"]
        return chat


async def read_stream(response: aiohttp.ClientResponse, tally: Tally) -> str:
    """Count the tokens of a stream until it ends and give its last bytes. Raises: ReadError for another status."""
    if response.status != 200:
        raise ReadError(f"{response.status}: {(await response.text())[:200]}")
    end = ""
    async for data in response.content.iter_any():
        text = data.decode("latin-1")
        tally.bytes += len(data)
        tally.feed(now(), text)
        end = (end + text)[-600:]
    return end
