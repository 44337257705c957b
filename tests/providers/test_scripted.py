import asyncio
import contextlib

import pytest

from apps.providers.base import Finished, ModelInfo, ReasoningDelta, TextDelta
from apps.providers.errors import ErrorKind, ProviderError
from apps.providers.scripted import ScriptedChat
from tests.providers.streams import listen, request_for


async def test_scripts_are_played_in_a_row_and_the_last_one_again():
    chat = ScriptedChat(["One"], ["Two", Finished("stop")])
    assert [(await listen(chat, "model")).text for _ in range(3)] == ["One", "Two", "Two"]
    chat.add(["Three"])
    chat.add(["Four"])
    assert (await listen(chat, "model")).text == "Four"
    assert len(chat.requests) == 4


async def test_events_and_errors_come_as_written():
    chat = ScriptedChat([ReasoningDelta("Hm"), "Good ", ProviderError(ErrorKind.OVERLOADED), "never"])
    heard = await listen(chat, request_for("model", "Hi"))
    assert heard.events == [ReasoningDelta("Hm"), TextDelta("Good ")]
    assert heard.error.kind is ErrorKind.OVERLOADED
    assert chat.requests == [request_for("model", "Hi")]
    assert chat.closed_early == 0


async def test_a_gate_holds_the_stream_until_it_is_set():
    gate = asyncio.Event()
    chat = ScriptedChat(["Before ", gate, "after"])
    listening = asyncio.ensure_future(listen(chat, "model"))
    await chat.called()
    assert (chat.open_streams, listening.done()) == (1, False)
    gate.set()
    assert (await listening).text == "Before after"
    await chat.idle()


async def test_streams_closed_or_cancelled_early_are_counted():
    chat = ScriptedChat(["One ", asyncio.Event(), "two"])
    async with contextlib.aclosing(chat.stream(request_for("model"))) as events:
        assert await anext(events) == TextDelta("One ")
    assert chat.closed_early == 1
    listening = asyncio.ensure_future(listen(chat, "model"))
    waiting = asyncio.ensure_future(chat.called(times=2))
    await waiting
    idle = asyncio.ensure_future(chat.idle())
    listening.cancel()
    await idle
    assert (chat.closed_early, chat.open_streams) == (2, 0)


async def test_a_call_without_a_script_is_a_fault_of_the_test():
    with pytest.raises(LookupError):
        await listen(ScriptedChat(), "model")


async def test_it_lists_its_models_and_has_nothing_to_close():
    chat = ScriptedChat(models=["a", "b"])
    assert await chat.list_models() == [ModelInfo("a", "a"), ModelInfo("b", "b")]
    await chat.aclose()
