"""Writing one answer: from a claimed generation through the provider's events to its ending. No loop over many here."""

from __future__ import annotations

import asyncio
import math
import random
import time
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from apps.conversations.models import Generation, GenerationState
from apps.conversations.models.message import joined_text
from apps.conversations.runner.limits import Limits
from apps.conversations.services.endings import Ending, Lease
from apps.conversations.services.leases import Progress
from apps.providers import registry
from apps.providers.base import ChatProvider, ChatRequest, Finished, ReasoningDelta, TextDelta, UsageReport
from apps.providers.errors import ErrorKind, ProviderError
from apps.streaming.answers import LiveAnswer, PartText

TIMED_OUT = "timed_out"
# Why a runner ends an answer of its own accord: state, finish reason, code, sentence.
STOPPED = (GenerationState.STOPPED, "user_stopped", "", "")
RESTARTING = (GenerationState.INTERRUPTED, "", "restarted", "The server restarted. The text so far is kept.")
NO_FIRST = (GenerationState.FAILED, "", TIMED_OUT, "The model did not begin to answer in time.")
NO_MORE = (GenerationState.FAILED, "", TIMED_OUT, "The model stopped sending. The text so far is kept.")
TOO_SLOW = (GenerationState.FAILED, "time_limit", TIMED_OUT, "The answer took too long. The text so far is kept.")
TOO_LARGE = (
    GenerationState.FAILED,
    "size_limit",
    "answer_too_long",
    "The answer grew too long. The text so far is kept.",
)
CUT_SHORT = (GenerationState.INTERRUPTED, "", "cut_off", "The connection to the model broke. The text so far is kept.")
BROKEN = (GenerationState.FAILED, "", "internal", "Something broke on our side. The text so far is kept.")

Outcome = tuple[str, str, str, str]


