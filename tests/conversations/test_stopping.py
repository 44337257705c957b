"""Stop: at any moment of an answer, however often, from anywhere; the text so far is kept and the provider let go at once."""

import asyncio
import json
import time

import pytest
from django.db import connection
from django.utils import timezone

from apps.conversations.models import Generation, GenerationState
from apps.conversations.runner.runner import Runner
from apps.conversations.services import live
from apps.core.db import in_db
from apps.models.services import catalogue
from apps.providers import registry
from apps.providers.base import ReasoningDelta
from apps.providers.errors import ErrorKind, ProviderError
from apps.providers.openai_wire import OpenAICompatible
from apps.streaming.redis_bus import RedisBus
from tests.conversations.live_answers import END, QUICK, hold, send
from tests.conversations.tabs import frame
from tests.fault_table import record_fault

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]
TIMES = 20


async def stop(calls, chat):
    status, body = await calls.call("POST", f"/chats/{chat.pk}/stop")
    assert status == 202
    return body["stopped"]


async def rows_of(started):
    generation = await in_db(Generation.objects.select_related("message").get, pk=started["generationIds"][0])
    return generation, generation.message


async def ended(started):
    """Wait until a generation is over, by its row alone."""
    async with asyncio.timeout(10):
        while (await rows_of(started))[0].is_active:
            await asyncio.sleep(0.005)
    return await rows_of(started)


async def test_stopped_before_any_runner_took_it_an_answer_is_over_and_no_runner_begins_it(bus, calls, chat, scripted):
    started = await send(calls, chat.pk)
    assert await stop(calls, chat) == started["generationIds"]
    generation, message = await rows_of(started)
    assert (generation.state, message.status, message.finish_reason) == ("stopped", "stopped", "user_stopped")
    scripted.add(["To the other", END])
    runner = Runner(bus, limits=QUICK)
    await runner.start()
    other = await send(calls, chat.pk, "And now?")
    await ended(other)
    await runner.drain(0)
    assert len(scripted.requests) == 1
    assert (await rows_of(started))[1].parts == []


async def test_stopped_between_two_runners_an_answer_is_not_begun_by_the_second(bus, calls, chat, scripted, runner):
    scripted.add(["Never said", END])
    asked = {"stop_requested_at": timezone.now()}
    await runner.drain(0)
    started = await send(calls, chat.pk)
    # The first had it in hand when it was stopped, and put it back as it left.
    await in_db(Generation.objects.filter(pk=started["generationIds"][0]).update, **asked)
    second = Runner(bus, limits=QUICK)
    await second.start()
    generation, message = await ended(started)
    await second.drain(0)
    assert (generation.state, message.parts, scripted.requests) == ("stopped", [], [])


async def test_stopped_before_the_first_token_the_provider_is_let_go(runner, calls, chat, scripted):
    scripted.add([asyncio.Event(), END])
    started = await send(calls, chat.pk)
    await scripted.called()
    assert await stop(calls, chat) == started["generationIds"]
    generation, message = await ended(started)
    assert (generation.state, message.status, message.parts) == ("stopped", "stopped", [])
    assert (scripted.open_streams, scripted.closed_early) == (0, 1)


async def test_stopped_while_it_waits_to_try_again_the_provider_is_not_asked_again(runner, calls, chat, scripted):
    scripted.add([ProviderError(ErrorKind.OVERLOADED, retry_after=9)])
    started = await send(calls, chat.pk)
    await scripted.called()
    began = time.monotonic()
    await stop(calls, chat)
    generation, _ = await ended(started)
    assert (generation.state, generation.error_code, len(scripted.requests)) == ("stopped", "", 1)
    assert time.monotonic() - began < 5


async def test_stopped_inside_its_reasoning_an_answer_keeps_that(runner, bus, calls, chat, scripted):
    held = await hold(calls, chat.pk, bus, scripted, first=ReasoningDelta("Let me see 🌳"))
    await stop(calls, chat)
    assert await held.end() == "stopped"
    message = await held.row()
    assert [(part["type"], part["text"]) for part in message.parts] == [("reasoning", "Let me see 🌳")]
    assert (message.text, message.status) == ("", "stopped")


async def test_stopped_twice_and_after_the_end_is_stopped_once(runner, bus, calls, chat, scripted):
    held = await hold(calls, chat.pk, bus, scripted)
    first, second = await stop(calls, chat), await stop(calls, chat)
    assert first == [held.generation]
    assert second in ([], [held.generation])
    assert await held.end() == "stopped"
    before = await held.job()
    assert await stop(calls, chat) == []
    after = await held.job()
    assert (after.state, after.finished_at, after.stop_requested_at) == (
        GenerationState.STOPPED,
        before.finished_at,
        before.stop_requested_at,
    )
    assert (await held.row()).text == "Half a "


