"""What operators see of answers: exactly these lines and figures, and nothing that anybody wrote."""

import asyncio
import io
import json
import logging
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.conversations.models import Generation
from apps.conversations.runner.limits import Limits
from apps.conversations.runner.runner import Runner
from apps.conversations.services import generations, leases, live, messages, observation, queue
from apps.core import metrics
from apps.core.db import in_db
from apps.core.health import Unhealthy
from apps.core.logs import JsonFormatter, current_request_id
from apps.core.security import pseudonym
from apps.providers.base import Finished, ReasoningDelta, TextDelta, UsageReport
from apps.providers.errors import ErrorKind, ProviderError
from tests.conversations.answers import end_all
from tests.conversations.test_runner import ended, text_shown
from tests.servers import redis_server  # noqa: F401  (a fixture)
from tests.streaming.redis_buses import bus_on, until

pytestmark = pytest.mark.django_db(transaction=True)

QUESTION, ANSWER = "CANARY-asked", "CANARY-answered"
WHO = {"request_id", "generation", "message", "conversation", "user", "provider", "model", "attempt"}


class Lines:
    """The lines of all rooms, as a collector of logs gets them."""

    def __init__(self):
        self.stream = io.StringIO()

    @property
    def text(self):
        return self.stream.getvalue()

    def all(self):
        return [json.loads(line) for line in self.text.splitlines()]

    def events(self):
        return [line["event"] for line in self.all()]


