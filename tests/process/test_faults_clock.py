"""The clock set forward and back by an hour. Leases are by the database's clock, so theirs are moved in its stead."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from tests.fault_table import record_fault, seconds
from tests.process.watching import answered, watched

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.xdist_group("scaled")]

MOVE = "UPDATE conversations_generation SET lease_until = lease_until {} INTERVAL '1 hour' WHERE state = 'running'"


async def test_a_clock_set_forward_loses_no_text(scaled):
    async with scaled.person() as person, watched(person, "canary-forward", pieces=150, pause=30) as seen:
        await seen.all_show(200)
        # Until its runner says again that it lives, within a second, everybody takes it for dead.
        scaled.postgres.query(MOVE.format("-"), scaled.database)
        moved = time.monotonic()
        status, _ = await person.get(f"/c/{seen.sent.chat}/")
        found = await seen.any_end("complete", "interrupted")
        text = await seen.all_end(found, may_lack=found == "interrupted")
        took = seconds(moved)
        await answered(person, "canary-after")
        assert status == 200
    record_fault(
        fault="The clock is set forward by an hour",
        shape=scaled.shape,
        reader_saw=f"{seen.told()}; {found} after {took}; the next answer came",
        database_held=f"{found}, {len(text)} characters of {len(seen.expected)}",
    )


async def test_a_clock_set_back_under_a_runner_that_dies_leaves_nothing_running_for_ever(scaled):
    async with scaled.person() as person, watched(person, "canary-back", pieces=1000, pause=30) as seen:
        await seen.all_show(200)
        await asyncio.to_thread(scaled.stop_runner, signal.SIGKILL)
        scaled.postgres.query(MOVE.format("+"), scaled.database)
        moved = time.monotonic()
        scaled.start_runner()
        text = await seen.all_end("interrupted", may_lack=True)
        took = seconds(moved)
        await answered(person, "canary-after")
    record_fault(
        fault="The clock is set back by an hour while a runner is killed (-9)",
        shape=scaled.shape,
        reader_saw=f"{seen.told()}; interrupted after {took}; the next answer came",
        database_held=f"interrupted, {len(text)} characters",
    )
