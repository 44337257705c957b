"""SQLite locked by another process, for a while and for too long, and without room to write, under running answers."""

from __future__ import annotations

import asyncio
import resource
import time

import pytest

from tests.fault_table import record_fault, seconds
from tests.process.people import StreamReader
from tests.process.watching import answered, watched

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.xdist_group("embedded")]


async def test_a_write_lock_held_for_three_seconds_costs_waiting_and_nothing_else(embedded):
    async with embedded.person() as person, watched(person, "canary-locked", pieces=180, pause=30) as seen:
        await seen.all_show(100)
        chat = await person.begin()
        with embedded.sqlite() as other:
            other.execute("BEGIN IMMEDIATE")
            locked = time.monotonic()
            sending = asyncio.ensure_future(person.call("POST", f"/chats/{chat}/messages", {"content": "canary-x"}))
            # Who reads notices nothing: text doesn't wait for the database, and pages are read beside a writer.
            stream, tab, _ = seen.readers
            while time.monotonic() < locked + 3:
                await asyncio.gather(stream.more(40), tab.more(40))
                status, _ = await person.get(f"/c/{seen.sent.chat}/")
                assert status == 200
            assert not sending.done()
            other.execute("ROLLBACK")
        sent = await sending
        waited = seconds(locked)
        assert sent.status == 202
        text = await seen.all_end("complete")
        assert max(stream.longest_silence, tab.longest_silence) < 1.5
    record_fault(
        fault="Another process holds SQLite's write lock for 3 s",
        shape=embedded.shape,
        reader_saw=f"{seen.told()}; pages 200; a message sent meanwhile was taken after {waited}",
        database_held=f"complete, all {len(text)} characters",
    )


async def test_a_write_lock_held_for_too_long_refuses_what_is_sent_and_loses_nothing(impatient):
    async with impatient.person() as person, watched(person, "canary-stuck", pieces=330, pause=30) as seen:
        await seen.all_show(100)
        chat = await person.begin()
        # Ends while nothing can be written: its end waits for that.
        short = StreamReader(person, await person.send(await person.begin(), "canary-short 60 pieces of 30 ms")).start()
        await short.more(20)
        with impatient.sqlite() as other:
            other.execute("BEGIN IMMEDIATE")
            locked = time.monotonic()
            form = {"content": "These words are kept."}
            sent = await person.post(f"/c/{chat}/send/", form)
            refused = seconds(locked)
            page = await person.submit(f"/c/{chat}/send/", form)
            await seen.readers[0].more(40)
            other.execute("ROLLBACK")
        lasted = seconds(locked)
        assert (sent.status, sent.headers["Retry-After"], page.status) == (503, "2", 503)
        assert "These words are kept.</textarea>" in page.body
        text = await seen.all_end("complete")
        assert await short.ended() == "complete"
        await answered(person, "canary-after")
    record_fault(
        fault=f"Another process holds SQLite's write lock for {lasted}, with a patience of 2 s",
        shape=impatient.shape,
        reader_saw=f"{seen.told()}; a message sent: 503 with Retry-After 2 after {refused}, its words back in the box",
        database_held=f"complete, all {len(text)} characters; one that ended meanwhile complete, {len(short.text)}",
    )


async def test_a_full_disk_refuses_what_is_sent_and_keeps_what_is_written(impatient):
    async with impatient.person() as person, watched(person, "canary-full", pieces=230, pause=30) as seen:
        await seen.all_show(100)
        chat = await person.begin()
        short = StreamReader(person, await person.send(await person.begin(), "canary-short 60 pieces of 30 ms")).start()
        await short.more(20)
        web = impatient.processes()["web"]
        before = resource.prlimit(web, resource.RLIMIT_FSIZE)
        # No file grows beyond what it has: what a full disk does to whoever writes.
        resource.prlimit(web, resource.RLIMIT_FSIZE, (16_384, before[1]))
        full = time.monotonic()
        try:
            form = {"content": "These words are kept."}
            sent = await person.post(f"/c/{chat}/send/", form)
            page = await person.submit(f"/c/{chat}/send/", form)
            read, _ = await person.get(f"/c/{seen.sent.chat}/")
            await asyncio.gather(*(reader.more(40) for reader in seen.readers[:2]))
            while time.monotonic() < full + 2:
                await seen.readers[0].more(40)
        finally:
            resource.prlimit(web, resource.RLIMIT_FSIZE, before)
        lasted = seconds(full)
        assert (sent.status, page.status, read) == (503, 503, 200)
        assert "These words are kept.</textarea>" in page.body
        text = await seen.all_end("complete")
        assert await short.ended() == "complete"
        await answered(person, "canary-after")
    record_fault(
        fault=f"The disk is full for {lasted} (no file may grow)",
        shape=impatient.shape,
        reader_saw=f"{seen.told()}; pages 200; a message sent: 503, its words back in the box",
        database_held=f"complete, all {len(text)} characters; one that ended meanwhile complete, {len(short.text)}",
    )