@pytest.fixture
def lines():
    lines = Lines()
    handler = logging.StreamHandler(lines.stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("apps")
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield lines
    logger.removeHandler(handler)
    logger.setLevel("NOTSET")


@pytest.fixture
def figures():
    """Give how much a figure grew since the test began."""

    def value(name, **labels):
        return metrics.REGISTRY.get_sample_value(name, labels) or 0

    before = {}
    for family in metrics.REGISTRY.collect():
        for sample in family.samples:
            before[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return lambda name, **labels: value(name, **labels) - before.get((name, tuple(sorted(labels.items()))), 0)


def send(user, **fields):
    """Send as a request named ref-1 would."""
    token = current_request_id.set("ref-1")
    try:
        return messages.send(user=user, content=QUESTION, model="scripted/model", conversation_id=None, **fields)
    finally:
        current_request_id.reset(token)


async def answered(user, bus):
    """Send, have it answered by a runner that begins then, and give what was sent once nobody writes any more."""
    sent = await in_db(send, user)
    runner = Runner(bus, limits=Limits(retries=0))
    await runner.start()
    await ended(bus, sent)
    await runner.drain(5)
    return sent


def named(sent, user):
    generation = sent.generations[0]
    return {
        "request_id": "ref-1",
        "generation": str(generation.pk),
        "message": str(generation.message_id),
        "conversation": str(generation.conversation_id),
        "user": pseudonym(str(user.pk)),
        "provider": "scripted",
        "model": "model",
        "attempt": 1,
    }


def told(lines, event):
    """Give the fields of the one line with an event, without time, level and logger."""
    [line] = [line for line in lines.all() if line["event"] == event]
    return {name: value for name, value in line.items() if name not in ("time", "level", "logger", "event")}


async def test_an_answer_is_four_lines_and_none_says_what_was_written(lines, figures, user, bus, scripted):
    scripted.add([ReasoningDelta(ANSWER), ANSWER, " and more", Finished("stop"), UsageReport(7, 5, 1, None)])
    sent = await answered(user, bus)
    steps = ["queued", "started", "first-delta", "finished"]
    assert lines.events() == [f"generation-{step}" for step in steps]
    who = named(sent, user)
    assert set(who) == WHO
    assert told(lines, "generation-queued") == {**who, "attempt": 0}
    started = told(lines, "generation-started")
    assert started == {**who, "queued_ms": started["queued_ms"]}
    first = told(lines, "generation-first-delta")
    assert first == {**who, "ttft_ms": first["ttft_ms"]}
    finished = told(lines, "generation-finished")
    times = {"ttft_ms": first["ttft_ms"], "duration_ms": finished["duration_ms"]}
    assert finished == {**who, **times, "tokens_in": 7, "tokens_out": 5, "finish_reason": "stop"}
    assert 0 <= started["queued_ms"] <= first["ttft_ms"] <= finished["duration_ms"]
    for secret in ("CANARY", "and more", str(user.pk), user.pk.hex, user.email):
        assert secret not in lines.text
    assert figures("bough_generations_total", state="completed", model="scripted/model") == 1
    assert figures("bough_tokens_total", direction="in", model="scripted/model") == 7
    assert figures("bough_tokens_total", direction="out", model="scripted/model") == 5
    assert figures("bough_first_token_seconds_count", provider="scripted") == 1
    assert figures("bough_answer_seconds_count", provider="scripted") == 1
    assert metrics.REGISTRY.get_sample_value("bough_answers_active") == 0


async def test_an_answer_that_fails_says_why_in_a_code(lines, figures, user, bus, scripted):
    scripted.add([ANSWER, ProviderError(ErrorKind.OVERLOADED, f"{ANSWER} is too much for us")])
    sent = await answered(user, bus)
    steps = ["queued", "started", "first-delta", "failed"]
    assert lines.events() == [f"generation-{step}" for step in steps]
    failed = told(lines, "generation-failed")
    times = {name: failed[name] for name in ("ttft_ms", "duration_ms")}
    assert failed == {**named(sent, user), **times, "error": "overloaded"}
    assert "CANARY" not in lines.text
    assert figures("bough_generation_errors_total", code="overloaded", model="scripted/model") == 1
    assert figures("bough_answer_seconds_count", provider="scripted") == 0


async def test_what_breaks_in_an_answer_is_told_with_its_trace_and_without_its_words(lines, user, bus, scripted):
    scripted.add([ANSWER, TextDelta(None)])
    await answered(user, bus)
    steps = ["generation-queued", "generation-started", "generation-first-delta", "answer-broke", "generation-failed"]
    assert lines.events() == steps
    assert "in _storable" in told(lines, "answer-broke")["exception"]
    assert told(lines, "generation-failed")["error"] == "internal"
    assert "CANARY" not in lines.text


async def test_an_answer_that_another_runner_took_is_counted_and_ends_nowhere(lines, figures, user, bus, scripted):
    goes_on = asyncio.Event()
    scripted.add([ANSWER, goes_on, Finished("stop")])
    sent = await in_db(send, user)
    runner = Runner(bus, limits=Limits(retries=0, heartbeat_seconds=60))
    await runner.start()
    await text_shown(bus, sent, ANSWER)
    await in_db(Generation.objects.update, lease_owner="another:1:a")
    goes_on.set()
    await runner.drain(5)
    assert lines.events()[3:] == ["lease-lost"]
    assert figures("bough_leases_lost_total") == 1


def test_one_stopped_while_it_waits_has_its_line(lines, figures, user):
    sent = send(user)
    generations.stop(user=user, conversation_id=sent.conversation.pk)
    assert lines.events() == ["generation-queued", "generation-stopped"]
    stopped = told(lines, "generation-stopped")
    rest = {"attempt": 0, "duration_ms": stopped["duration_ms"], "finish_reason": "user_stopped"}
    assert stopped == {**named(sent, user), **rest}
    assert figures("bough_generations_total", state="stopped", model="scripted/model") == 1


def test_one_whose_runner_died_is_interrupted_or_queued_again(lines, user):
    sent = send(user)
    [generation] = leases.claim(owner="gone:1:a", limit=1)
    dead = Generation.objects.filter(pk=generation.pk)
    dead.update(lease_until=timezone.now() - timedelta(minutes=20))
    generations.sweep()
    assert lines.events() == ["generation-queued"] * 2
    assert lines.all()[1]["attempt"] == 1
    leases.claim(owner="gone:2:a", limit=1)
    dead.update(lease_until=timezone.now() - timedelta(minutes=20), first_delta_at=timezone.now())
    generations.sweep()
    interrupted = told(lines, "generation-interrupted")
    rest = {"attempt": 2, "duration_ms": interrupted["duration_ms"], "error": "restarted"}
    assert interrupted == {**named(sent, user), **rest}


def test_several_models_that_answer_one_message_share_a_batch(lines, user):
    token = current_request_id.set("ref-1")
    messages.send(user=user, content=QUESTION, models=["scripted/model"] * 2, conversation_id=None)
    current_request_id.reset(token)
    first, second = lines.all()
    assert first["batch"] == second["batch"]
    assert [line["rank"] for line in (first, second)] == [0, 1]


def test_a_line_of_another_request_keeps_the_request_that_sent(lines, user):
    sent = send(user)
    token = current_request_id.set("ref-2")
    generations.stop(user=user, conversation_id=sent.conversation.pk)
    current_request_id.reset(token)
    assert told(lines, "generation-stopped")["request_id"] == "ref-1"


def test_what_breaks_while_telling_breaks_nothing_else(lines):
    observation.started(Generation(purpose="answer", request={"model": 5}, queued_at=timezone.now()))
    assert lines.events() == ["observation-failed"]


def test_users_have_pseudonyms_that_hang_on_the_key(settings):
    first = pseudonym("ada")
    assert (len(first), first) == (12, pseudonym("ada"))
    assert first != pseudonym("eve")
    settings.SECRET_KEY = "another-key-for-tests-alone-0123456789-abcdefgh"
    assert first != pseudonym("ada")


# --- the queue ---------------------------------------------------------------------------------------------------


def test_the_queue_is_measured_with_its_oldest(user, django_assert_num_queries):
    assert queue.measure() == queue.Queue(0, 0, 0.0)
    first = send(user)
    Generation.objects.filter(pk=first.generations[0].pk).update(queued_at=timezone.now() - timedelta(seconds=90))
    send(user)
    with django_assert_num_queries(2):
        found = queue.measure()
    assert (found.queued, found.running) == (2, 0)
    assert 90 <= found.oldest_seconds < 120
    leases.claim(owner="test:1:a", limit=1)
    assert (queue.measure().queued, queue.measure().running) == (1, 1)
    end_all()


def test_the_queue_is_among_the_figures(client, user):
    send(user)
    text = client.get("/metrics").content.decode()
    assert "\nbough_generations_queued 1.0\n" in text
    assert "\nbough_generations_running 0.0\n" in text


async def test_the_bus_is_ready_while_redis_answers(redis_server, settings, bus):  # noqa: F811
    settings.REDIS_URL = redis_server.url
    async with bus_on(redis_server) as redis_bus:
        live.install_bus(redis_bus)
        assert queue.check_bus() == "connected"
        errors = metrics.REGISTRY.get_sample_value("bough_bus_errors_total")
        redis_server.kill()
        await until(lambda: not redis_bus.connected)
        with pytest.raises(Unhealthy, match="Redis does not answer"):
            queue.check_bus()
        await until(lambda: metrics.REGISTRY.get_sample_value("bough_bus_errors_total") > errors)
