"""PostgreSQL crashed and away for longer than a lease, and its connections cut, under running answers that are read."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter

import pytest

from tests.fault_table import record_fault, seconds
from tests.process.people import StreamReader
from tests.process.watching import answered, watched

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.xdist_group("scaled")]


async def test_a_postgres_that_crashed_and_was_away_for_longer_than_a_lease_costs_no_text(scaled):
    async with scaled.person() as person, watched(person, "canary-crashed", pieces=400, pause=30) as seen:
        await seen.all_show(100)
        # Ends while the database is away: its end waits for it.
        short = StreamReader(person, await person.send(await person.begin(), "canary-short 40 pieces of 30 ms")).start()
        await short.more(20)
        await asyncio.to_thread(scaled.postgres.stop, signal.SIGQUIT)
        crashed = time.monotonic()
        refused, longest = Counter(), 0.0
        while time.monotonic() < crashed + 7.5:
            asked = time.monotonic()
            status, _ = await person.get(f"/c/{seen.sent.chat}/")
            sent = await person.post(f"/c/{seen.sent.chat}/send/", {"content": "kept words"})
            longest = max(longest, (time.monotonic() - asked) / 2)
            assert (status, sent.status, sent.headers["Retry-After"]) == (503, 503, "2")
            refused[503] += 2
            # Live text goes on by Redis.
            await seen.readers[0].more(40)
        lasted = seconds(crashed)
        await asyncio.to_thread(scaled.postgres.start)
        back = time.monotonic()
        status, page = await person.get(f"/c/{seen.sent.chat}/")
        assert (status, seen.sent.message in page) == (200, True)
        healed = seconds(back)
        assert time.monotonic() - back < 2
        await answered(person, "canary-back")
        text = await seen.all_end("complete")
        assert await short.ended() == "complete"
    record_fault(
        fault=f"PostgreSQL crashes (SIGQUIT) and is away for {lasted}, with leases of 4 s",
        shape=scaled.shape,
        reader_saw=f"{seen.told()}; {refused[503]} pages and sends refused with 503 and Retry-After 2, within "
        f"{longest:.1f} s each; a page {healed} after the start",
        database_held=f"complete, all {len(text)} characters; one that ended meanwhile complete, {len(short.text)}",
    )


async def test_connections_to_postgres_that_are_cut_cost_nobody_anything(scaled):
    async with scaled.person() as person, watched(person, "canary-cut", pieces=130, pause=30) as seen:
        await seen.all_show(100)
        cut, statuses = 0, Counter()
        for _ in range(3):
            await asyncio.gather(*(person.get(f"/c/{seen.sent.chat}/") for _ in range(8)))
            cut += scaled.postgres.cut(scaled.database)
            for _ in range(8):
                status, _ = await person.get(f"/c/{seen.sent.chat}/")
                statuses[status] += 1
            await answered(person, "canary-again")
        text = await seen.all_end("complete")
        # One may have been in use at that moment.
        assert statuses[503] <= 3
        assert statuses[200] + statuses[503] == 24
    record_fault(
        fault=f"All connections to PostgreSQL are cut three times ({cut} in all)",
        shape=scaled.shape,
        reader_saw=f"{seen.told()}; of 24 pages right after a cut {statuses[200]} came, {statuses[503]} were 503; "
        "3 messages sent then were answered",
        database_held=f"complete, all {len(text)} characters",
    )
