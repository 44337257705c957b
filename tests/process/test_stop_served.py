"""Stop through real processes: how soon the provider sees its connection close, and that every tab hears of it."""

from __future__ import annotations

import math
import time
from contextlib import AsyncExitStack

import pytest

from tests.fault_table import record_fault
from tests.process.held import has, stored
from tests.process.installation import Installation
from tests.process.people import SocketReader, StreamReader
from tests.upstream.fixtures import RunningUpstream

pytestmark = pytest.mark.slow
TIMES = 20


@pytest.mark.fault
async def test_the_provider_sees_the_connection_close_within_half_a_second_of_stop(
    installation: Installation, provider: RunningUpstream
):
    times = []
    async with AsyncExitStack() as stack:
        person = await stack.enter_async_context(installation.person())
        for place in range(TIMES):
            count = len(provider.streams)
            # By turns amid the text and before its first word.
            sent = await person.send(await person.begin(), f"hold {place % 2 * 5}", model="openai/fake-counted")
            readers = [kind(person, sent).start() for kind in (StreamReader, SocketReader, SocketReader)]
            await provider.eventually(lambda count=count: len(provider.streams) > count)
            stream = provider.streams[count]
            for reader in readers:
                await reader.until(lambda reader, place=place: ".4" in reader.text if place % 2 else has(reader, 0))
            began = time.monotonic()
            assert (await person.call("POST", f"/chats/{sent.chat}/stop")).body == {"stopped": [sent.generation]}
            await provider.eventually(lambda stream=stream: stream.end is not None)
            times.append((stream.ended_at or 0) - began)
            assert {await reader.ended() for reader in readers} == {"stopped"}
            row = stored(installation, sent)
            assert (stream.end, row.status, len(row.parts)) == ("client_closed", "stopped", place % 2)
    p95 = sorted(times)[TIMES * 95 // 100 - 1]
    print(f"{installation.shape}: the provider saw the end {p95 * 1000:.0f} ms after stop (p95 of {TIMES})")
    assert p95 < 0.5
    assert installation.problems() == []
    record_fault(
        fault="an answer is stopped, before its first word and after it, 20 times",
        shape=installation.shape,
        reader_saw="the end, as stopped, in both tabs and in the stream",
        database_held=f"stopped, with the text so far; the provider's connection was closed within {p95 * 1000:.0f} ms (p95)",
    )


@pytest.mark.fault
@pytest.mark.xdist_group("scaled")
async def test_stopped_while_redis_is_away_an_answer_of_another_process_ends_all_the_same(
    scaled: Installation, provider: RunningUpstream
):
    assert scaled.redis is not None
    async with AsyncExitStack() as stack:
        person = await stack.enter_async_context(scaled.person())
        count = len(provider.streams)
        sent = await person.send(await person.begin(), "hold 5", model="openai/fake-counted")
        readers = [kind(person, sent).start() for kind in (StreamReader, SocketReader)]
        for reader in readers:
            await reader.until(lambda reader: ".4" in reader.text)
        scaled.redis.kill()
        began = time.monotonic()
        assert (await person.call("POST", f"/chats/{sent.chat}/stop")).status == 202
        await provider.eventually(lambda: provider.streams[count].end is not None)
        closed = (provider.streams[count].ended_at or 0) - began
        assert {await reader.ended() for reader in readers} == {"stopped"}
        told = time.monotonic() - began
        scaled.redis.start()
        row = stored(scaled, sent)
        assert (row.status, len(row.parts)) == ("stopped", 1)
        assert readers[0].text == row.parts[0][1]
        # The runner asks the row each second; the rest is for a machine that is busy with other tests.
        assert closed < 5
        assert told < 10
    record_fault(
        fault="Redis is killed, then an answer is stopped",
        shape=scaled.shape,
        reader_saw=f"the end, as stopped, in stream and tab within {math.ceil(told)} s",
        database_held=f"stopped, all that was shown; the provider's connection was closed within {math.ceil(closed)} s",
    )
