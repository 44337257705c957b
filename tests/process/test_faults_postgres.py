"""PostgreSQL crashed, away for longer than a lease, and its connections cut, under running answers that are read."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from tests.fault_table import record_fault, seconds
from tests.process.people import StreamReader
from tests.process.watching import answered, watched

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.xdist_group("scaled")]


async def test_a_crashed_postgres_costs_no_text(scaled):
    async with scaled.person() as person, watched(person, "canary-crashed", pieces=250, pause=30) as seen:
        await seen.all_show(100)
        # Ends while the database is away: its end waits for it.
        short = StreamReader(person, await person.send(await person.begin(), "canary-short 40 pieces of 30 ms")).start()
        await short.more(20)
        await asyncio.to_thread(scaled.postgres.stop, signal.SIGQUIT)
        crashed = time.monotonic()
        before = time.monotonic()
        status, _ = await person.get(f"/c/{seen.sent.chat}/")
        page = seconds(before)
        before = time.monotonic()
        refused = await person.post(f"/c/{seen.sent.chat}/send/", {"content": "kept"})
        print(status, page, refused.status, refused.headers, seconds(before))
        await seen.readers[0].more(100)
        lasted = seconds(crashed)
        await asyncio.to_thread(scaled.postgres.start)
        started = time.monotonic()
        await answered(person, "canary-back")
        back = seconds(started)
        text = await seen.all_end("complete")
        print(lasted, back, await short.ended(), seen.told(), len(text))
