"""The data of the events at both ends of an answer's stream; the deltas between them are written in api/events.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from apps.conversations.models import Generation, GenerationState
from apps.conversations.schemas.base import Answer
from apps.conversations.schemas.messages import Timings, Usage, timings_of, usage_of
from apps.conversations.services.endings import MESSAGE_STATUS

UNKNOWN_USAGE = Usage(prompt_tokens=None, completion_tokens=None, reasoning_tokens=None, cached_tokens=None)
UNKNOWN_TIMINGS = Timings(ttft_ms=None, duration_ms=None)


class StreamStart(Answer):
    generation_id: UUID
    message_id: UUID | None
    user_message_id: UUID | None = None


class StreamError(Answer):
    error: str
    message: str


class StreamEnd(Answer):
    status: str
    finish_reason: str | None = None
    leaf_id: UUID | None = None
    usage: Usage = UNKNOWN_USAGE
    timings: Timings = UNKNOWN_TIMINGS


def end_of(generation: Generation) -> tuple[StreamError | None, StreamEnd]:
    """Read how an answer ended, and what went wrong, if anything did; it must have ended."""
    message = generation.message
    status = MESSAGE_STATUS[GenerationState(generation.state)]
    if message is None:
        return None, StreamEnd(status=status)
    end = StreamEnd(
        status=status,
        finish_reason=message.finish_reason or None,
        leaf_id=generation.conversation.active_leaf_id,
        usage=usage_of(message),
        timings=timings_of(message),
    )
    return _error(message.error_code, message.error_message), end


def end_told(status: str, facts: Mapping[str, Any]) -> tuple[StreamError | None, StreamEnd]:
    """Say the same from what its runner told at the end (see leases.finish), without reading a row."""
    end = StreamEnd(
        status=status,
        finish_reason=facts["finish_reason"] or None,
        leaf_id=facts["leaf"],
        usage=Usage(**facts["usage"]),
        timings=Timings(ttft_ms=facts["ttft_ms"], duration_ms=facts["duration_ms"]),
    )
    return _error(facts["error_code"], facts["error_message"]), end


def _error(code: str, sentence: str) -> StreamError | None:
    return StreamError(error=code, message=sentence) if code else None
