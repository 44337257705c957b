"""Readers of a real server whose connections are cut after a delta: they come back, and have what the database has."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from random import Random
from uuid import UUID

import pytest

from apps.core.markdown import render
from tests.fault_table import record_fault
from tests.process.installation import Installation
from tests.process.lines import Line
from tests.process.people import Person, PollReader, Reader, Sent, SocketReader, StreamReader
from tests.streaming.test_cut_pages import views_of
from tests.streaming.writing import Writing
from tests.upstream.fixtures import RunningUpstream

pytestmark = pytest.mark.slow
# Spread over reasoning and text, around the huge delta, among the single characters; before the first and after the last.
PLACES = [0, 1, 20, 34, 60, 94, 95, 126, 170, 200]
MODEL = "openai/fake-recorded"
RECORDED = Writing(None)


@dataclass
class Cut:
    """One answer that waits after some delta, and its readers, each with a line of its own."""

    place: int
    sent: Sent
    readers: list[Reader]
    lines: list[Line]

    async def all_have_it(self) -> None:
        """Wait until each reader has every delta before the place."""
        for reader in self.readers:
            await reader.until(lambda reader: has(reader, self.place))


def has(reader: Reader, place: int) -> bool:
    """Tell whether a reader has what was said up to a place, and nothing else."""
    parts = RECORDED.parts[place]
    if isinstance(reader, StreamReader):
        return reader.last != "" and reader.parts == {index: part.text for index, part in enumerate(parts)}
    if isinstance(reader, SocketReader):
        *_, shown = views_of((part.kind, part.text) for part in parts)
        return reader.sent.message in reader.page.parts and reader.text == shown
    return reader.polls > 0 and reader.text == "".join(render(part.text) for part in parts)


async def reader_through(
    stack: AsyncExitStack, installation: Installation, line: Line, kind: type[Reader], sent: Sent
) -> Reader:
    """Begin to read an answer over a line."""
    person = await stack.enter_async_context(installation.person())
    person.url = (await stack.enter_async_context(line)).url
    reader = kind(person, sent)
    stack.push_async_callback(reader.leave)
    return reader.start()


async def held_at(stack: AsyncExitStack, installation: Installation, person: Person, place: int) -> Cut:
    """Have an answer begun that waits after so many deltas, and read in all three ways."""
    sent = await person.send(await person.begin(), f"hold {place}", model=MODEL)
    lines = [Line(installation.port) for _ in range(3)]
    kinds = (StreamReader, SocketReader, PollReader)
    readers = [
        await reader_through(stack, installation, line, kind, sent) for line, kind in zip(lines, kinds, strict=True)
    ]
    return Cut(place, sent, readers, lines)


def stored(installation: Installation, sent: Sent) -> list[tuple[str, str]]:
    """Read an answer's parts from the database itself."""
    message = sent.message if installation.postgres else UUID(sent.message).hex
    [(parts, status)] = installation.ask(f"SELECT parts, status FROM conversations_message WHERE id = '{message}'")
    assert status == "complete"
    return [(part["type"], part["text"]) for part in (json.loads(parts) if isinstance(parts, str) else parts)]


@pytest.mark.fault
async def test_cut_after_a_delta_every_reader_has_in_the_end_what_the_database_has(
    installation: Installation, provider: RunningUpstream
):
    expected = [(part.kind, part.text) for part in RECORDED.parts[-1]]
    async with AsyncExitStack() as stack:
        person = await stack.enter_async_context(installation.person())
        cuts = [await held_at(stack, installation, person, place) for place in PLACES]
        await asyncio.gather(*(cut.all_have_it() for cut in cuts))
        for cut in cuts:
            for line in cut.lines:
                # Two, for aiohttp tries once more by itself.
                line.cut(refuse=2)
        # The rest is said while they come back.
        provider.release()
        for cut in cuts:
            assert [await reader.ended() for reader in cut.readers] == ["complete"] * 3
            parts = stored(installation, cut.sent)
            assert parts == expected
            stream, tab, poll = cut.readers
            assert stream.parts == {index: text for index, (_, text) in enumerate(parts)}
            assert tab.text == poll.text == "".join(render(text) for _, text in parts)
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
    texts = {index: part.text for index, part in enumerate(RECORDED.parts[-1])}
    html = "".join(render(text) for text in texts.values())
    for reader in readers:
        assert (reader.parts if isinstance(reader, StreamReader) else reader.text) in (texts, html)
    assert sum(reader.cuts for reader in readers) >= len(readers)
