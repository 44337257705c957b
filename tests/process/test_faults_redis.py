"""Redis killed, emptied, paused and full under running answers, seen by event stream, socket and polling."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.fault_table import record_fault, seconds
from tests.process.people import StreamReader
from tests.process.watching import answered, until_live, watched

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.xdist_group("scaled")]
# Rows are kept each second and read each second: with Redis away, news come that seldom, on a busy machine.
ROWS = 6.0


async def test_a_killed_redis_costs_live_text_and_nothing_else(scaled):
    async with scaled.person() as person, watched(person, "canary-killed", pieces=170, pause=30) as seen:
        await seen.all_show(100)
        await asyncio.to_thread(scaled.redis.kill)
        killed = time.monotonic()
        await seen.all_show_more()
        status, page = await person.get(f"/c/{seen.sent.chat}/")
        assert (status, seen.sent.message in page) == (200, True)
        await answered(person, "canary-away")
        taken = seconds(killed)
        text = await seen.all_end("complete")
        assert max(reader.longest_silence for reader in seen.readers) < ROWS
        await asyncio.to_thread(scaled.redis.start)
        healed = await until_live(person)
    record_fault(
        fault="Redis is killed, and started again after the answer",
        shape=scaled.shape,
        reader_saw=f"{seen.told()}; pages 200; a message sent meanwhile was answered within {taken} of the kill; "
        f"live text again {healed} after the start",
        database_held=f"complete, all {len(text)} characters",
    )


async def test_an_emptied_redis_grows_no_text_without_its_head(scaled):
    async with scaled.person() as person, watched(person, "canary-emptied", pieces=130, pause=30) as seen:
        await seen.all_show(100)
        late = []
        for _ in range(4):
            assert scaled.redis.call("FLUSHALL") == b"+OK\r\n"
            # Who comes now finds what the flushed Redis has grown since: all of the answer, or nothing.
            late.append(StreamReader(person, seen.sent).start())
            await seen.readers[0].more(100)
        text = await seen.all_end("complete")
        for reader in late:
            assert (await reader.ended(), reader.text) == ("complete", text)
    record_fault(
        fault="Redis is emptied four times",
        shape=scaled.shape,
        reader_saw=f"{seen.told()}; {len(late)} who came right after a flush had all of it from the start",
        database_held=f"complete, all {len(text)} characters",
    )


async def test_a_paused_redis_holds_nobody_up(scaled):
    async with scaled.person() as person, watched(person, "canary-paused", pieces=220, pause=30) as seen:
        await seen.all_show(100)
        scaled.redis.pause()
        try:
            paused = time.monotonic()
            status, _ = await person.get(f"/c/{seen.sent.chat}/")
            page = seconds(paused)
            await answered(person, "canary-stuck")
            taken = seconds(paused)
            await seen.all_show_more()
            lasted = seconds(paused)
        finally:
            scaled.redis.resume()
        text = await seen.all_end("complete")
        healed = await until_live(person)
        assert status == 200
        assert max(reader.longest_silence for reader in seen.readers) < ROWS + 3
    record_fault(
        fault=f"Redis stands still (SIGSTOP) for {lasted}",
        shape=scaled.shape,
        reader_saw=f"{seen.told()}; a page after {page}; a message sent meanwhile answered within {taken}; "
        f"live text again {healed} later",
        database_held=f"complete, all {len(text)} characters",
    )


async def test_a_full_redis_still_carries_live_text(scaled):
    async with scaled.person() as person, watched(person, "canary-full", pieces=120, pause=30) as seen:
        await seen.all_show(100)
        scaled.redis.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        scaled.redis.call("CONFIG", "SET", "maxmemory", "1")
        try:
            refused = scaled.redis.call("SET", "room", "none")
            late = StreamReader(person, seen.sent).start()
            another = await answered(person, "canary-noroom", pieces=20)
            text = await seen.all_end("complete")
            assert (await late.ended(), late.text) == ("complete", text)
        finally:
            scaled.redis.call("CONFIG", "SET", "maxmemory", "0")
        assert refused.startswith(b"-OOM")
    record_fault(
        fault="Redis is full (maxmemory 1, noeviction)",
        shape=scaled.shape,
        reader_saw=f"{seen.told()}; one who came while it was full had all of it; another answer came in "
        f"{len(another.silences)} pieces",
        database_held=f"complete, all {len(text)} characters",
    )
