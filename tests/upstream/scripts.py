"""How each model of the fake upstream behaves: one small coroutine per model name, good ones and faults.

A new fault is a new function in SCRIPTS. Refusals by status alone are in REFUSALS.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Protocol

from tests.upstream import texts
from tests.upstream.recorded import DELTAS

FAST = 0.002  # seconds between chunks
SLOW = 0.05
_CALLS = count(1)


class Stream(Protocol):
    """What a script may do; see server.Answer."""

    body: dict[str, Any]

    async def raw(self, data: bytes) -> None: ...
    async def chunk(self, **chunk: Any) -> None: ...
    async def delta(self, **delta: Any) -> None: ...
    async def finish(self, reason: str = "stop") -> None: ...
    async def forever(self) -> None: ...
    async def released(self) -> None: ...
    def reset(self) -> None: ...


Script = Callable[[Stream], Awaitable[None]]


def _error(message: str, code: str | None = None, kind: str = "fake_error", param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code, "param": param}}


# Model: status, body, further headers.
REFUSALS: dict[str, tuple[int, dict[str, Any], dict[str, str]]] = {
    "fake-400": (400, _error("'temperature' must be at most 2", "invalid_value", param="temperature"), {}),
    "fake-401": (401, _error("Incorrect API key provided: sk-secret-in-the-answer", "invalid_api_key"), {}),
    "fake-402": (402, _error("Insufficient credits"), {}),
    "fake-403": (403, _error("Not allowed"), {}),
    "fake-404": (404, _error("The model `fake-404` does not exist", "model_not_found"), {}),
    "fake-429": (429, _error("Too many requests"), {"Retry-After": "1"}),
    "fake-500": (500, _error("Something broke"), {}),
    "fake-503": (503, _error("Loading"), {"Retry-After": "1"}),
    "fake-529": (529, _error("Overloaded", kind="overloaded_error"), {}),
    "fake-quota": (429, _error("You exceeded your current quota", "insufficient_quota", "insufficient_quota"), {}),
    "fake-toolong": (400, _error("The maximum context length is 10 tokens", "context_length_exceeded"), {}),
    "fake-moved": (302, {}, {"Location": "http://127.0.0.1:9/elsewhere"}),
}


async def good(stream: Stream, *, pause: float = FAST, text: str = texts.ANSWER) -> None:
    await stream.delta(role="assistant", content="")
    for piece in texts.pieces(text):
        await stream.delta(content=piece)
        await asyncio.sleep(pause)
    await stream.finish()


async def canary(stream: Stream) -> None:
    """Repeat the canary of the last question: as many pieces, at the pace and with the end that it asks for."""
    [*_, asked] = [message["content"] for message in stream.body["messages"] if message["role"] == "user"]
    found = texts.WISH.search(asked)
    name, count, pause, fault = found.groups() if found else ("canary-none", None, None, None)
    await stream.delta(role="assistant", content="")
    for piece in texts.canary(name, int(count or 20)):
        await stream.delta(content=piece)
        await asyncio.sleep(int(pause or 20) / 1000)
    if fault == "reset":
        stream.reset()
    elif fault == "nonsense":
        await stream.raw(b'data: {"choices": [{"delta": {"conte\n\n')
    elif fault == "error":
        await stream.chunk(error={"message": "Upstream overloaded", "type": "server_error", "code": 502})
    elif fault != "nothing":
        await stream.finish()


async def patient(stream: Stream) -> None:
    """Repeat the canary of the last question, at the pace that it asks for, until POST /__release."""
    found = texts.WISH.search(str(stream.body["messages"][-1]["content"]))
    name, _, pause, _ = found.groups() if found else ("canary-none", None, None, None)
    released = asyncio.ensure_future(stream.released())
    try:
        await stream.delta(role="assistant", content="")
        for piece in texts.canary(name, 10_000):
            await stream.delta(content=piece)
            await asyncio.wait([released], timeout=int(pause or 20) / 1000)
            if released.done():
                break
        await stream.finish()
    finally:
        released.cancel()


async def slow(stream: Stream) -> None:
    await good(stream, pause=SLOW)


async def title(stream: Stream) -> None:
    await good(stream, text=texts.TITLE)


async def gate(stream: Stream) -> None:
    """Say a word, wait for POST /__release, say the rest."""
    await stream.delta(content="Before the gate. ")
    await stream.released()
    await stream.delta(content="After the gate.")
    await stream.finish()


async def recorded(stream: Stream) -> None:
    """Play the recorded answer; a question with "hold 17" in it waits after 17 deltas for POST /__release.

    Asked to go on, it says what is missing of the text that it is shown.
    """
    *_, before, last = [{}, *stream.body["messages"]]
    asked = re.search(r"hold (\d+)", last["content"])
    hold = int(asked[1]) if asked else None
    said = len(before["content"]) if before.get("role") == "assistant" and not asked else 0
    await stream.delta(role="assistant", content="")
    for number, (kind, text) in enumerate(DELTAS):
        if number == hold:
            await stream.released()
        if said > 0:
            said -= len(text) if kind == "text" else 0
            continue
        await stream.delta(**{"reasoning_content" if kind == "reasoning" else "content": text})
        await asyncio.sleep(FAST)
    if hold == len(DELTAS):
        await stream.released()
    await stream.finish()


async def counted(stream: Stream) -> None:
    """Say which call of this model it is, word by word, so that no two answers have a word in common; holds as `recorded`."""
    call = next(_CALLS)
    asked = re.search(r"hold (\d+)", str(stream.body["messages"][-1]["content"]))
    await stream.delta(role="assistant", content="")
    for number in range(60):
        if asked and number == int(asked[1]):
            await stream.released()
        await stream.delta(content=f"{call}.{number} ")
        await asyncio.sleep(FAST)
    await stream.finish()


async def silent(stream: Stream) -> None:
    """Begin the answer and never say a word."""
    await stream.raw(b": connected\n\n")
    await stream.forever()


async def stall(stream: Stream) -> None:
    """Say a little, then nothing, with the connection open."""
    await _some_words(stream)
    await stream.forever()


async def endless(stream: Stream) -> None:
    while True:
        await stream.delta(content="And on it goes, word after word after word, without any end. ")
        await asyncio.sleep(FAST)


async def plenty(stream: Stream) -> None:
    """Say as much as an answer may hold, all of it code and at once, and never end."""
    await stream.delta(content=texts.PLENTY)
    await stream.forever()


async def reset(stream: Stream) -> None:
    """Cut the connection the hard way, amid the answer."""
    await _some_words(stream)
    stream.reset()


async def no_done(stream: Stream) -> None:
    """End the body properly, without a finish reason and without [DONE]."""
    await _some_words(stream)


async def cut_line(stream: Stream) -> None:
    """End the body properly, amid a line."""
    await _some_words(stream)
    await stream.raw(b'data: {"choices":[{"delta":{"content":"never se')


async def no_line_end(stream: Stream) -> None:
    """End the body properly, the last line without its end."""
    await _some_words(stream)
    await stream.raw(b'data: {"choices":[{"delta":{"content":"The end."},"finish_reason":"stop"}]}')


async def lingering(stream: Stream) -> None:
    """Say [DONE], then more, and keep the connection open."""
    await _some_words(stream)
    await stream.finish()
    await asyncio.sleep(FAST)
    await stream.raw(b": still here\n\n")
    await stream.forever()


async def malformed(stream: Stream) -> None:
    await _some_words(stream)
    await stream.raw(b'data: {"id": "broken", "choices": [{"delta": {"conte\n\n')
    await stream.delta(content="This comes too late.")
    await stream.finish()


async def error_chunk(stream: Stream) -> None:
    await _some_words(stream)
    await stream.chunk(error={"message": "Upstream overloaded at 10.0.0.7", "type": "server_error", "code": 502})


async def split_utf8(stream: Stream) -> None:
    """Send every byte of some chunks alone, so that characters and lines are cut everywhere."""
    chunk = {"choices": [{"index": 0, "delta": {"content": texts.MANY_BYTES}, "finish_reason": None}]}
    for byte in f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode():
        await stream.raw(bytes([byte]))
    await stream.finish()


async def surrogates(stream: Stream) -> None:
    """Cut a surrogate pair into two chunks, and leave half of one alone."""
    await stream.raw(b'data: {"choices":[{"delta":{"content":"tree \\ud83c"}}]}\n\n')
    await stream.raw(b'data: {"choices":[{"delta":{"content":"\\udf33, half \\ud83c"}}]}\n\n')
    await stream.delta(content=" and nul \x00.")
    await stream.finish()


async def crlf(stream: Stream) -> None:
    """Speak Server-Sent Events with everything they allow: CRLF, comments, names, ids, no space after the colon."""
    await stream.raw(b": hello\r\n\r\nretry: 5000\r\nevent: message\r\nid: 7\r\n")
    await stream.raw(b'data:{"choices":[{"delta":{"content":"Well "}}]}\r')
    await stream.raw(b'\n\r\n:ping\rdata:  {"choices":[{"delta":{"content":"read."},"finish_reason":"stop"}]}\r\r')
    await stream.raw(b"data:[DONE]\r\n\r\n")


async def huge(stream: Stream) -> None:
    """Send one token of 300,000 characters."""
    await stream.delta(content=texts.HUGE)
    await stream.finish()


async def flood(stream: Stream) -> None:
    """Send a line that never ends."""
    await _some_words(stream)
    await stream.raw(b'data: {"choices":[{"delta":{"content":"')
    while True:
        await stream.raw(b"y" * 65_536)


async def empty(stream: Stream) -> None:
    await stream.delta(role="assistant", content="")
    await stream.finish()


async def filtered(stream: Stream) -> None:
    await _some_words(stream)
    await stream.finish("content_filter")


async def length(stream: Stream) -> None:
    await _some_words(stream)
    await stream.finish("length")


async def reasoning(stream: Stream) -> None:
    for piece in texts.pieces(texts.REASONING):
        await stream.delta(reasoning_content=piece)
        await asyncio.sleep(FAST)
    await good(stream)


async def tools(stream: Stream) -> None:
    """Ask for two tools, their arguments in pieces."""
    await stream.delta(content="I look it up.")
    for index, (name, arguments) in enumerate((("search", '{"q": "oak"}'), ("add", '{"a": 1, "b": 2}'))):
        start = {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": ""}}
        await stream.delta(tool_calls=[start])
        for piece in texts.pieces(arguments, 4):
            await stream.delta(tool_calls=[{"index": index, "function": {"arguments": piece}}])
    await stream.finish("tool_calls")


async def _some_words(stream: Stream) -> None:
    for word in ("These ", "words ", "came ", "through. "):
        await stream.delta(content=word)
        await asyncio.sleep(FAST)


SCRIPTS: dict[str, Script] = {
    "fake": good,
    "fake-slow": slow,
    "fake-canary": canary,
    "fake-gate": gate,
    "fake-patient": patient,
    "fake-recorded": recorded,
    "fake-counted": counted,
    "fake-silent": silent,
    "fake-stall": stall,
    "fake-endless": endless,
    "fake-plenty": plenty,
    "fake-reset": reset,
    "fake-nodone": no_done,
    "fake-cutline": cut_line,
    "fake-nolineend": no_line_end,
    "fake-lingering": lingering,
    "fake-malformed": malformed,
    "fake-errorchunk": error_chunk,
    "fake-splitutf8": split_utf8,
    "fake-surrogates": surrogates,
    "fake-crlf": crlf,
    "fake-huge": huge,
    "fake-flood": flood,
    "fake-empty": empty,
    "fake-filter": filtered,
    "fake-length": length,
    "fake-reason": reasoning,
    "fake-tools": tools,
    # Answers well, but only when stream_options is absent.
    "fake-nousage": good,
    # Answers well at every second call; the others are refused with 503.
    "fake-flaky": good,
}