class AnswerWriter:
    """One answer being written; the runner flushes, keeps and ends it.

    `wants` says why it should end, if anybody asked; `dirty` that there is text the row lacks; `turn` when it is flushed;
    `is_lost` that somebody else has ended it, so that nothing more of it is shown.
    """

    turn = 0

    def __init__(self, generation: Generation, *, owner: str, limits: Limits) -> None:
        self.generation = generation
        self.lease = Lease(generation.pk, owner, generation.attempt)
        self.limits = limits
        self.message = generation.message
        self._stored = list(self.message.parts) if self.message else []
        shown = [PartText(part["type"], part["text"]) for part in self._stored]
        self.live = LiveAnswer(str(generation.pk), generation.attempt, shown)
        self.size = sum(len(part.text.encode()) for part in shown)
        self.started = self.last_event = time.monotonic()
        self.first_delta: float | None = None
        self.first_delta_at: datetime | None = None
        self.first_kept = False
        self.dirty = False
        self.is_lost = False
        self.wants: Outcome | None = None
        self.usage = UsageReport()
        self.finish_reason = ""
        self._reading: asyncio.Task[Outcome] | None = None
        self._thinking_since: float | None = None
        self._thought: dict[int, int] = {}

    # --- what the runner asks ------------------------------------------------------------------------------------

    def end(self, why: Outcome) -> None:
        """Ask the answer to end for a reason; the first reason counts. Effects: the upstream connection is closed."""
        if self.wants is None:
            self.wants = why
            if self._reading is not None:
                self._reading.cancel()

    def check_time(self, now: float) -> None:
        """End the answer if the provider has been silent, or it has gone on, for too long."""
        if self.first_delta is None and now - self.started > self.limits.first_delta_seconds:
            self.end(NO_FIRST)
        elif self.first_delta is not None and now - self.last_event > self.limits.between_deltas_seconds:
            self.end(NO_MORE)
        elif now - self.started > self.limits.total_seconds:
            self.end(TOO_SLOW)

    def progress(self) -> Progress:
        """Give what a checkpoint has to keep, and count it as kept."""
        self.dirty = False
        first, self.first_kept = not self.first_kept, True
        assert self.message is not None
        return Progress(self.lease, self.message.pk, self.parts(), first)

    def parts(self) -> list[dict[str, Any]]:
        """Give the parts as a message stores them."""
        rows = []
        for index, part in enumerate(self.live.parts):
            before = self._stored[index] if index < len(self._stored) else {}
            row = {**before, "type": part.kind, "text": part.text}
            if index in self._thought:
                row["durationMs"] = self._thought[index]
            rows.append(row)
        return rows

    # --- writing -------------------------------------------------------------------------------------------------

    async def write(
        self, request: ChatRequest, provider: ChatProvider, *, on_delta: Any, on_first: Any, on_status: Any
    ) -> Ending:
        """Read the provider until the answer ends, however that comes, and say how it ended.

        `on_first` is awaited with the first delta, `on_delta` called with each further one; `on_status` with what the
        answer does while no text comes (`status` of streaming/bus.py).
        """
        self._on_delta, self._on_first, self._on_status = on_delta, on_first, on_status
        self._reading = asyncio.create_task(self._read_with_retries(request, provider))
        if self.wants is not None:  # asked to end before it began
            self._reading.cancel()
        await asyncio.wait({self._reading})
        return self.ended_by(self._outcome(self._reading))

    def _outcome(self, reading: asyncio.Task[Outcome]) -> Outcome:
        if reading.cancelled():
            return self.wants or RESTARTING
        error = reading.exception()
        if error is None:
            return reading.result()
        raise error

    def refused(self, error: ProviderError) -> Ending:
        """Say how an answer ended that its provider refused."""
        kept = " The text so far is kept." if self.first_delta is not None else ""
        return self.ended_by((GenerationState.FAILED, "", error.kind.value, error.message[:400] + kept))

    async def _read_with_retries(self, request: ChatRequest, provider: ChatProvider) -> Outcome:
        for tries_left in range(self.limits.retries, -1, -1):
            try:
                return await self._read(request, provider)
            except ProviderError as error:
                # After the first delta never again: text already read is not rewritten, and nobody pays twice.
                if self.first_delta is not None or not error.retryable or not tries_left:
                    raise
                pause = _pause(error, self.limits.retries - tries_left)
                self._say("retrying", text=error.message, seconds=math.ceil(pause))
                await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def _read(self, request: ChatRequest, provider: ChatProvider) -> Outcome:
        async with aclosing(provider.stream(request)) as events:
            async for event in events:
                self.last_event = time.monotonic()
                if isinstance(event, TextDelta):
                    await self._add("text", event.text)
                elif isinstance(event, ReasoningDelta):
                    if self._thinking_since is None:
                        self._say("thinking")
                    await self._add("reasoning", event.text)
                elif isinstance(event, UsageReport):
                    self.usage = event
                elif isinstance(event, Finished):
                    self.finish_reason = event.reason
                if self.size >= self.limits.answer_bytes:
                    return TOO_LARGE
        return self._read_to_end()

    def _say(self, word: str, **more: Any) -> None:
        self._on_status(self, {"type": "status", "word": word, **more})

    def _read_to_end(self) -> Outcome:
        if not self.finish_reason:
            return CUT_SHORT
        if self.finish_reason == "content_filter":
            return (
                GenerationState.FAILED,
                "content_filter",
                ErrorKind.FILTERED.value,
                "The provider withheld this answer.",
            )
        if not joined_text(self.parts()).strip():
            said = f"The model returned nothing (stop reason: {self.finish_reason})."
            return (GenerationState.FAILED, self.finish_reason, "empty", said)
        return (GenerationState.COMPLETED, self.finish_reason, "", "")

    async def _add(self, kind: str, text: str) -> None:
        text, size = _storable(text, self.limits.answer_bytes - self.size)
        if not text:
            return
        self.size += size
        self.live.add(kind, text)
        self.dirty = True
        if kind == "reasoning":
            self._thinking_since = self._thinking_since or self.last_event
            self._thought[len(self.live.parts) - 1] = int((self.last_event - self._thinking_since) * 1000)
        else:
            self._thinking_since = None
        if self.first_delta is None:
            self.first_delta, self.first_delta_at = self.last_event, timezone.now()
            await self._on_first(self)
        else:
            self._on_delta(self)

    def ended_by(self, outcome: Outcome) -> Ending:
        """Say how an answer ended, with everything written so far."""
        state, reason, code, sentence = outcome
        ttft = self.first_delta_at - self.generation.queued_at if self.first_delta_at else None
        assert self.message is not None
        return Ending(
            lease=self.lease,
            message_id=self.message.pk,
            conversation_id=self.generation.conversation_id,
            state=state,
            parts=self.parts(),
            finish_reason=reason,
            error_code=code,
            error_message=sentence,
            usage={
                "prompt_tokens": _countable(self.usage.prompt_tokens),
                "completion_tokens": _countable(self.usage.completion_tokens),
                "reasoning_tokens": _countable(self.usage.reasoning_tokens),
                "cached_tokens": _countable(self.usage.cached_tokens),
            },
            ttft_ms=_milliseconds(ttft) if ttft is not None else None,
            duration_ms=_milliseconds(timezone.now() - self.generation.queued_at),
            first_delta_at=self.first_delta_at,
            adds=bool(self.generation.request.get("continuation")),
        )


def provider_for(model: str) -> tuple[ChatProvider, str]:
    """Find the provider of "provider/model". Raises: ProviderError if there is none any more."""
    slug, name = registry.split_model(model)
    provider = registry.current().get(slug)
    if provider is None:
        raise ProviderError(ErrorKind.MODEL_GONE, f"{model} is no longer offered here.")
    return provider, name


def _storable(text: str, room: int) -> tuple[str, int]:
    """Cut a delta to the room left, in bytes, and mend what no database stores: NUL and lone surrogates."""
    if text.isascii():
        text = text.replace("\x00", "")[:room] if "\x00" in text else text[:room]
        return text, len(text)
    whole = text.replace("\x00", "").encode("utf-8", "replace")
    if len(whole) > room:
        whole = whole[:room].decode("utf-8", "ignore").encode()
    return whole.decode(), len(whole)


def _countable(tokens: int | None) -> int | None:
    """Keep a provider's count within what the column holds."""
    return None if tokens is None else max(0, min(tokens, 2**31 - 1))


def _milliseconds(span: timedelta) -> int:
    """Measure a span; a clock that was set back in between gives 0."""
    return max(0, min(int(span.total_seconds() * 1000), 2**31 - 1))


def _pause(error: ProviderError, tried: int) -> float:
    """Seconds to wait before trying again: what the provider asks for, at most 10, else doubling; with jitter."""
    if error.retry_after is not None:
        return min(error.retry_after, 10.0) + random.uniform(0, 0.2)
    return random.uniform(0.2, 0.4) * 2**tried
