"""What is sent on the OpenAI wire: the body of a chat completion.

Not here: the network. What a server would refuse in general is left out or renamed here; what one model
refuses is learned from its refusal (`unwelcome_field`).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from apps.providers.base import ChatRequest

CONTINUE = (
    "Go on with your last message exactly where it ends, even inside a word. "
    "Repeat nothing of it, and say nothing about going on."
)

# OpenAI's own server refuses what others have added to the wire, and renamed the limit for its newer models.
# Source: API reference of chat completions, November 2026.
_STRICT_LEAVES_OUT = ("top_k", "repetition_penalty")
_STRICT_RENAMES = {"max_tokens": "max_completion_tokens"}

_UNWELCOME_CODES = ("unsupported_parameter", "unsupported_value")


def chat_body(request: ChatRequest, *, is_strict: bool, prefills: bool) -> dict[str, Any]:
    """Build the body of a streamed call.

    Shape: `is_strict` for OpenAI's own server. `prefills` says that the server goes on with a last message of
    the assistant by itself; where it does not, a continuation is asked for in words.
    """
    messages = [{"role": message.role, "content": message.content} for message in request.messages]
    if request.continuation and not prefills:
        messages.append({"role": "user", "content": CONTINUE})
    body: dict[str, Any] = {
        "model": request.model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    for field, value in asdict(request.sampling).items():
        if value is None or (is_strict and field in _STRICT_LEAVES_OUT):
            continue
        body[_STRICT_RENAMES.get(field, field) if is_strict else field] = value
    return body


def unwelcome_field(error: Any, body: dict[str, Any]) -> str | None:
    """Name the optional field of `body` that a refusal (status 400 or 422) is about, if it says so.

    Shape: `stream_options` is recognised by its name alone, the fields of sampling only where the server
    says that the model does not support them: a value out of range must stay an error.
    """
    said = str(error)
    if "stream_options" in body and "stream_options" in said:
        return "stream_options"
    if isinstance(error, dict) and error.get("code") in _UNWELCOME_CODES:
        field = error.get("param")
        if isinstance(field, str) and field in body and field not in ("model", "messages", "stream"):
            return field
    return None
