"""Those who use a running Bough in these tests: they send, and read by event stream, socket or polling through any fault."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.conversations.event_streams import read_events, texts_of
from tests.streaming.doubles import Page

PATIENCE = 40.0
# As static/js does: polling begins after two failures; an answer that no frame speaks of is asked for now and then.
BLOCKED_AFTER = 2
SPOKEN_OF_WITHIN = 1.5
AGAIN = 0.25  # seconds between tries to connect: less than the page's, so that tests are short
PART = re.compile(
    r'<div class="md"[^>]*>(.*?)(?:<div class="tail"></div>)?</div>(?:</details>)?</div>(?:</div>)?\s*$', re.DOTALL
)
LOST = (aiohttp.ClientError, ConnectionError, TimeoutError)


@dataclass(frozen=True)
class Reply:
    """What a call was answered."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Person:
    """Somebody with a token for the API and a session for pages; use as an async context."""

    def __init__(self, url: str, *, token: str, session: str) -> None:
        self.url = url
        csrf = secrets.token_hex(16)
        self._token = {"Authorization": f"Bearer {token}"}
        self._session = {"Cookie": f"sessionid={session}; csrftoken={csrf}", "X-CSRFToken": csrf, "Origin": url}
        self.refusals: Counter[int] = Counter()
        # Told of every request, if any are added before the context is entered.
        self.traces: list[aiohttp.TraceConfig] = []

    async def __aenter__(self) -> Person:
        timeout = aiohttp.ClientTimeout(total=None, connect=5, sock_read=PATIENCE)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._http = aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trace_configs=self.traces
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def call(self, method: str, path: str, body: Any = None) -> Reply:
        """Call the API once. Raises: aiohttp.ClientError where no answer came."""
        async with self._http.request(method, f"{self.url}/api{path}", json=body, headers=self._token) as response:
            raw = await response.read()
            if response.status >= 400:
                self.refusals[response.status] += 1
            return Reply(response.status, json.loads(raw) if raw else None, response.headers)

    async def get(self, path: str) -> tuple[int, str]:
        """Load a page or a part of one."""
        headers = {**self._session, "HX-Request": "true"}
        async with self._http.get(f"{self.url}{path}", headers=headers, allow_redirects=False) as response:
            return response.status, await response.text()

    async def post(self, path: str, form: Mapping[str, str]) -> Reply:
        """Send a form as the page's script does."""
        return await self.submit(path, form, **{"HX-Request": "true"})

    async def submit(self, path: str, form: Mapping[str, str], **further: str) -> Reply:
        """Send a form as a browser without scripts does."""
        headers = {**self._session, **further}
        async with self._http.post(f"{self.url}{path}", data=form, headers=headers, allow_redirects=False) as response:
            return Reply(response.status, await response.text(), response.headers)

    def stream(self, path: str, last: str = "") -> Any:
        """Open an event stream."""
        headers = self._token | ({"Last-Event-ID": last} if last else {})
        return self._http.get(f"{self.url}/api{path}", headers=headers)

    def socket(self) -> Any:
        """Open a socket."""
        url = self.url.replace("http", "ws", 1) + "/ws/"
        return self._http.ws_connect(url, headers=self._session, heartbeat=20)

    # --- what people do ------------------------------------------------------------------------------------------

    async def begin(self, title: str = "faults") -> str:
        """Begin a chat that has its name, so that no title is asked for."""
        chat: str = (await self.call("POST", "/chats", {"title": title})).body["id"]
        return chat

    async def send(self, chat: str, content: str, *, model: str = "openai/fake-canary") -> Sent:
        """Send a message. Raises: AssertionError unless it was taken."""
        reply = await self.call("POST", f"/chats/{chat}/messages", {"content": content, "model": model})
        assert reply.status == 202, reply
        return Sent(chat, reply.body["messageIds"][0], reply.body["generationIds"][0])

    async def send_until_taken(self, chat: str, content: str, *, model: str = "openai/fake-canary") -> Sent:
        """Send one message as a page does, again and again with the same client id, until it was taken."""
        body = {"content": content, "model": model, "clientId": secrets.token_hex(8)}
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    reply = await self.call("POST", f"/chats/{chat}/messages", body)
                    if reply.status == 202:
                        return Sent(chat, reply.body["messageIds"][0], reply.body["generationIds"][0])
                    assert reply.status == 503, reply
                except LOST:
                    self.refusals[0] += 1
                await asyncio.sleep(AGAIN)

    async def begin_until_taken(self) -> str:
        """Begin a chat through any refusal."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with suppress(*LOST):
                    reply = await self.call("POST", "/chats", {"title": "faults"})
                    if reply.status == 201:
                        return str(reply.body["id"])
                await asyncio.sleep(AGAIN)

    async def message(self, sent: Sent) -> dict[str, Any]:
        """Read a message from its row."""
        reply = await self.call("GET", f"/chats/{sent.chat}/messages?leafId={sent.message}&limit=2")
        assert reply.status == 200, reply
        found: dict[str, Any] = next(one for one in reply.body["messages"] if one["id"] == sent.message)
        return found


@dataclass(frozen=True)
class Sent:
    """One answer that was asked for."""

    chat: str
    message: str
    generation: str


@dataclass
class Reader:
    """Somebody who follows one answer to its end, whatever happens on the way.

    Shape: `status` is how it ended; `parts` what is shown, by number; `cuts` counts lost connections, `refused` the
    statuses that trying again met (0 for no answer). `silences` are the seconds between two pieces of news.
    """

    person: Person
    sent: Sent
    status: str = ""
    parts: dict[int, str] = field(default_factory=dict)
    cuts: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    silences: list[float] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _news_at: float = 0.0

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.status or 'reading'} at {self.text[-40:]!r}, cut {self.cuts}×, refused {dict(self.refused)}"

    @property
    def text(self) -> str:
        return "".join(text for _, text in sorted(self.parts.items()))

    @property
    def longest_silence(self) -> float:
        return max(self.silences, default=0.0)

    def start(self) -> Reader:
        """Begin to read, beside whatever else happens."""
        self._news_at = time.monotonic()
        self._task = asyncio.ensure_future(self._read())
        return self

    async def until(self, condition: Callable[[Reader], bool], patience: float = PATIENCE) -> None:
        """Wait until what is shown meets a condition."""
        assert self._task is not None
        async with asyncio.timeout(patience):
            while not condition(self):
                if self._task.done():
                    self._task.result()
                    assert condition(self), f"{self} ended as {self.status!r}"
                self._changed.clear()
                await self._changed.wait()

    async def more(self, characters: int = 60) -> None:
        """Wait until so much more is shown than now."""
        goal = len(self.text) + characters
        await self.until(lambda reader: len(reader.text) >= goal)

    async def ended(self, patience: float = PATIENCE) -> str:
        """Wait for the end and give the status. Raises: what broke the reading."""
        assert self._task is not None
        done, _ = await asyncio.wait([self._task], timeout=patience)
        assert done, f"{self} saw no end within {patience} s"
        self._task.result()
        return self.status

    async def leave(self) -> None:
        """Stop reading."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def news(self) -> None:
        now = time.monotonic()
        self.silences.append(now - self._news_at)
        self._news_at = now
        self._changed.set()

    async def _read(self) -> None:
        """Connect again and again until the end was told."""
        try:
            while not self.status:
                try:
                    await self._connect()
                    self.cuts += not self.status
                except LOST:
                    self.cuts += 1
                if not self.status:
                    await asyncio.sleep(AGAIN)
        finally:
            self._changed.set()

    async def _connect(self) -> None:
        """Read over one connection until it ends."""
        raise NotImplementedError


