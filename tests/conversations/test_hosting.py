"""Answers that the runner of the same process takes at their birth: no claim, no wait, and no loss where it has no room."""

import asyncio

import pytest

from apps.conversations.models import Generation, GenerationState
from apps.conversations.process import WebProcess
from apps.conversations.services import generations, hosting, messages
from apps.core.db import in_db
from apps.providers.base import Finished, TextDelta
from tests.conversations.test_runner import ended

pytestmark = pytest.mark.django_db(transaction=True)
END = Finished("stop")


@pytest.fixture
async def process(bus):
    process = WebProcess()
    await process.start(with_runner=True)
    yield process
    await process.stop(0)


async def send(user, text="Hello"):
    return await in_db(messages.send, user=user, conversation_id=None, content=text, model="scripted/model")


async def row(sent):
    return await in_db(Generation.objects.get, pk=sent.generations[0].pk)


async def test_an_answer_is_the_hosts_from_its_birth(process, bus, user, scripted):
    gate = asyncio.Event()
    scripted.add([gate, TextDelta("Here."), END])
    sent = await send(user)
    found = await row(sent)
    held = (found.state, found.lease_owner, found.attempt, found.started_at is not None, found.lease_until is not None)
    assert held == (GenerationState.RUNNING, process.runner.name, 1, True, True)
    assert await in_db(generations.sweep) == 0
    gate.set()
    assert (await ended(bus, sent)).text == "Here."


async def test_several_models_are_taken_together(process, bus, user, scripted):
    scripted.add([TextDelta("One."), END], [TextDelta("Two."), END])
    models = ["scripted/model", "scripted/model"]
    sent = await in_db(messages.send, user=user, conversation_id=None, content="Hi", models=models)
    assert (await ended(bus, sent)).text in ("One.", "Two.")


async def test_what_the_host_has_no_room_for_is_queued(process, user):
    process.runner.concurrency = 0
    assert (await row(await send(user))).state == GenerationState.QUEUED
    process.runner.concurrency = 1_000


async def test_a_host_that_drains_takes_nothing_and_hands_back_what_came_too_late(process, user):
    host = hosting.host_for(1)
    await process.drain(0)
    assert hosting.host_for(1) is None
    hosting.install(host)
    try:
        assert (await row(await send(user))).state == GenerationState.QUEUED
    finally:
        hosting.install(None)
