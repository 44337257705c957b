"""A reader cut off after any delta comes back at its position: the same text, nothing twice, nothing missing.

All readers of one test read the same writing, each cut off at a place of its own; the writer waits for them, so that
each has had exactly the deltas before its cut. Over Redis one process writes and another reads.
"""

import asyncio
from contextlib import aclosing

import pytest

from apps.streaming.answers import Delta
from apps.streaming.bus import Bus
from apps.streaming.memory import MemoryBus
from apps.streaming.readers import End, follow
from tests.fault_table import record_fault
from tests.streaming.writing import LAST, LIVE, PATIENCE, Writing, bus  # noqa: F401  (a fixture)

PLACES = range(LAST + 1)


class Client:
    """Somebody who reads, is cut off after some delta, and comes back once some further ones are written."""

    def __init__(self, writing: Writing, cut_after: int, away_for: int) -> None:
        self.writing = writing
        self.cut_after = cut_after
        self.back_at = min(cut_after + away_for, LAST)
        self.texts: dict[int, str] = {}
        self.position = (0, 0)
        self.has = 0

    def is_there_for(self, number: int) -> bool:
        """Tell whether this client reads when a delta is written."""
        return number <= self.cut_after or number >= self.back_at

    async def read(self) -> str:
        """Read to the end, in two goes, and say how the answer ended."""
        if self.cut_after:
            await self._go(lambda: self.has == self.cut_after)
        else:
            await self._leave_at_once()
        await self.writing.wrote(self.back_at)
        end = await self._go(lambda: False)
        assert end is not None
        return end.status

    async def _go(self, enough) -> End | None:
        part, offset = self.position
        stream = follow(
            self.writing.bus,
            LIVE,
            start_part=part,
            start_offset=offset,
            start_attempt=1,
            load_row=self.writing.load_row,
        )
        async with aclosing(stream):
            async for item in stream:
                if isinstance(item, End):
                    return item
                await self._take(item)
                if enough():
                    return None
        raise AssertionError("a stream ended without saying so")

    async def _take(self, delta: Delta) -> None:
        assert delta.text
        assert delta.offset == len(self.texts.get(delta.part, ""))
        self.texts[delta.part] = self.texts.get(delta.part, "") + delta.text
        self.position = (delta.part, delta.offset + len(delta.text))
        self.has = self.writing.numbers[self.position]
        await self.writing.reach(self.has)

    async def _leave_at_once(self) -> None:
        stream = follow(self.writing.bus, LIVE, load_row=self.writing.load_row)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await stream.aclose()
        await self.writing.reach(0)


async def write_to(clients: list[Client], writing: Writing) -> None:
    """Write the whole answer, waiting for all who are there after each delta; who is back late catches up with it."""
    await writing.all_reached(0, sum(client.cut_after == 0 for client in clients))
    for number in range(1, LAST + 1):
        await writing.write(number)
        # Who comes back just now may find more than one delta waiting, or none at all.
        await writing.all_reached(number, sum(client.is_there_for(number) for client in clients))
    await writing.end()


@pytest.mark.fault
@pytest.mark.parametrize("away_for", [0, 7, LAST])
async def test_cut_after_any_delta_a_reader_goes_on_where_it_was(bus: Bus, away_for: int):  # noqa: F811
    writing = Writing(bus)
    await writing.begin()
    clients = [Client(writing, place, away_for) for place in PLACES]
    async with asyncio.timeout(PATIENCE):
        *ends, _ = await asyncio.gather(*(client.read() for client in clients), write_to(clients, writing))
    assert set(ends) == {"complete"}
    whole = {index: part.text for index, part in enumerate(writing.parts[LAST])}
    assert [client.cut_after for client in clients if client.texts != whole] == []
    record_fault(
        fault="a reader of deltas is cut off after any of 200",
        shape="one process" if isinstance(bus, MemoryBus) else "two processes' buses, Redis between them",
        reader_saw=f"each of {len(clients)}, cut off at another place, all {sum(map(len, whole.values()))} characters once",
        database_held="the same text",
    )


@pytest.mark.parametrize("known_by", ["bus", "row"])
async def test_cut_after_any_delta_a_reader_may_come_back_after_the_end(bus: Bus, known_by: str):  # noqa: F811
    writing = Writing(bus)
    await writing.write_all()
    held = await bus.snapshot(LIVE)
    assert held is not None
    assert held.parts == writing.parts[LAST]
    source = bus if known_by == "bus" else MemoryBus()
    for place in PLACES:
        part, offset = writing.positions[place]
        known = {index: text.text for index, text in enumerate(writing.parts[place])}
        stream = follow(source, LIVE, start_part=part, start_offset=offset, start_attempt=1, load_row=writing.load_row)
        async with asyncio.timeout(PATIENCE):
            *deltas, end = [item async for item in stream]
        for delta in deltas:
            assert delta.offset == len(known.get(delta.part, ""))
            known[delta.part] = known.get(delta.part, "") + delta.text
        assert end == End("complete")
        assert known == {index: text.text for index, text in enumerate(writing.parts[LAST])}