async def test_stopping_what_is_complete_changes_nothing(runner, bus, calls, chat, scripted):
    held = await hold(calls, chat.pk, bus, scripted)
    held.gate.set()
    assert await held.end() == "complete"
    assert await stop(calls, chat) == []
    message = await held.row()
    assert (message.status, message.text, (await held.job()).stop_requested_at) == (
        "complete",
        "Half a sentence.",
        None,
    )


async def test_a_stop_and_the_end_at_the_same_moment_leave_a_whole_answer_in_one_state(
    runner, bus, calls, chat, scripted
):
    for _ in range(5):
        held = await hold(calls, chat.pk, bus, scripted)
        held.gate.set()
        await stop(calls, chat)
        status = await held.end()
        message = await held.row()
        assert message.status == status
        assert message.text == "".join(held.seen.values())
        assert (status, message.text) in {
            ("complete", "Half a sentence."),
            ("stopped", "Half a "),
            ("stopped", "Half a sentence."),
        }


async def test_stopped_in_one_tab_every_tab_hears_it(runner, tab, bus, calls, chat, scripted):
    tabs = [await tab() for _ in range(3)]
    for socket in tabs:
        await socket.send_to(json.dumps({"type": "watch", "conversation": str(chat.pk)}))
    held = await hold(calls, chat.pk, bus, scripted)
    await stop(calls, chat)
    for socket in tabs:
        end = await frame(socket, "ended")
        assert (end["m"], end["status"]) == (held.message, "stopped")
    assert await held.end() == "stopped"


# --- over the wire ----------------------------------------------------------------------------------------------


@pytest.fixture
async def wire(upstream):
    """Let models answer through the fake provider's real sockets."""
    provider = OpenAICompatible("openai", "OpenAI", upstream.url)
    with registry.installed(provider):
        await in_db(catalogue.forget)
        yield provider
        await provider.aclose()
    await in_db(catalogue.forget)


async def begin(calls, chat, upstream, model):
    """Begin an answer by a model of the fake provider, and wait until that has been asked."""
    count = len(upstream.streams)
    started = await send(calls, chat.pk, model=f"openai/{model}")
    await upstream.eventually(lambda: len(upstream.streams) > count)
    return started, upstream.streams[count]


@pytest.mark.parametrize("model", ["fake-endless", "fake-silent"])
async def test_the_provider_sees_the_connection_close_within_half_a_second(
    runner,
    calls,
    chat,
    upstream,
    wire,
    model,
    record_property,
):
    times = []
    for _ in range(TIMES):
        started, stream = await begin(calls, chat, upstream, model)
        began = time.monotonic()
        await stop(calls, chat)
        await upstream.eventually(lambda stream=stream: stream.end is not None)
        assert stream.end == "client_closed"
        times.append(stream.ended_at - began)
        assert (await ended(started))[0].state == "stopped"
    p95 = sorted(times)[TIMES * 95 // 100 - 1]
    record_property("stop_p95_ms", round(p95 * 1000))
    print(f"{model}: the provider saw the end {p95 * 1000:.0f} ms after stop (p95 of {TIMES})")
    assert p95 < 0.5


@pytest.mark.fault
async def test_stopped_while_redis_is_away_an_answer_ends_all_the_same(
    redis_server,
    calls,
    chat,
    scripted,
):
    bus = RedisBus(redis_server.url)
    await bus.start()
    live.install_bus(bus)
    runner = Runner(bus, limits=QUICK)
    await runner.start()
    try:
        held = await hold(calls, chat.pk, bus, scripted)
        redis_server.kill()
        began = time.monotonic()
        assert await stop(calls, chat) == [held.generation]
        assert await held.end() == "stopped"
        took = time.monotonic() - began
        message = await held.row()
        assert (message.status, message.text, scripted.open_streams) == ("stopped", "Half a ", 0)
        assert took < 5
        record_fault(
            fault="Redis is killed, then an answer is stopped",
            shape=f"one process, {connection.vendor}, and Redis",
            reader_saw=f"the end, as stopped, {took:.1f} s after it was asked for",
            database_held=f"status {message.status}, all {len(message.text)} characters that were shown",
        )
    finally:
        await runner.drain(0)
        await bus.stop()
