"""The provider that load is measured with: it speaks the OpenAI wire on loopback and stamps every token.

Each token is `<number>@<monotonic microseconds>; `: whatever bytes a reader on this machine gets tell which tokens came,
how late, and whether one is missing. The prompt asks for the shape of the answer: `[[n=300,ttft=50,itl=20]]`, with ttft
and itl in milliseconds. Faults are the work of tests/upstream, not of this server.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import re
import time

SHAPE = re.compile(r"\[\[([a-z0-9=,]+)\]\]")
DEFAULTS = {"n": 100, "ttft": 50, "itl": 20}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FINISH = b'{"id":"bench","object":"chat.completion.chunk","model":"bench","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


class Streams:
    """What this server did, for `GET /stats`."""

    active = 0
    begun = 0
    closed_early = 0
    closed_at = 0  # microseconds of the monotonic clock
    latest = 0.0


def shape_of(body: dict[str, object]) -> dict[str, int]:
    """Read the wanted shape from the last user's message."""
    shape = dict(DEFAULTS)
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if message.get("role") == "user" and (found := SHAPE.search(str(message.get("content")))):
            shape.update({name: int(value) for name, _, value in (p.partition("=") for p in found[1].split(","))})
    return shape


class Answer:
    """One streamed answer, a timer per token: each is due by the clock, so a late one delays no other."""

    def __init__(self, connection: Connection, shape: dict[str, int]) -> None:
        self.connection = connection
        self.shape = shape
        self.sent = 0
        self.loop = asyncio.get_running_loop()
        self.first_due = self.loop.time() + shape["ttft"] / 1000
        Streams.active += 1
        Streams.begun += 1
        connection.transport.write(HEAD)
        self.timer = self.loop.call_at(self.first_due, self.send_next)

    def send_next(self) -> None:
        """Send one token and set the timer of the next."""
        due = self.first_due + self.sent * self.shape["itl"] / 1000
        Streams.latest = max(Streams.latest, self.loop.time() - due)
        self.sent += 1
        self._event(
            b'{"id":"bench","object":"chat.completion.chunk","created":1,"model":"bench","choices":[{"index":0,'
            b'"delta":{"content":"%d@%d; "},"finish_reason":null}]}' % (self.sent, time.monotonic_ns() // 1000)
        )
        if self.sent < self.shape["n"]:
            self.timer = self.loop.call_at(due + self.shape["itl"] / 1000, self.send_next)
        else:
            self._finish()

    def _finish(self) -> None:
        usage = b'"usage":{"prompt_tokens":10,"completion_tokens":%d,"total_tokens":%d}' % (self.sent, self.sent + 10)
        self._event(FINISH)
        self._event(b'{"id":"bench","object":"chat.completion.chunk","model":"bench","choices":[],%b}' % usage)
        self._event(b"[DONE]")
        self.connection.transport.write(b"0\r\n\r\n")
        Streams.active -= 1
        self.connection.answered()

    def _event(self, data: bytes) -> None:
        event = b"data: %b\n\n" % data
        self.connection.transport.write(b"%x\r\n%b\r\n" % (len(event), event))

    def cut(self) -> None:
        """Stop: the client is gone."""
        self.timer.cancel()
        Streams.active -= 1
        Streams.closed_early += 1
        Streams.closed_at = time.monotonic_ns() // 1000


class Connection(asyncio.Protocol):
    """One kept-alive connection; requests one after the other."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.buffer = b""
        self.answer: Answer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answer is not None:
            self.answer.cut()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self._take_request()

    def answered(self) -> None:
        """Go on with the next request."""
        self.answer = None
        self._take_request()

    def _take_request(self) -> None:
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if self.answer is not None or not found:
            return
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        size = int(length[1]) if length else 0
        if len(rest) < size:
            return
        self.buffer = rest[size:]
        path = head.split(b" ", 2)[1]
        if path.endswith(b"/chat/completions"):
            self.answer = Answer(self, shape_of(json.loads(rest[:size])))
        elif path.endswith(b"/models"):
            self._reply({"object": "list", "data": [{"id": "bench", "object": "model"}]})
        else:
            names = ("active", "begun", "closed_early", "closed_at", "latest")
            self._reply({name: getattr(Streams, name) for name in names})
            Streams.latest = 0.0

    def _reply(self, body: object) -> None:
        data = json.dumps(body).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data)
        self.transport.write(head + data)
        self._take_request()


async def serve(port: int) -> None:
    """Listen on loopback until killed."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    gc.freeze()
    asyncio.run(serve(parser.parse_args().port))
