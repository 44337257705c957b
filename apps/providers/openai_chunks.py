"""The stream of the OpenAI wire: bytes in, events out, however the bytes were cut. No network here.

Every server that copied this wire bends it a little: what real ones are known to send is read, what cannot
be read raises MalformedChunk or CutChunk, and what the server itself reports as an error raises ErrorChunk.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from apps.providers.base import (
    Finished,
    FinishReason,
    ProviderEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)

# A line is a chunk, as a rule a single token. Whatever is longer than this is a fault or an attack.
LINE_LIMIT = 8 * 1024 * 1024  # bytes

# Servers name reasons of their own; an unknown one still says that the answer came to its end: "stop".
_FINISH_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}

# No database stores a NUL in text, no encoder takes half a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


class MalformedChunk(ValueError):
    """The stream does not have the form of the wire."""


class CutChunk(Exception):
    """The stream ended inside a line."""


class ErrorChunk(Exception):
    """The server reports an error inside the stream; `error` is what stood there, as JSON gives it."""

    def __init__(self, error: Any) -> None:
        super().__init__("the stream holds an error")
        self.error = error


class ChunkReader:
    """Read the body of one streamed answer.

    Shape: `feed` takes the bytes in any cuts, then `end` once. After "[DONE]" `is_done` is true and
    whatever follows is ignored. No text holds a NUL or a lone surrogate.
    """

    def __init__(self, *, line_limit: int = LINE_LIMIT) -> None:
        self.is_done = False
        self._line_limit = line_limit
        # The line not yet ended, in pieces: joining at each one would cost the square of a huge line's length.
        self._open: list[bytes] = []
        self._open_bytes = 0
        self._is_finished = False
        self._usage: UsageReport | None = None
        self._text = _Mender()
        self._reasoning = _Mender()

    def feed(self, piece: bytes) -> Iterator[ProviderEvent]:
        """Take the next bytes and give the events they complete, those before a fault too.

        Raises: MalformedChunk, ErrorChunk.
        """
        if b"\r" in piece:
            # All three ends of a line that Server-Sent Events allow; a pair cut in two gives a blank line: harmless.
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = piece.split(b"\n")
        rest = lines.pop()
        if lines and self._open:
            lines[0] = self._close_line(lines[0])
        for line in lines:
            if line:
                yield from self._read_line(line)
        if rest:
            self._open.append(rest)
            self._open_bytes += len(rest)
            if self._open_bytes > self._line_limit:
                raise MalformedChunk("a line is too long")

    def end(self) -> Iterator[ProviderEvent]:
        """Give what was held back; call once the body has ended.

        Raises: CutChunk if it ended inside a line, ErrorChunk.
        """
        if self._open:
            try:
                yield from self._read_line(self._close_line(b""))
            except MalformedChunk as fault:
                raise CutChunk("the stream ended inside a line") from fault
        for mender, event in ((self._reasoning, ReasoningDelta), (self._text, TextDelta)):
            if held := mender.release():
                yield event(held)

    def _close_line(self, last: bytes) -> bytes:
        line = b"".join([*self._open, last])
        self._open.clear()
        self._open_bytes = 0
        return line

    def _read_line(self, line: bytes) -> list[ProviderEvent]:
        if line.startswith(b"data:"):
            line = line[5:]
        elif not line.startswith(b"{"):
            # Comments, event names, ids, retry times. A line that is bare JSON is how some servers put an error.
            return []
        data = line.decode("utf-8", "replace").strip()
        if not data or self.is_done:
            return []
        if data == "[DONE]":
            self.is_done = True
            return []
        try:
            return self._read_chunk(json.loads(data))
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as fault:
            raise MalformedChunk("a chunk is not of the wire's form") from fault

    def _read_chunk(self, chunk: Any) -> list[ProviderEvent]:
        events: list[ProviderEvent] = []
        if chunk.get("error"):
            raise ErrorChunk(chunk["error"])
        if choices := chunk.get("choices"):
            self._read_choice(choices[0], events)
        if usage := chunk.get("usage"):
            self._read_usage(usage, events)
        return events

    def _read_choice(self, choice: Any, events: list[ProviderEvent]) -> None:
        # "message" stands where a server answers in one piece although a stream was asked for.
        if delta := choice.get("delta") or choice.get("message"):
            if reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
                self._add_reasoning(reasoning, events)
            if content := delta.get("content") or delta.get("refusal"):
                self._add_content(content, events)
            for position, call in enumerate(delta.get("tool_calls") or ()):
                events.append(_tool_call(call, position))
        if (reason := choice.get("finish_reason")) and not self._is_finished:
            if reason == "error":
                raise ErrorChunk(choice.get("error"))
            self._is_finished = True
            events.append(Finished(finish_reason(reason)))

    def _add_content(self, content: str | list[Any], events: list[ProviderEvent]) -> None:
        if isinstance(content, list):
            # Mistral's reasoning models: typed parts in place of text.
            for part in content:
                if part["type"] == "thinking":
                    self._add_reasoning("".join(piece["text"] for piece in part["thinking"]), events)
                else:
                    self._add_content(part["text"], events)
        elif text := self._text.mend(content):
            events.append(TextDelta(text))

    def _add_reasoning(self, reasoning: str, events: list[ProviderEvent]) -> None:
        if text := self._reasoning.mend(reasoning):
            events.append(ReasoningDelta(text))

    def _read_usage(self, usage: Any, events: list[ProviderEvent]) -> None:
        of_prompt = usage.get("prompt_tokens_details") or {}
        of_completion = usage.get("completion_tokens_details") or {}
        report = UsageReport(
            prompt_tokens=_count(usage.get("prompt_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
            reasoning_tokens=_count(of_completion.get("reasoning_tokens")),
            # DeepSeek counts its cache under a name of its own.
            cached_tokens=_count(of_prompt.get("cached_tokens", usage.get("prompt_cache_hit_tokens"))),
        )
        # Some servers repeat the count in each chunk.
        if report != self._usage:
            self._usage = report
            events.append(report)


def finish_reason(reason: str) -> FinishReason:
    """Translate a server's word for why the answer ended."""
    return _FINISH_REASONS.get(reason, "stop")


class _Mender:
    """Make text storable: join surrogate pairs that were cut into two deltas, replace what stays broken."""

    def __init__(self) -> None:
        self._held = ""

    def mend(self, text: str) -> str:
        if not self._held and not _UNSTORABLE.search(text):
            return text
        text = self._held + text
        self._held = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
        return _mended(text.removesuffix(self._held))

    def release(self) -> str:
        held, self._held = self._held, ""
        return _mended(held)


def _mended(text: str) -> str:
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return joined.replace("\x00", _REPLACEMENT)


def _tool_call(call: Any, position: int) -> ToolCallDelta:
    function = call.get("function") or {}
    index = call.get("index")
    return ToolCallDelta(
        index=position if index is None else int(index),
        id=_mended(call.get("id") or "") or None,
        name=_mended(function.get("name") or "") or None,
        arguments=_mended(function.get("arguments") or ""),
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
