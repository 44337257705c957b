"""The fake upstream's server: HTTP by hand over asyncio, so that it can break in every way a server can.

Not here: what the models do (scripts.py). Loopback only; not fast, not complete, not for anything but tests.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

from tests.upstream import scripts, texts
from tests.upstream.records import Records, StreamRecord

OTHER_MODELS = ("fake-refuse", "fake-silenthead", "fake-json", "fake-html", "fake-badhttp", "fake-slowrefusal")


class ClientGone(Exception):
    """The client has closed the connection."""


class Upstream:
    """One server; its records and gate outlive its connections."""

    def __init__(self) -> None:
        self.records = Records()
        self._gate = asyncio.Event()
        self._calls: dict[str, int] = {}
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> int:
        """Listen on loopback and give the port."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def release(self) -> None:
        """Open the gate for the streams that wait at it, and close it again for the next."""
        self._gate.set()
        self._gate = asyncio.Event()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        self.records.add_connection()
        try:
            while request := await _read_request(reader):
                await self._answer(Exchange(self, reader, writer, *request))
        except (ClientGone, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, exchange: Exchange) -> None:
        path = exchange.path.removeprefix("/v1")
        if path == "/__stats":
            exchange.reply(200, self.records.as_dict())
        elif path == "/__reset":
            self.records.reset()
            exchange.reply(200, {})
        elif path == "/__release":
            self.release()
            exchange.reply(200, {})
        elif path == "/models":
            names = [*scripts.SCRIPTS, *scripts.REFUSALS, *OTHER_MODELS]
            exchange.reply(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in names]})
        elif path in ("/stalled/models", "/cut/models"):
            exchange.send_head(200, {"Content-Type": "application/json", "Content-Length": "1000"})
            if path == "/stalled/models":
                await exchange.reader.read(1)
            raise ClientGone
        elif path == "/odd/models":
            exchange.reply(200, {"models": ["not", "this", "form"]})
        elif path == "/bare/models":
            exchange.reply(200, [{"id": "bare", "name": "Bare model"}])
        elif path == "/empty/models":
            exchange.reply(200, {"object": "list", "data": None})
        elif path == "/chat/completions" and exchange.method == "POST":
            self.records.add_request({"body": exchange.body, "headers": dict(exchange.headers)})
            await self._chat(exchange)
        else:
            exchange.reply(404, {"error": {"message": f"no such path: {path}"}})

    async def _chat(self, exchange: Exchange) -> None:
        model = str(exchange.body.get("model", ""))
        self._calls[model] = self._calls.get(model, 0) + 1
        if refusal := scripts.REFUSALS.get(model):
            exchange.reply(*refusal)
        elif model in OTHER_MODELS:
            await _misbehave(exchange, model)
        elif model == "fake-nousage" and "stream_options" in exchange.body:
            exchange.reply(400, {"detail": "Unrecognized request argument supplied: stream_options"})
        elif model == "fake-flaky" and self._calls[model] % 2:
            exchange.reply(*scripts.REFUSALS["fake-503"])
        elif model not in scripts.SCRIPTS:
            exchange.reply(*scripts.REFUSALS["fake-404"])
        elif not exchange.body.get("stream"):
            exchange.reply(200, _completion(model, _text_for(exchange.body)))
        else:
            script = scripts.title if _wants_title(exchange.body) else scripts.SCRIPTS[model]
            await Answer(exchange, self._gate).play(script)


