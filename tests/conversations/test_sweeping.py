"""Ending what dead runners left: what it keeps, whom it spares, and how long it waits after an outage of the database."""

from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from apps.conversations.models import Generation, GenerationState, Message, MessageStatus
from apps.conversations.services import generations, leases, messages
from apps.core import db
from apps.core.db import in_db
from apps.streaming.answers import LiveAnswer
from apps.streaming.redis_bus import RedisBus
from tests.servers import redis_server  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)


def left_behind(user, *, text="", first_delta=True, past=HOUR):
    """Have a runner claim an answer, keep some text of it, and die; give the generation."""
    messages.send(user=user, conversation_id=None, content="Hi")
    (generation,) = leases.claim(owner="gone:1:x", limit=1)
    lease = generations.Lease(generation.pk, "gone:1:x", generation.attempt)
    parts = [{"type": "text", "text": text}] if text else []
    if first_delta:
        leases.keep([leases.Progress(lease, generation.message_id, parts, True)])
    Generation.objects.filter(pk=generation.pk).update(lease_until=timezone.now() - past)
    return generation


async def said_on(redis_server, generation, *texts, attempt=1):  # noqa: F811
    """Write what the dead runner had shown through Redis."""
    bus = RedisBus(redis_server.url)
    await bus.start()
    live = LiveAnswer(str(generation.pk), attempt)
    await bus.open(live.live, attempt, ())
    for kind, text in texts:
        live.add(kind, text)
        for delta in live.take():
            await bus.append(delta)
    await bus.settled()
    await bus.stop()


async def ended(generation):
    return await in_db(Message.objects.get, pk=generation.message_id)


async def test_text_that_redis_has_beyond_the_row_is_kept(user, redis_server, settings):  # noqa: F811
    settings.REDIS_URL = redis_server.url
    generation = await in_db(left_behind, user, text="Once")
    await said_on(redis_server, generation, ("text", "Once upon a time"))
    assert await in_db(generations.sweep) == 1
    message = await ended(generation)
    assert (message.status, message.text) == (MessageStatus.INTERRUPTED, "Once upon a time")


async def test_what_a_runner_does_not_stop_in_time_keeps_the_text_that_redis_has(user, redis_server, settings):  # noqa: F811
    settings.REDIS_URL = redis_server.url
    generation = await in_db(left_behind, user, text="Once", past=-HOUR / 120)
    await said_on(redis_server, generation, ("text", "Once upon a time"))
    conversation = generation.conversation_id
    await in_db(generations.stop, user=user, conversation_id=conversation)
    await in_db(messages.send, user=user, conversation_id=conversation, content="Go on")
    message = await ended(generation)
    assert (message.status, message.text) == (MessageStatus.STOPPED, "Once upon a time")


async def test_a_row_that_is_ahead_of_redis_stays(user, redis_server, settings):  # noqa: F811
    settings.REDIS_URL = redis_server.url
    generation = await in_db(left_behind, user, text="Once upon")
    await said_on(redis_server, generation, ("text", "Once"))
    await in_db(generations.sweep)
    assert (await ended(generation)).text == "Once upon"


async def test_text_of_another_attempt_is_not_taken(user, redis_server, settings):  # noqa: F811
    settings.REDIS_URL = redis_server.url
    generation = await in_db(left_behind, user, text="New")
    await said_on(redis_server, generation, ("text", "Old and long"), attempt=2)
    await in_db(generations.sweep)
    assert (await ended(generation)).text == "New"


async def test_what_only_redis_showed_is_not_written_again_from_nothing(user, redis_server, settings):  # noqa: F811
    settings.REDIS_URL = redis_server.url
    generation = await in_db(left_behind, user, first_delta=False)
    await said_on(redis_server, generation, ("reasoning", "Hm."), ("text", "So"))
    await in_db(generations.sweep)
    message = await ended(generation)
    assert (message.status, [part["type"] for part in message.parts]) == ("interrupted", ["reasoning", "text"])


def test_without_redis_the_row_decides(user, redis_server, settings):  # noqa: F811
    settings.REDIS_URL = redis_server.url
    redis_server.kill()
    generation = left_behind(user, text="Kept")
    assert generations.sweep() == 1
    assert Message.objects.get(pk=generation.message_id).text == "Kept"


def test_a_lease_longer_than_any_is_swept_for_its_clock_was_set_back(user):
    generation = left_behind(user, text="Once", past=-HOUR)
    assert generations.sweep() == 1
    assert Message.objects.get(pk=generation.message_id).status == MessageStatus.INTERRUPTED


async def test_after_an_outage_writers_get_a_lease_to_come_back(user):
    def find_it_away():
        raise OperationalError("away")

    generation = await in_db(left_behind, user, text="So far", past=timedelta(seconds=20))
    long_dead = await in_db(left_behind, user, text="Long dead")
    with pytest.raises(OperationalError):
        await in_db(find_it_away)
    assert db.seconds_since_away() < 5
    assert await in_db(generations.sweep) == 1
    states = await in_db(dict, Generation.objects.values_list("pk", "state"))
    assert (states[generation.pk], states[long_dead.pk]) == (GenerationState.RUNNING, GenerationState.INTERRUPTED)
