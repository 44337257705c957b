"""What a provider is: the protocol, the request and the events of an answer.

Not here: any provider, any network, any error (see errors.py).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "content_filter", "tool_calls"]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message as a language model is sent it."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a language model chooses its words; None is not sent, so the provider's own default holds."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One call of a language model.

    Shape: `model` is the provider's own id, without our "provider/" in front. With `continuation` the
    last message is the assistant's text so far, and the answer goes on from its last character. A caller who passes
    text on now and then may give `pace`: a provider that can, awaits it between its readings, once it has said something.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    sampling: Sampling = Sampling()
    continuation: bool = False
    pace: Callable[[], Awaitable[object]] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Text of the answer as it arrives; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """Text of the reasoning as it arrives; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call; pieces with the same index belong together.

    Shape: `id` and `name` come once, as a rule with the first piece, and are None in the others;
    the `arguments` of all pieces joined are JSON.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What the call has used so far, as the provider counts; None is unknown. A later report replaces an earlier one.

    Units: tokens. `reasoning_tokens` are part of `completion_tokens`, `cached_tokens` of `prompt_tokens`.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The language model's own word that the answer has ended, and why; at most one, after the last delta."""

    reason: FinishReason


ProviderEvent = TextDelta | ReasoningDelta | ToolCallDelta | UsageReport | Finished


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A language model as its provider lists it; `model_id` without our "provider/" in front."""

    model_id: str
    name: str


class ChatProvider(Protocol):
    """A server of language models that can chat."""

    slug: str
    name: str

    def stream(self, request: ChatRequest) -> AsyncGenerator[ProviderEvent, None]:
        """Ask for one answer and give its events as they arrive.

        Shape: a `UsageReport` may come after `Finished`. An end without `Finished` is an answer cut short
        without the provider saying so.
        Raises: ProviderError, before or after any event; never retries on its own.
        Effects: closing the generator (`contextlib.aclosing`) or cancelling closes the upstream connection at once.
        """
        ...

    async def list_models(self) -> list[ModelInfo]:
        """List what the provider serves now.

        Shape: the provider's own order; may be empty.
        Raises: ProviderError.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections that the running event loop holds; safe to repeat."""
        ...
