"""Reading a provider's whole answer in one expression."""

from __future__ import annotations

from dataclasses import dataclass, field

from apps.providers.base import (
    ChatMessage,
    ChatProvider,
    ChatRequest,
    Finished,
    ProviderEvent,
    ReasoningDelta,
    Sampling,
    TextDelta,
    UsageReport,
)
from apps.providers.errors import ProviderError


@dataclass
class Heard:
    """All that came, and the error it ended with, if any."""

    events: list[ProviderEvent] = field(default_factory=list)
    error: ProviderError | None = None

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def reasoning(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, ReasoningDelta))

    @property
    def reason(self) -> str | None:
        return next((event.reason for event in self.events if isinstance(event, Finished)), None)

    @property
    def usage(self) -> UsageReport | None:
        return next((event for event in reversed(self.events) if isinstance(event, UsageReport)), None)


def request_for(model: str, text: str = "Hello", *, sampling: Sampling | None = None) -> ChatRequest:
    return ChatRequest(model, (ChatMessage("user", text),), sampling=sampling or Sampling())


async def listen(provider: ChatProvider, request: ChatRequest | str) -> Heard:
    """Read an answer to its end or its error."""
    heard = Heard()
    if isinstance(request, str):
        request = request_for(request)
    try:
        async for event in provider.stream(request):
            heard.events.append(event)
    except ProviderError as error:
        heard.error = error
    return heard
