"""Streams through the server's own handler: clients that disconnect are let go, and waiting holds no thread."""

import asyncio

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.accounts.services import passes
from apps.conversations import process
from apps.conversations.runner.limits import Limits
from apps.conversations.runner.runner import Runner
from apps.conversations.services import conversations
from apps.core.db import REQUEST_THREADS, in_db
from apps.providers.base import Finished
from apps.streaming.bus import live_topic
from tests.conversations.asgi_client import AsgiCalls, heard
from tests.conversations.event_streams import read_events, texts_of

pytestmark = pytest.mark.django_db(transaction=True)
END = Finished("stop")


@pytest.fixture
async def runner(bus):
    runner = Runner(bus, limits=Limits(heartbeat_seconds=0.05, retries=2, drain_seconds=0.2))
    await runner.start()
    yield runner
    await runner.drain(0)


@pytest.fixture
async def calls(user):
    return await AsgiCalls.of(user)


@pytest.fixture
async def chat(user):
    # Named, so that no call for a title takes a script.
    return await in_db(conversations.create, user=user, title="A chat")


def listeners(bus, topic):
    return len(bus._topics.get(topic, ()))


async def test_a_client_that_disconnects_is_let_go_at_once_and_its_answer_goes_on(runner, calls, chat, scripted, bus):
    gate = asyncio.Event()
    scripted.add(["half ", gate, "whole", END])
    client = await calls.stream("POST", f"/chats/{chat.pk}/messages", {"content": "Hi", "stream": True})
    raw = await heard(client, until=lambda event: event.name == "delta")
    generation = read_events(raw)[0].data["generationId"]
    topic = live_topic(generation)
    assert listeners(bus, topic) == 1
    await client.send_input({"type": "http.disconnect"})
    await client.wait(timeout=5)
    assert listeners(bus, topic) == 0
    assert scripted.open_streams == 1
    position = read_events(raw)[-1].id.encode()
    client = await calls.stream("GET", f"/chats/{chat.pk}/stream", headers=[(b"last-event-id", position)])
    gate.set()
    rest = await heard(client, until=lambda event: event.name == "end")
    assert texts_of(read_events(rest), texts_of(read_events(raw))) == {0: "half whole"}
    await client.wait(timeout=5)
    assert listeners(bus, topic) == 0


async def test_a_stream_holds_no_database_connection_while_it_waits(runner, calls, chat, scripted, bus):
    gate = asyncio.Event()
    scripted.add([gate, "Late", END])
    client = await calls.stream("POST", f"/chats/{chat.pk}/messages", {"content": "Hi", "stream": True})
    await heard(client, until=lambda event: event.name == "start")
    await scripted.called()
    # More readers than request threads: none of them may wait for one that another reader holds.
    others = []
    for _ in range(REQUEST_THREADS + 4):
        others.append(await calls.stream("GET", f"/chats/{chat.pk}/stream"))
    gate.set()
    for reader in [client, *others]:
        raw = await heard(reader, until=lambda event: event.name == "end")
        assert texts_of(read_events(raw))[0] == "Late"
        await reader.wait(timeout=5)


def queries_of(held):
    with CaptureQueriesContext(connection) as queries:
        assert passes.lapsed(held) == {}
    return len(queries)


async def test_any_number_of_streams_are_asked_about_in_one_query_and_let_go_at_once(runner, calls, chat, scripted):
    scripted.add(["half ", asyncio.Event(), END])
    guard = process.unstarted().guard
    readers = [await calls.stream("POST", f"/chats/{chat.pk}/messages", {"content": "Hi", "stream": True})]
    readers += [await calls.stream("GET", f"/chats/{chat.pk}/stream") for _ in range(5)]
    for client in readers:
        await heard(client, until=lambda event: event.name == "delta")
    held = [key for key, _ in guard._readers.values()]
    assert (len(held), await in_db(queries_of, set(held))) == (6, 1)
    for client in readers:
        await client.send_input({"type": "http.disconnect"})
        await client.wait(timeout=5)
    assert not guard._readers
    await guard.stop()
