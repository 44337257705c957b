"""Two runners, one paused past its lease: what it writes when it goes on does nothing, and readers see none of it.

Both live in this process; the first one's heart stands still, and its answers are taken away as another process would.
"""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.utils import timezone

from apps.conversations.models import Generation
from apps.conversations.runner.runner import Runner
from apps.conversations.services import generations, live
from apps.core.db import in_db
from apps.streaming.redis_bus import RedisBus
from tests.conversations.asgi_client import heard
from tests.conversations.event_streams import read_events, texts_of
from tests.conversations.live_answers import END, QUICK, Held, hold, read, send
from tests.fault_table import record_fault

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]
ASLEEP = replace(QUICK, heartbeat_seconds=1_000)


def take_away(generation_id):
    """Sweep an answer whose runner gave no sign of life for a lease's time, as a process does that doesn't hold it."""
    generations.let_go(UUID(generation_id))
    with transaction.atomic():
        past = timezone.now() - timedelta(hours=1)
        Generation.objects.filter(pk=generation_id).update(lease_until=past)
        assert generations.sweep() == 1


@asynccontextmanager
async def running(bus, limits=QUICK):
    runner = Runner(bus, limits=limits)
    await runner.start()
    try:
        yield runner
    finally:
        await runner.drain(0)


@pytest.fixture(params=["memory", "redis"])
async def shared_bus(request, bus, settings):
    """The bus that both runners and all readers have."""
    if request.param == "memory":
        yield bus
        return
    server = request.getfixturevalue("shared_redis")
    server.call("FLUSHALL")
    settings.REDIS_URL = server.url
    over_redis = RedisBus(server.url)
    await over_redis.start()
    live.install_bus(over_redis)
    yield over_redis
    await over_redis.stop()


async def begun(calls, chat, bus, scripted, script):
    """Begin an answer that a runner takes, and follow it."""
    scripted.add(script)
    started = await send(calls, chat.pk)
    held = Held(
        str(chat.pk), started["userMessageId"], started["messageIds"][0], started["generationIds"][0], script[0]
    )
    held.reader = asyncio.create_task(read(bus, held))
    await scripted.called()
    return held


@pytest.mark.fault
async def test_before_its_first_word_a_zombie_changes_nothing_for_who_began_anew(calls, chat, shared_bus, scripted):
    wakes, goes_on = asyncio.Event(), asyncio.Event()
    async with running(shared_bus, ASLEEP) as zombie:
        held = await begun(calls, chat, shared_bus, scripted, [wakes, "Zombie. ", "More of it. ", END])
        zombie.concurrency = 0
        scripted.add(["By the second. ", goes_on, "All of it.", END])
        async with running(shared_bus):
            await in_db(take_away, held.generation)
            await scripted.called(2)
            async with asyncio.timeout(10):
                while not held.seen:
                    await asyncio.sleep(0.005)
            wakes.set()
            async with asyncio.timeout(10):
                while zombie.active:
                    await asyncio.sleep(0.005)
            goes_on.set()
            assert await held.end() == "complete"
        message, job = await held.row(), await held.job()
    assert (message.status, message.text, job.attempt) == ("complete", "By the second. All of it.", 2)
    assert held.seen == {0: "By the second. All of it."}
    record_fault(
        fault="a runner is paused past its lease before the first word, and continued",
        shape=f"one process, {connection.vendor}",
        reader_saw="the second runner's text alone, to its end",
        database_held=f"attempt {job.attempt}, {message.status}, the second runner's {len(message.text)} characters",
    )


@pytest.mark.fault
async def test_amid_its_answer_a_zombie_adds_nothing_to_what_was_continued(calls, chat, shared_bus, scripted):
    ends = asyncio.Event()
    async with running(shared_bus, ASLEEP) as zombie:
        held = await hold(calls, chat.pk, shared_bus, scripted, first="By the first. ", rest="Zombie. ", then=[ends])
        zombie.concurrency = 0
        async with running(shared_bus):
            await in_db(take_away, held.generation)
            assert await held.end() == "interrupted"
            scripted.add(["By the second.", END])
            url = f"/chats/{chat.pk}/messages/{held.message}/continue"
            status, continued = await calls.call("POST", url, {})
            assert status == 202
            again = Held(held.chat, held.question, held.message, continued["generationIds"][0], ends)
            assert await read(shared_bus, again) == "complete"
            # The first goes on, and says what nobody wants any more.
            held.gate.set()
            async with asyncio.timeout(10):
                while "Zombie" not in str(zombie._writers[UUID(held.generation)].live.parts):
                    await asyncio.sleep(0.005)
            start = f"{held.generation}:1:0:0".encode()
            client = await calls.stream("GET", f"/chats/{chat.pk}/stream", headers=[(b"last-event-id", start)])
            raw = await heard(client, until=lambda event: event.name == "end")
            await client.wait(timeout=5)
            ends.set()
        message = await held.row()
    assert (message.status, message.text) == ("complete", "By the first. By the second.")
    assert (held.seen, again.seen) == ({0: "By the first. "}, {0: "By the first. By the second."})
    assert texts_of(read_events(raw)) == {0: "By the first. By the second."}
    record_fault(
        fault="a runner is paused past its lease amid its answer, and continued after somebody pressed Continue",
        shape=f"one process, {connection.vendor}",
        reader_saw="what was shown, the end as interrupted, then the second runner's text behind it",
        database_held=f"{message.status}, both runners' {len(message.text)} characters, and none that the first said later",
    )


async def test_a_runner_that_lost_an_answer_lets_its_provider_go(calls, chat, bus, scripted, runner):
    held = await hold(calls, chat.pk, bus, scripted, first="By the first. ")
    await in_db(take_away, held.generation)
    async with asyncio.timeout(10):
        await scripted.idle()
        while runner.active:
            await asyncio.sleep(0.005)
    assert scripted.closed_early == 1
    message = await held.row()
    assert (message.status, message.text) == ("interrupted", "By the first. ")


async def test_a_runner_may_begin_anew_what_it_lost_itself(calls, chat, bus, scripted):
    async with running(bus, ASLEEP):
        held = await begun(calls, chat, bus, scripted, [asyncio.Event(), END])
        scripted.add(["Anew.", END])
        await in_db(take_away, held.generation)
        assert await held.end() == "complete"
        await scripted.idle()
    assert (scripted.closed_early, held.seen, (await held.job()).attempt) == (1, {0: "Anew."}, 2)
