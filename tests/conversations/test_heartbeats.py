"""Runners say that they live, at little cost, and are forgotten when they end or were killed long ago."""

import asyncio
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.conversations.models import RunnerProcess
from apps.conversations.runner.limits import Limits
from apps.conversations.runner.runner import Runner
from apps.conversations.services import leases, runners
from apps.core.db import in_db
from apps.providers.base import Finished
from tests.conversations.test_runner import send, text_shown

pytestmark = [pytest.mark.django_db(transaction=True)]
QUICK = Limits(heartbeat_seconds=0.02, retries=0, drain_seconds=5)


def pulse(name="host:1:a", **fields):
    return runners.Pulse(**{"name": name, "started_at": timezone.now(), **DEFAULTS, **fields})


DEFAULTS = {"concurrency": 100, "active": 0, "draining": False}


async def seen(condition):
    """Wait until the one runner's row is as told, and give it."""
    async with asyncio.timeout(10):
        while True:
            row = await in_db(RunnerProcess.objects.first)
            if row is not None and condition(row):
                return row
            await asyncio.sleep(0.01)


async def test_a_runner_is_known_while_it_lives(bus, user, scripted):
    goes_on = asyncio.Event()
    scripted.add(["A", goes_on, Finished("stop")])
    runner = Runner(bus, limits=QUICK, concurrency=7)
    await runner.start()
    row = await seen(lambda row: True)
    assert (row.name, row.concurrency, row.active, row.draining) == (runner.name, 7, 0, False)
    sent = await send(user)
    await text_shown(bus, sent, "A")
    draining = asyncio.create_task(runner.drain())
    # Said at once, not with the next pulse.
    row = await seen(lambda row: row.draining)
    assert row.active == 1
    assert await in_db(runners.count_alive) == 1
    goes_on.set()
    await draining
    assert await in_db(RunnerProcess.objects.count) == 0


def test_a_pulse_is_one_statement_in_the_transaction_of_the_leases(user):
    with CaptureQueriesContext(
        connection,
    ) as first:
        leases.renew([], owner="host:1:a", pulse=pulse())
    said = [query["sql"].split()[0] for query in first if "runnerprocess" in query["sql"]]
    assert said == ["INSERT"]
    with CaptureQueriesContext(connection) as second:
        leases.renew([], owner="host:1:a")
    assert not [query for query in second if "runnerprocess" in query["sql"]]


def test_a_pulse_renews_what_is_there():
    begun = timezone.now() - timedelta(hours=1)
    runners.note(pulse(started_at=begun))
    RunnerProcess.objects.update(seen_at=begun)
    runners.note(pulse(started_at=timezone.now(), active=3))
    [row] = runners.known()
    assert (row.started_at, row.active) == (begun, 3)
    assert timedelta(0) <= row.age < timedelta(seconds=10)


def test_the_killed_are_told_apart_and_forgotten_after_a_day():
    for name, silent in (("alive", 0), ("gone", 25), ("old", 90_000)):
        runners.note(pulse(name))
        if silent:
            RunnerProcess.objects.filter(pk=name).update(seen_at=timezone.now() - timedelta(seconds=silent))
    assert [row.name for row in runners.known()] == ["alive", "gone", "old"]
    assert runners.count_alive() == 1
    assert runners.forget_gone() == 1
    assert [row.name for row in runners.known()] == ["alive", "gone"]
    with CaptureQueriesContext(connection) as queries:
        assert runners.forget_gone() == 0
    assert len(queries) == 1


async def test_a_runner_forgets_the_old_ones_at_its_start(bus):
    await in_db(runners.note, pulse("old"))
    await in_db(RunnerProcess.objects.update, seen_at=timezone.now() - timedelta(days=2))
    runner = Runner(bus, limits=Limits(heartbeat_seconds=60))
    await runner.start()
    assert await in_db(RunnerProcess.objects.count) == 0
    await runner.drain()
