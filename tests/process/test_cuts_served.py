"""Readers of a real server whose connections are cut after a delta: they come back, and have what the database has."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import count
from random import Random

import pytest

from apps.core.markdown import render
from tests.fault_table import record_fault
from tests.process.held import MODEL, all_wait, held_at, parts_at, reader_through, stored
from tests.process.installation import Installation
from tests.process.lines import Line
from tests.process.people import Reader, SocketReader, StreamReader
from tests.streaming.writing import LAST
from tests.upstream.fixtures import RunningUpstream

pytestmark = pytest.mark.slow
# Spread over reasoning and text, around the huge delta, among the single characters; before the first and after the last.
PLACES = [0, 1, 20, 34, 60, 94, 95, 126, 170, 200]


@pytest.mark.fault
async def test_cut_after_a_delta_every_reader_has_in_the_end_what_the_database_has(
    installation: Installation, provider: RunningUpstream
):
    expected = parts_at(LAST)
    async with AsyncExitStack() as stack:
        person = await stack.enter_async_context(installation.person())
        asked = len(provider.streams)
        cuts = [await held_at(stack, installation, person, place) for place in PLACES]
        await asyncio.gather(*(cut.all_have_it() for cut in cuts))
        await all_wait(provider, asked, PLACES)
        for cut in cuts:
            for line in cut.lines:
                # Two, for aiohttp tries once more by itself.
                line.cut(refuse=2)
        # The rest is said while they come back.
        provider.release()
        for cut in cuts:
            assert [await reader.ended() for reader in cut.readers] == ["complete"] * 3
            row = stored(installation, cut.sent)
            assert (row.status, row.parts) == ("complete", expected)
            stream, tab, poll = cut.readers
            assert stream.parts == {index: text for index, (_, text) in enumerate(expected)}
            assert tab.text == poll.text == "".join(render(text) for _, text in expected)
            assert min(reader.cuts for reader in cut.readers) >= 1
    assert installation.problems() == []
    seen = sum(reader.cuts for cut in cuts for reader in cut.readers)
    record_fault(
        fault="readers' connections are cut off after a delta, at ten places",
        shape=installation.shape,
        reader_saw=f"30 readers lost {seen} connections and came back to the whole text, none of it twice",
        database_held=f"10 answers of {sum(len(text) for _, text in expected)} characters, complete",
    )


@pytest.mark.xdist_group("embedded")
async def test_lines_that_break_after_any_byte_cost_no_reader_a_character(embedded: Installation):
    chance = Random(7)
    async with AsyncExitStack() as stack:
        person = await stack.enter_async_context(embedded.person())
        readers: list[Reader] = []
        for number in range(4):
            sent = await person.send(await person.begin(), f"Go {number}", model=MODEL)
            for kind in (StreamReader, SocketReader):
                line = Line(embedded.port, lives=(chance.randrange(200, 4_000 * tries) for tries in count(1)))
                readers.append(await reader_through(stack, embedded, line, kind, sent))
        for reader in readers:
            assert await reader.ended() == "complete"
    texts = {index: text for index, (_, text) in enumerate(parts_at(LAST))}
    html = "".join(render(text) for text in texts.values())
    for reader in readers:
        assert (reader.parts if isinstance(reader, StreamReader) else reader.text) in (texts, html)
    assert sum(reader.cuts for reader in readers) >= len(readers)
