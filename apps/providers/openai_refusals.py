"""What a server of the OpenAI wire says when it does not answer, put into our kinds of error.

Not here: the network, and the words for readers (errors.py). Nothing the server wrote goes into a message:
it may hold keys, addresses or parts of the conversation.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from apps.providers.errors import ErrorKind, ProviderError, sentence

# Looked for in the error's code, type and text, in this order, whatever the status: servers disagree about
# statuses much more than about words. Source: error pages of OpenAI, Azure, OpenRouter, Groq, Mistral,
# DeepSeek, Anthropic and the sources of vLLM, llama.cpp and Ollama, as of November 2026.
_WORDS: tuple[tuple[ErrorKind, tuple[str, ...]], ...] = (
    (
        ErrorKind.NO_CREDIT,
        (
            "insufficient_quota",
            "insufficient balance",
            "insufficient credits",
            "billing_hard_limit_reached",
            "credit balance is too low",
            "requires more credits",
        ),
    ),
    (
        ErrorKind.TOO_LONG,
        (
            "context_length_exceeded",
            "context length",
            "context window",
            "context size",
            "exceed_context_size",
            "prompt is too long",
            "too many tokens",
            "reduce the length of the messages",
        ),
    ),
    (
        ErrorKind.FILTERED,
        (
            "content_filter",
            "content_policy_violation",
            "content management policy",
            "responsibleaipolicyviolation",
            "moderation",
            "was flagged",
        ),
    ),
    (ErrorKind.MODEL_GONE, ("model_not_found", "model_decommissioned", "model_not_available", "not a valid model")),
    (ErrorKind.KEY_REFUSED, ("invalid_api_key", "incorrect api key", "api key not valid", "authentication_error")),
    (ErrorKind.RATE_LIMITED, ("rate_limit_exceeded", "rate_limit_error", "resource_exhausted")),
    (ErrorKind.OVERLOADED, ("overloaded", "engine is currently busy", "no slot available")),
)

_STATUSES = {
    401: ErrorKind.KEY_REFUSED,
    402: ErrorKind.NO_CREDIT,
    403: ErrorKind.KEY_REFUSED,
    404: ErrorKind.MODEL_GONE,
    408: ErrorKind.TIMED_OUT,
    410: ErrorKind.MODEL_GONE,
    413: ErrorKind.TOO_LONG,
    429: ErrorKind.OVERLOADED,
    503: ErrorKind.OVERLOADED,
    504: ErrorKind.TIMED_OUT,
    529: ErrorKind.OVERLOADED,
}


def read_refusal(
    status: int, body: bytes, headers: Mapping[str, str], *, name: str, model: str, now: datetime | None = None
) -> ProviderError:
    """Say what an HTTP status other than 200 means.

    Shape: `body` may be cut short, empty or of any form; `headers` must not mind case.
    """
    kind = classify(error_in(body), status)
    return ProviderError(
        kind,
        _words(kind, status, name=name, model=model),
        retry_after=read_retry_after(headers, now=now or datetime.now(UTC)),
        status=status,
    )


def read_error_chunk(error: Any, *, name: str, model: str) -> ProviderError:
    """Say what an error inside a stream that began well means."""
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code <= 599 else None
    kind = classify(error, status or 500)
    return ProviderError(kind, _words(kind, status or 500, name=name, model=model), status=status)


def error_in(body: bytes) -> Any:
    """Find the error in the body of a refusal: the object under "error", else what there is, else None."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, list):  # Gemini's own habit on this wire
        found = found[0] if found else None
    return found.get("error") or found if isinstance(found, dict) else found


def classify(error: Any, status: int) -> ErrorKind:
    """Choose the kind: by the words of the error, else by the status."""
    if kind := kind_by_words(_said(error)):
        return kind
    return _STATUSES.get(status, ErrorKind.UNAVAILABLE if status >= 500 else ErrorKind.BAD_REQUEST)


def kind_by_words(said: str) -> ErrorKind | None:
    """Choose the kind by what an error says of itself in codes and sentences, if that is telling."""
    said = said.lower()
    return next((kind for kind, words in _WORDS if any(word in said for word in words)), None)


def read_retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Read how long the server asks us to wait, in seconds from `now`; None if it says nothing readable."""
    milliseconds = _seconds(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "")
    seconds = _seconds(value)
    if seconds is not None or not value:
        return seconds
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:  # "-0000": the time is UTC, the zone unknown
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())


def _seconds(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None


def _said(error: Any) -> str:
    """Join what an error says of itself."""
    if isinstance(error, dict):
        return " ".join(str(error.get(key, "")) for key in ("code", "type", "message", "detail"))
    return str(error)


def _words(kind: ErrorKind, status: int, *, name: str, model: str) -> str:
    if kind is ErrorKind.UNAVAILABLE:
        # It was reached, so the usual sentence would send the reader to look for a fault in the network.
        return f"{name} failed with an error of its own ({status})."
    return sentence(kind, name=name, model=model)
