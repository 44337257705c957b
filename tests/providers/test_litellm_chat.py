import asyncio
import contextlib
from datetime import date

import pytest

from apps.providers import litellm_chat
from apps.providers.base import ModelInfo, Sampling, TextDelta, ToolCallDelta
from apps.providers.errors import ErrorKind
from apps.providers.litellm_chat import LiteLLMChat, load_litellm
from tests.providers.streams import listen, request_for
from tests.upstream import texts


async def test_known_models_are_listed_without_importing_litellm_or_asking_anybody():
    models = await LiteLLMChat("anthropic", "Anthropic", "sk", "anthropic").list_models()
    assert ModelInfo("claude-sonnet-4-5", "claude-sonnet-4-5") in models
    assert [model.model_id for model in models] == sorted({model.model_id for model in models})
    gemini = await LiteLLMChat("gemini", "Gemini", "sk", "gemini").list_models()
    assert gemini
    assert not any("/" in model.model_id for model in gemini)


def test_withdrawn_models_are_not_listed():
    assert len(litellm_chat._known_models("anthropic", date(2020, 1, 1))) > len(
        litellm_chat._known_models("anthropic", date(2100, 1, 1))
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # litellm's own, which are many and not ours to mend
async def test_litellm_tells_the_same_story_as_our_own_reader(upstream):
    provider = LiteLLMChat("anthropic", "Anthropic", "sk-test", "openai", base_url=upstream.url)

    heard = await listen(
        provider, request_for("fake-reason", sampling=Sampling(temperature=0.2, repetition_penalty=1.1))
    )
    assert (heard.text, heard.reasoning, heard.reason) == (texts.ANSWER, texts.REASONING, "stop")
    assert (heard.usage.prompt_tokens, heard.usage.cached_tokens, heard.usage.reasoning_tokens) == (11, 3, 2)
    sent = upstream.requests[0]
    assert sent["headers"]["authorization"] == "Bearer sk-test"
    assert sent["body"]["temperature"] == 0.2
    assert "repetition_penalty" not in sent["body"]

    heard = await listen(provider, "fake-tools")
    calls = [event for event in heard.events if isinstance(event, ToolCallDelta)]
    assert (calls[0].index, calls[0].id, calls[0].name) == (0, "call_0", "search")
    assert "".join(call.arguments for call in calls if call.index == 1) == '{"a": 1, "b": 2}'
    assert heard.reason == "tool_calls"

    # litellm itself would report this as a clean stop.
    heard = await listen(provider, "fake-nodone")
    assert (heard.text, heard.reason, heard.error) == ("These words came through. ", None, None)

    assert await _kinds(provider) == {
        "fake-401": (ErrorKind.KEY_REFUSED, False),
        "fake-402": (ErrorKind.NO_CREDIT, False),
        "fake-403": (ErrorKind.KEY_REFUSED, False),
        "fake-404": (ErrorKind.MODEL_GONE, False),
        "fake-429": (ErrorKind.OVERLOADED, True),
        "fake-500": (ErrorKind.UNAVAILABLE, True),
        "fake-503": (ErrorKind.OVERLOADED, True),
        "fake-529": (ErrorKind.OVERLOADED, True),
        "fake-toolong": (ErrorKind.TOO_LONG, False),
        "fake-reset": (ErrorKind.CUT_OFF, False),
        "fake-malformed": (ErrorKind.CUT_OFF, False),
        "fake-errorchunk": (ErrorKind.OVERLOADED, True),
    }
    assert (await listen(provider, "fake-429")).error.retry_after == 1.0

    upstream.reset()
    async with contextlib.aclosing(provider.stream(request_for("fake-stall"))) as events:
        assert isinstance(await anext(events), TextDelta)
    await upstream.eventually(lambda: upstream.streams[0].end == "client_closed", patience=0.5)

    litellm = load_litellm()
    told = {
        litellm.Timeout: ErrorKind.TIMED_OUT,
        litellm.ContextWindowExceededError: ErrorKind.TOO_LONG,
        litellm.ContentPolicyViolationError: ErrorKind.FILTERED,
    }
    for error, kind in told.items():
        assert litellm_chat._kind(litellm, error("told", "model", "anthropic")) is kind

    upstream.stop()
    assert (await listen(provider, "fake")).error.kind is ErrorKind.UNAVAILABLE
    await provider.aclose()
    await load_litellm().close_litellm_async_clients()
    await asyncio.sleep(0)


async def _kinds(provider):
    models = ["401", "402", "403", "404", "429", "500", "503", "529", "toolong", "reset", "malformed", "errorchunk"]
    found = {}
    for model in models:
        error = (await listen(provider, f"fake-{model}")).error
        assert "sk-secret" not in error.message
        found[f"fake-{model}"] = (error.kind, error.retryable)
    return found
