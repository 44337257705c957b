"""Chat with providers that do not speak the OpenAI wire, through litellm: the one place that imports it.

The import costs seconds of CPU and 170 MB: it comes with the first answer, or early by `load_litellm`.
Not here: the OpenAI wire (openai_wire.py), which costs a fraction per delta.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from apps.providers import openai_refusals
from apps.providers.base import (
    ChatRequest,
    Finished,
    ModelInfo,
    ProviderEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from apps.providers.errors import ErrorKind, ProviderError, cut_off, sentence
from apps.providers.openai_chunks import finish_reason
from apps.providers.openai_requests import chat_body

# What litellm needs to hear before its import: no price table, header list or .env file from elsewhere.
_QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
}
_MODELS_FILE = "model_prices_and_context_window_backup.json"


@cache
def load_litellm() -> Any:
    """Import litellm; call it at the start of a process that will need it, before any answer runs.

    Effects: seconds of CPU at the first call; sets environment variables that keep it off the network.
    """
    os.environ.update(_QUIET)
    import litellm  # noqa: PLC0415

    litellm.suppress_debug_info = True
    return litellm


class LiteLLMChat:
    """One provider behind litellm.

    Shape: `prefix` is litellm's own name for the provider, the part before the slash in its model names.
    `base_url` replaces the provider's own address.
    """

    def __init__(self, slug: str, name: str, api_key: str, prefix: str, *, base_url: str | None = None) -> None:
        self.slug = slug
        self.name = name
        self._api_key = api_key
        self._prefix = prefix
        self._base_url = base_url

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ProviderEvent, None]:
        """Ask for one answer and give its events as they arrive.

        Raises: ProviderError. There is no limit of time between events: callers have their own.
        """
        litellm = await asyncio.to_thread(load_litellm)
        has_begun = False
        try:
            async with aclosing(await litellm.acompletion(**self._call(request))) as answer:
                async for chunk in answer:
                    for event in _events(chunk):
                        has_begun = True
                        yield event
        except litellm.exceptions.openai.OpenAIError as fault:
            # The base of all of litellm's errors; from None, because their text holds what the provider sent.
            raise _translate(litellm, fault, name=self.name, model=request.model, has_begun=has_begun) from None
        # litellm makes up a "stop" where the provider just hung up; this is what the provider really said.
        if answer.received_finish_reason is not None:
            yield Finished(finish_reason(answer.received_finish_reason))

    async def list_models(self) -> list[ModelInfo]:
        """List the provider's chat models that litellm's own table knows, without those already withdrawn.

        Shape: by name. Effects: reads a file in a thread; neither imports litellm nor asks the provider.
        """
        return await asyncio.to_thread(_known_models, self._prefix, datetime.now(UTC).date())

    async def aclose(self) -> None:
        """Do nothing: litellm keeps its connections to itself."""

    def _call(self, request: ChatRequest) -> dict[str, Any]:
        body = chat_body(request, is_strict=False, prefills=False)
        body["model"] = f"{self._prefix}/{request.model}"
        # Not in the list of what litellm translates or drops, so it would reach servers that refuse it.
        body.pop("repetition_penalty", None)
        return body | {
            "api_key": self._api_key,
            "base_url": self._base_url,
            "max_retries": 0,
            "num_retries": 0,
            # What a model does not take is left out instead of refused.
            "drop_params": True,
        }


def _translate(litellm: Any, fault: Any, *, name: str, model: str, has_begun: bool) -> ProviderError:
    kind = _kind(litellm, fault)
    if kind is ErrorKind.CUT_OFF:
        return cut_off(name=name, has_begun=has_begun)
    headers = getattr(fault, "litellm_response_headers", None) or {}
    return ProviderError(
        kind,
        sentence(kind, name=name, model=model),
        retry_after=openai_refusals.read_retry_after(headers, now=datetime.now(UTC)),
        status=getattr(fault, "status_code", None),
    )


def _kind(litellm: Any, fault: Any) -> ErrorKind:
    if isinstance(fault, litellm.Timeout):
        return ErrorKind.TIMED_OUT
    if isinstance(fault, litellm.ContextWindowExceededError):
        return ErrorKind.TOO_LONG
    if isinstance(fault, litellm.ContentPolicyViolationError):
        return ErrorKind.FILTERED
    said = str(fault)
    if isinstance(fault, litellm.exceptions.MidStreamFallbackError):
        # Resets, broken chunks and errors inside the stream all look the same here but for their words.
        return openai_refusals.kind_by_words(said) or ErrorKind.CUT_OFF
    if "Connection error" in said or "Cannot connect" in said:
        return ErrorKind.UNAVAILABLE
    return openai_refusals.classify(said, getattr(fault, "status_code", 500))


def _events(chunk: Any) -> Iterator[ProviderEvent]:
    for choice in chunk.choices[:1]:
        delta = choice.delta
        if reasoning := getattr(delta, "reasoning_content", None):
            yield ReasoningDelta(reasoning)
        if delta.content:
            yield TextDelta(delta.content)
        for call in delta.tool_calls or ():
            function = call.function
            yield ToolCallDelta(call.index, call.id or None, function.name or None, function.arguments or "")
    if usage := getattr(chunk, "usage", None):
        of_prompt = getattr(usage, "prompt_tokens_details", None)
        of_completion = getattr(usage, "completion_tokens_details", None)
        yield UsageReport(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            reasoning_tokens=of_completion and of_completion.reasoning_tokens,
            cached_tokens=of_prompt and of_prompt.cached_tokens,
        )


def _table() -> dict[str, dict[str, Any]]:
    # Found by the distribution: importing the package, even for its resources alone, is what costs.
    file = importlib.metadata.distribution("litellm").locate_file(f"litellm/{_MODELS_FILE}")
    table: dict[str, dict[str, Any]] = json.loads(Path(str(file)).read_bytes())
    return table


def _known_models(prefix: str, today: date) -> list[ModelInfo]:
    # Some stand there twice, with and without the prefix.
    names = {
        key.removeprefix(f"{prefix}/")
        for key, entry in _table().items()
        if entry.get("litellm_provider") == prefix
        and entry.get("mode") == "chat"
        and entry.get("deprecation_date", "9999") > today.isoformat()
    }
    return [ModelInfo(model_id=name, name=name) for name in sorted(names)]