class Exchange:
    """One request and the way to answer it."""

    def __init__(
        self,
        upstream: Upstream,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: dict[str, Any],
    ) -> None:
        self.records = upstream.records
        self.reader = reader
        self.writer = writer
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body

    def reply(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        self.reply_bytes(status, json.dumps(body, indent=1).encode(), "application/json", headers)

    def reply_bytes(
        self, status: int, data: bytes, content_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_head(status, {"Content-Type": content_type, "Content-Length": str(len(data)), **(headers or {})})
        self.writer.write(data)

    def send_head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} Fake", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self.writer.write("\r\n".join(lines).encode("latin-1"))

    def reset(self) -> None:
        """Close with a RST in place of a FIN."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Answer:
    """One streamed answer; what a script may do (scripts.Stream)."""

    def __init__(self, exchange: Exchange, gate: asyncio.Event) -> None:
        self.body = exchange.body
        self._exchange = exchange
        self._writer = exchange.writer
        self._gate = gate
        self._chunks = 0
        self._record: StreamRecord = exchange.records.open_stream(str(exchange.body["model"]))

    async def play(self, script: scripts.Script) -> None:
        """Run a script to its end, or until the client closes the connection."""
        records = self._exchange.records
        self._exchange.send_head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        playing = asyncio.ensure_future(script(self))
        # A client that speaks before the answer's end would be pipelining: ours do not, so a byte is none, or the end.
        watching = asyncio.ensure_future(self._exchange.reader.read(1))
        try:
            await asyncio.wait((playing, watching), return_when=asyncio.FIRST_COMPLETED)
            if not playing.done() or playing.exception() is not None:
                records.close_stream(self._record, "client_closed")
                raise ClientGone
            if self._writer.transport.is_closing():
                raise ClientGone
            self._writer.write(b"0\r\n\r\n")
            await self._writer.drain()
            records.close_stream(self._record, "completed")
        finally:
            for task in (playing, watching):
                task.cancel()
            await asyncio.gather(playing, watching, return_exceptions=True)
            records.close_stream(self._record, "dropped")

    async def raw(self, data: bytes) -> None:
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()
        await asyncio.sleep(0)

    async def chunk(self, **chunk: Any) -> None:
        envelope = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "model": self.body["model"], **chunk}
        await self.raw(f"data: {json.dumps(envelope, ensure_ascii=False)}\n\n".encode())
        self._chunks += 1
        self._exchange.records.add_chunk(self._record)

    async def delta(self, **delta: Any) -> None:
        await self.chunk(choices=[{"index": 0, "delta": delta, "finish_reason": None}])

    async def finish(self, reason: str = "stop") -> None:
        await self.chunk(choices=[{"index": 0, "delta": {}, "finish_reason": reason}])
        if (self.body.get("stream_options") or {}).get("include_usage"):
            await self.chunk(choices=[], usage=_usage(self._chunks))
        await self.raw(b"data: [DONE]\n\n")

    async def forever(self) -> None:
        await asyncio.Event().wait()

    async def released(self) -> None:
        await self._gate.wait()

    def reset(self) -> None:
        self._exchange.records.close_stream(self._record, "dropped")
        self._exchange.reset()


async def _misbehave(exchange: Exchange, model: str) -> None:
    if model == "fake-refuse":
        raise ClientGone
    if model == "fake-silenthead":
        record = exchange.records.open_stream(model)
        await exchange.reader.read(1)
        exchange.records.close_stream(record, "client_closed")
        raise ClientGone
    if model == "fake-json":
        exchange.reply(200, _completion(model, texts.ANSWER))
    elif model == "fake-html":
        exchange.reply_bytes(200, b"<!doctype html><title>Sign in</title>", "text/html")
    elif model == "fake-badhttp":
        exchange.writer.write(b"BLARG\r\n\r\n")
        raise ClientGone
    else:
        exchange.send_head(500, {"Content-Length": "1000"})
        await exchange.reader.read(1)
        raise ClientGone


async def _read_request(
    reader: asyncio.StreamReader,
) -> tuple[str, str, dict[str, str], dict[str, Any]] | None:
    """Read one request; None when the client has no more."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    data = await reader.readexactly(int(headers.get("content-length") or 0))
    return method, path.partition("?")[0], headers, json.loads(data) if data else {}


def _wants_title(body: dict[str, Any]) -> bool:
    return any(
        message.get("role") == "system" and str(message.get("content")).startswith("Name this conversation")
        for message in body.get("messages", ())
    )


def _text_for(body: dict[str, Any]) -> str:
    return texts.TITLE if _wants_title(body) else texts.ANSWER


def _completion(model: str, text: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"id": "chatcmpl-fake", "object": "chat.completion", "model": model, "choices": [choice], "usage": _usage(7)}


def _usage(completion: int) -> dict[str, Any]:
    return {
        "prompt_tokens": 11,
        "completion_tokens": completion,
        "total_tokens": 11 + completion,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
