"""Runners that are killed after a delta, or paused past their lease: what was shown is kept, and nobody writes it twice."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack

import pytest

from apps.core.markdown import render
from tests.fault_table import record_fault
from tests.process.held import Held, all_wait, held_at, parts_at, stored
from tests.process.installation import Installation
from tests.process.people import Person, SocketReader, StreamReader
from tests.streaming.writing import LAST
from tests.upstream.fixtures import RunningUpstream

pytestmark = pytest.mark.slow
# Before the first delta, in the first reasoning, around the huge delta, among the single characters, after the last.
PLACES = [0, 1, 20, 60, 95, 120, 150, 200]
PATIENCE = 40.0


class Clocked(StreamReader):
    """Note when how much was shown."""

    def news(self) -> None:
        super().news()
        self.shown = [*getattr(self, "shown", []), (time.monotonic(), sum(map(len, self.parts.values())))]

    def characters_at(self, moment: float) -> int:
        return max((size for at, size in self.shown if at <= moment), default=0)


def let_leases_run_out(scaled: Installation) -> None:
    """Have an hour gone by since the last sign of life of all who hold an answer."""
    assert scaled.postgres is not None
    past = "UPDATE conversations_generation SET lease_until = now() - interval '1 hour' WHERE state = 'running'"
    scaled.postgres.query(past, scaled.database)


async def all_held(
    stack: AsyncExitStack,
    installation: Installation,
    provider: RunningUpstream,
    person: Person,
    places: Sequence[int] = PLACES,
) -> list[Held]:
    """Have an answer at each place, read by stream and by socket."""
    asked = len(provider.streams)
    held = [await held_at(stack, installation, person, place, (Clocked, SocketReader)) for place in places]
    await asyncio.gather(*(one.all_have_it() for one in held))
    await all_wait(provider, asked, places)
    return held


def size(installation: Installation, held: Iterable[Held]) -> int:
    """Count the characters that the database has of some answers."""
    return sum(len(text) for one in held for _, text in stored(installation, one.sent).parts)


async def swept(installation: Installation, person: Person, held: list[Held]) -> None:
    """Look at the chats, as their owner does, until no answer is left without a runner."""
    async with asyncio.timeout(PATIENCE):
        for one in held:
            while (row := stored(installation, one.sent)).attempt == 1 and row.state == "running":
                assert (await person.get(f"/c/{one.sent.chat}/"))[0] == 200
                await asyncio.sleep(0.1)


async def goes_on(installation: Installation, person: Person, one: Held) -> None:
    """Continue an interrupted answer: it becomes whole."""
    assert f"/m/{one.sent.message}/continue/" in (await person.get(f"/c/{one.sent.chat}/"))[1]
    reply = await person.call("POST", f"/chats/{one.sent.chat}/messages/{one.sent.message}/continue")
    assert reply.status == 202, reply
    async with asyncio.timeout(PATIENCE):
        while (row := stored(installation, one.sent)).state in ("queued", "running"):
            await asyncio.sleep(0.05)
    assert (row.status, row.parts) == ("complete", parts_at(LAST))


async def check_all(installation: Installation, person: Person, held: list[Held]) -> int:
    """See each answer as promised and each reader with what its row has; gives how many characters are kept."""
    kept = 0
    for one in held:
        statuses = [await reader.ended() for reader in one.readers]
        row = stored(installation, one.sent)
        expected = "interrupted" if one.place else "complete"
        assert {row.status, *statuses} == {expected}, one.place
        assert (row.attempt, row.error) == ((1, "restarted") if one.place else (2, "")), one.place
        kept += sum(len(text) for _, text in row.parts)
        stream, tab = one.readers
        assert tab.text == "".join(render(text) for _, text in row.parts), one.place
        if not one.place:
            assert row.parts == parts_at(LAST)
            assert stream.parts == {index: text for index, (_, text) in enumerate(row.parts)}
        for index, (kind, text) in enumerate(row.parts):
            said = parts_at(one.place or LAST)[index]
            assert (kind, text) == (said[0], said[1][: len(text)]), one.place
    return kept


async def all_go_on(installation: Installation, person: Person, held: Iterable[Held]) -> None:
    """Continue what was interrupted and has text."""
    for one in held:
        if any(kind == "text" for kind, _ in stored(installation, one.sent).parts) and one.place:
            await goes_on(installation, person, one)
    assert installation.problems() == []


@pytest.mark.fault
@pytest.mark.xdist_group("embedded")
async def test_kill_9_of_the_web_process_after_a_delta_costs_its_answers_a_second_at_most(
    embedded: Installation, provider: RunningUpstream
):
    async with AsyncExitStack() as stack:
        person = await stack.enter_async_context(embedded.person())
        stood = await all_held(stack, embedded, provider, person, PLACES[::2])
        async with asyncio.timeout(PATIENCE):
            while size(embedded, stood) < sum(len(text) for one in stood for _, text in parts_at(one.place)):
                await asyncio.sleep(0.02)
        said = await all_held(stack, embedded, provider, person, PLACES[1::2])
        asked, killed = len(provider.streams), time.monotonic()
        embedded.stop(signal.SIGKILL)
        await asyncio.to_thread(embedded.start)
        await all_wait(provider, asked, [0])
        provider.release()
        await check_all(embedded, person, [*stood, *said])
        assert all(stored(embedded, one.sent).parts == parts_at(one.place or LAST) for one in stood)
        shown = sum(one.readers[0].characters_at(killed) for one in said)
        kept = size(embedded, said)
        for one in said:
            # A second, and as much again for a machine that is busy with other tests.
            assert size(embedded, [one]) >= one.readers[0].characters_at(killed - 2), one.place
        await all_go_on(embedded, person, [*stood, *said])
    record_fault(
        fault="kill -9 of the runner after a delta, at eight places",
        shape=embedded.shape,
        reader_saw="7 answers end as interrupted, Continue goes on with them; the one without a delta begins again, and all of it",
        database_held=f"all of the answers that a checkpoint had seen, {kept} of {shown} characters of 4 shown a moment before",
    )


@pytest.mark.fault
@pytest.mark.xdist_group("scaled")
async def test_kill_9_of_a_runner_after_a_delta_costs_its_answers_nothing(
    scaled: Installation, provider: RunningUpstream
):
    async with AsyncExitStack() as stack:
        person = await stack.enter_async_context(scaled.person())
        held = await all_held(stack, scaled, provider, person)
        asked = len(provider.streams)
        scaled.stop_runner(signal.SIGKILL)
        let_leases_run_out(scaled)
        scaled.start_runner()
        await swept(scaled, person, held)
        await all_wait(provider, asked, [0])
        provider.release()
        kept = await check_all(scaled, person, held)
        await all_go_on(scaled, person, held)
        shown = sum(one.readers[0].characters_at(time.monotonic()) for one in held)
        for one in held:
            assert one.readers[0].parts == {n: text for n, (_, text) in enumerate(parts_at(one.place or LAST))}
    assert kept == shown
    record_fault(
        fault="kill -9 of the runner after a delta, at eight places",
        shape=scaled.shape,
        reader_saw="7 answers end as interrupted, Continue goes on with them; the one without a delta begins again, and all of it",
        database_held=f"all {kept} characters that were shown, what no row had yet from Redis",
    )


def calls_in(text: str) -> list[str]:
    """Name the calls of the provider that a text is made of, in order."""
    return list(dict.fromkeys(word.split(".")[0] for word in text.split()))


@pytest.mark.fault
@pytest.mark.xdist_group("scaled")
async def test_a_runner_that_was_paused_past_its_lease_and_goes_on_writes_nothing(
    scaled: Installation, provider: RunningUpstream
):
    async with AsyncExitStack() as stack:
        person = await stack.enter_async_context(scaled.person())
        kinds = (StreamReader, SocketReader)
        asked = len(provider.streams)
        silent, amid = [await held_at(stack, scaled, person, n, kinds, model="openai/fake-counted") for n in (0, 20)]
        await all_wait(provider, asked, [0, 20])
        asked += 2
        for reader in amid.readers:
            await reader.until(lambda reader: ".19" in reader.text)
        paused = scaled.processes()["runner 0"]
        os.kill(paused, signal.SIGSTOP)
        stack.callback(os.kill, paused, signal.SIGCONT)
        let_leases_run_out(scaled)
        scaled.start_runner()
        await swept(scaled, person, [silent, amid])
        await all_wait(provider, asked, [0])
        provider.release()
        url = f"/chats/{amid.sent.chat}/messages/{amid.sent.message}/continue"
        assert (await person.call("POST", url)).status == 202
        async with asyncio.timeout(PATIENCE):
            while {stored(scaled, one.sent).status for one in (silent, amid)} != {"complete"}:
                await asyncio.sleep(0.05)
        before, lost = [stored(scaled, one.sent) for one in (silent, amid)], scaled.logged("lease-lost")
        os.kill(paused, signal.SIGCONT)
        # By stream, while the first runner says what it still had to say.
        late = [StreamReader(person, one.sent).start() for one in (silent, amid)]
        async with asyncio.timeout(PATIENCE):
            while scaled.logged("lease-lost") < lost + 2:
                await asyncio.sleep(0.05)
        assert [stored(scaled, one.sent) for one in (silent, amid)] == before
        texts = ["".join(text for _, text in row.parts) for row in before]
        assert [await reader.ended() for reader in (*silent.readers, *amid.readers, *late)] == [
            *["complete"] * 2,
            *["interrupted"] * 2,
            *["complete", "interrupted"],
        ]
        assert [reader.text for reader in late] == texts
        assert silent.readers[0].text == texts[0]
        assert texts[1].startswith(amid.readers[0].text)
        assert [len(calls_in(text)) for text in texts] == [1, 2]
        assert [row.attempt for row in before] == [2, 1]
    assert scaled.problems() == []
    scaled.stop_runner()
    record_fault(
        fault="a runner is stopped (SIGSTOP) past its lease and continued, with an answer not begun and one half said",
        shape=scaled.shape,
        reader_saw="the one begun anew by the second runner, whole; the other interrupted, continued by the second; never both at once",
        database_held=f"what the second runner wrote, {sum(map(len, texts))} characters, unchanged by the first",
    )
