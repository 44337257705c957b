"""The built-in demo model: answers at once, needs no network and no key, and says what it is.

Not here: the words of its answers (demo_text.py).
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncGenerator, Iterator

from apps.providers import demo_text
from apps.providers.base import (
    ChatRequest,
    Finished,
    FinishReason,
    ModelInfo,
    ProviderEvent,
    ReasoningDelta,
    TextDelta,
    UsageReport,
)
from apps.providers.errors import ErrorKind, ProviderError, sentence

SLUG = "demo"
NAME = "The demo model"
MODEL = "bough"
DELTAS_PER_SECOND = 60.0
_SPEEDS = {"slow": 0.1, "normal": 1.0, "fast": 10.0}
_DELTAS_BEFORE_FAILURE = 6
# A word at most twelve characters long with the space before it; what is left of longer words; space at the end.
_PIECE = re.compile(r"\s*\S{1,12}|\s+\Z")


class DemoChat:
    """A language model made of templates, for a first look and for trying the program out.

    Shape: with `varies`, asking again gives other words, so that siblings differ; without, the same request
    gives the same words.
    Units: `deltas_per_second` is its ordinary pace; infinity answers without waiting.
    """

    slug = SLUG
    name = NAME

    def __init__(self, *, deltas_per_second: float = DELTAS_PER_SECOND, varies: bool = False) -> None:
        self._interval = 1 / deltas_per_second
        self._takes = itertools.cycle(range(demo_text.TAKES if varies else 1))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ProviderEvent, None]:
        """Answer with reasoning, Markdown and usage, as the last message of the user commands.

        Raises: ProviderError (overloaded) after a few words, if the user says "fail".
        """
        wish = demo_text.read_wish(request)
        limit = request.sampling.max_tokens
        interval = self._interval / _SPEEDS[wish.speed]
        loop = asyncio.get_running_loop()
        due = loop.time()
        given = 0
        reason: FinishReason = "stop"
        for event in self._deltas(request, wish):
            if given == limit:
                reason = "length"
                break
            # Counted from the first delta, so that late wake-ups do not add up.
            due += interval
            await asyncio.sleep(max(0.0, due - loop.time()))
            yield event
            given += 1
        yield Finished(reason)
        yield UsageReport(prompt_tokens=_count(request), completion_tokens=given)

    async def list_models(self) -> list[ModelInfo]:
        """List the one model there is."""
        return [ModelInfo(model_id=MODEL, name="Bough demo")]

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""

    def _deltas(self, request: ChatRequest, wish: demo_text.Wish) -> Iterator[TextDelta | ReasoningDelta]:
        # A title is no answer: it would put every second take aside.
        take = 0 if wish.is_title else next(self._takes)
        reasoning, text = demo_text.compose(request, wish, take)
        for piece in _PIECE.findall(reasoning):
            yield ReasoningDelta(piece)
        for number, piece in enumerate(_PIECE.findall(text)):
            if wish.fails and number == _DELTAS_BEFORE_FAILURE:
                raise ProviderError(ErrorKind.OVERLOADED, sentence(ErrorKind.OVERLOADED, name=self.name))
            yield TextDelta(piece)


def _count(request: ChatRequest) -> int:
    """Count the pieces of the prompt as if they were tokens."""
    return sum(len(_PIECE.findall(message.content)) for message in request.messages)