class StreamReader(Reader):
    """Read by Server-Sent Events, coming back with the id of the last event."""

    last = ""
    attempt = ""
    error: dict[str, str] | None = None

    async def _connect(self) -> None:
        path = f"/chats/{self.sent.chat}/stream?generationId={self.sent.generation}"
        async with self.person.stream(path, self.last) as response:
            if response.status != 200:
                self.refused[response.status] += 1
                assert response.status == 503, (response.status, await response.text())
                return
            buffer = b""
            async for data in response.content.iter_any():
                buffer += data
                whole, mark, buffer = buffer.rpartition(b"\n\n")
                self.take_all(whole + mark)

    def take_all(self, raw: bytes) -> None:
        """Take in the whole events of some bytes."""
        for event in read_events(raw):
            self._take(event)

    def _take(self, event: Any) -> None:
        attempt = event.id.split(":")[1]
        if event.name in ("delta", "reasoning", "tool") and attempt != self.attempt:
            self.parts, self.attempt = {}, attempt
        self.parts = texts_of([event], self.parts)
        if event.name == "error":
            self.error = event.data
        if event.name == "end":
            self.status = event.data["status"]
        self.last = event.id
        self.news()


class PollReader(Reader):
    """Ask for the article each second, as a page does where sockets are blocked; what is shown is HTML."""

    polls = 0

    async def _connect(self) -> None:
        while not self.status:
            self.polls += 1
            status, text = await self.person.get(f"/c/{self.sent.chat}/live/?m={self.sent.message}")
            if status not in (200, 286):
                self.refused[status] += 1
                assert status == 503, (status, text)
            else:
                self._show(text)
                if status == 286:
                    self.status = status_of(text)
                    self.news()
                    return
            await asyncio.sleep(1.0)

    def _show(self, text: str) -> None:
        shown = html_of(text)
        if shown != self.text:
            self.parts = {0: shown}
            self.news()


