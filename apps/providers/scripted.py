"""A provider that plays what a test wrote down. Not for use outside tests and offline development."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from apps.providers.base import ChatRequest, ModelInfo, ProviderEvent, TextDelta
from apps.providers.errors import ProviderError

# Text is short for a TextDelta. At an asyncio.Event the stream waits until the test sets it.
Step = ProviderEvent | ProviderError | asyncio.Event | str


class ScriptedChat:
    """Answer each call with the next script; the last one serves all further calls.

    Shape: `requests` holds every request in order; `open_streams` counts those running now,
    `closed_early` those that their reader closed or cancelled before the end.
    """

    def __init__(
        self,
        *scripts: Sequence[Step],
        slug: str = "scripted",
        name: str = "Scripted",
        models: Sequence[str] = ("model",),
    ) -> None:
        self.slug = slug
        self.name = name
        self.models = tuple(models)
        self.scripts: list[Sequence[Step]] = list(scripts)
        self.requests: list[ChatRequest] = []
        self.open_streams = 0
        self.closed_early = 0
        self._changed = asyncio.Event()

    def add(self, *scripts: Sequence[Step]) -> None:
        """Put scripts behind those already there."""
        self.scripts.extend(scripts)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ProviderEvent, None]:
        """Play the next script."""
        script = self._next_script()
        self.requests.append(request)
        self.open_streams += 1
        self._changed.set()
        ended = False
        try:
            for step in script:
                if isinstance(step, ProviderError):
                    ended = True
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    yield TextDelta(step) if isinstance(step, str) else step
            ended = True
        finally:
            self.open_streams -= 1
            self.closed_early += not ended
            self._changed.set()

    async def called(self, times: int = 1) -> None:
        """Wait until that many calls have begun."""
        while len(self.requests) < times:
            await self._change()

    async def idle(self) -> None:
        """Wait until no stream is running."""
        while self.open_streams:
            await self._change()

    async def list_models(self) -> list[ModelInfo]:
        """List the models given at the start."""
        return [ModelInfo(model_id=model, name=model) for model in self.models]

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""

    def _next_script(self) -> Sequence[Step]:
        if not self.scripts:
            raise LookupError("ScriptedChat was called without a script")
        return self.scripts[min(len(self.requests), len(self.scripts) - 1)]

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