class SocketReader(Reader):
    """A tab: frames over a socket, polling beside it while the socket is lost; what is shown is HTML.

    Shape: `is_watching` once the server has taken its `watch`: messages of one socket are taken in order.
    """

    page: Page
    is_watching = False
    _failures = 0

    @property
    def text(self) -> str:
        return self.parts.get(0, "")

    async def _connect(self) -> None:
        self.page = Page(acknowledges=False)
        try:
            async with self.person.socket() as socket:
                self._failures = 0
                await socket.send_json({"type": "watch", "conversation": self.sent.chat})
                await socket.send_json({"type": "ping"})
                async with asyncio.TaskGroup() as group:
                    doubting = group.create_task(self._doubt(socket))
                    await self._listen(socket)
                    doubting.cancel()
        except LOST:
            self._failures += 1
            if self._failures >= BLOCKED_AFTER:
                await self._poll()
            raise

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type != aiohttp.WSMsgType.TEXT:
                return
            frame = json.loads(message.data)
            if frame["type"] == "pong":
                self.is_watching = True
                self.news()
                continue
            await self.page.send(frame)
            await socket.send_json({"type": "ack", "n": frame["n"]})
            self._show()
            if self.status:
                return

    def _show(self) -> None:
        message = self.sent.message
        if message in self.page.parts:
            shown = self.page.html(message)
            if shown != self.parts.get(0):
                self.parts = {0: shown}
                self.news()
        if message in self.page.ends:
            self.status = self.page.ends[message]["status"]
            self.news()

    async def _doubt(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        await asyncio.sleep(SPOKEN_OF_WITHIN)
        while self.sent.message not in self.page.messages.values():
            await self._poll()
            if self.status:
                # It ended before the watch: no frame will speak of it.
                await socket.close()
                return
            await asyncio.sleep(AGAIN)

    async def _poll(self) -> None:
        """Ask once for the article, as polling.js does."""
        try:
            status, text = await self.person.get(f"/c/{self.sent.chat}/live/?m={self.sent.message}")
        except LOST:
            return
        if status in (200, 286):
            self.parts = {0: html_of(text)}
            self.news()
        if status == 286:
            self.status = status_of(text)


def html_of(article: str) -> str:
    """Give the HTML of an article's parts, without what is around it."""
    _, *parts = article.split('<div class="message-state">')[0].split('<div class="part"')
    return "".join(found[1] for part in parts if (found := PART.search(part)))


def status_of(article: str) -> str:
    """Give the status that an article names."""
    found = re.search(r'data-status="(\w+)"', article)
    assert found, article
    return found[1]
