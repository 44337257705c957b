"""Two web processes behind nginx are restarted, one after the other, under twenty running answers and steady sending.

`make rolling-restart` runs it and prints what it saw.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from apps.core.markdown import render
from tests.fault_table import record_fault
from tests.process.fleet import Fleet
from tests.process.people import LOST, Person, Reader, Sent, SocketReader, StreamReader
from tests.servers import PostgresServer, RedisServer
from tests.upstream import texts
from tests.upstream.fixtures import RunningUpstream

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.xdist_group("scaled")]
ANSWERS = 20
# Seconds between two sends; each is a chat, a message, a page and the path of messages.
SENDING = 0.1
# Seconds from a process that is ready to the next one's restart: nginx asks again whoever refused only after a second.
BETWEEN = 2.0


@pytest.fixture(scope="module")
def made_fleet(
    provider: RunningUpstream,
    own_postgres: PostgresServer,
    own_redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), upstream=provider.url, postgres=own_postgres, redis=own_redis)
    try:
        fleet.make_database()
        yield fleet
    finally:
        fleet.stop_all()


@pytest.fixture
def fleet(made_fleet: Fleet) -> Fleet:
    made_fleet.start_all()
    return made_fleet


@dataclass
class Sender:
    """Somebody who sends without pause, each thing once: whatever fails is counted, nothing is tried again."""

    person: Person
    sent: list[tuple[Sent, str]] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    _over: bool = False

    async def send(self) -> None:
        number = 0
        while not self._over:
            canary = f"canary-sent{number}"
            number += 1
            chat = await self._once("POST", "/chats", {"title": "sent"})
            if chat is not None:
                path = f"/chats/{chat['id']}/messages"
                reply = await self._once("POST", path, {"content": f"{canary} 5 pieces", "model": "openai/fake-canary"})
                if reply is not None:
                    self.sent.append((Sent(chat["id"], reply["messageIds"][0], reply["generationIds"][0]), canary))
                await self._once("GET", path)
                await self._page(chat["id"])
            await asyncio.sleep(SENDING)

    def end(self) -> None:
        self._over = True

    @property
    def failures(self) -> dict[str, int]:
        return {key: count for key, count in self.statuses.items() if key.split()[1] not in ("200", "201", "202")}

    async def _once(self, method: str, path: str, body: object = None) -> dict | None:
        try:
            reply = await self.person.call(method, path, body)
        except LOST as error:
            self.statuses[f"{method} {type(error).__name__}"] += 1
            return None
        self.statuses[f"{method} {reply.status}"] += 1
        return reply.body if reply.status < 300 else None

    async def _page(self, chat: str) -> None:
        try:
            status, _ = await self.person.get(f"/c/{chat}/")
        except LOST as error:
            self.statuses[f"page {type(error).__name__}"] += 1
        else:
            self.statuses[f"page {status}"] += 1


@asynccontextmanager
async def answers_and_readers(fleet: Fleet, count: int) -> AsyncIterator[list[tuple[Sent, str, list[Reader]]]]:
    """Have people's answers begun, each read by event stream and by a socket."""
    async with AsyncExitStack() as stack:
        found = []
        for number in range(count):
            person = await stack.enter_async_context(fleet.person(number))
            canary = f"canary-rolling{number}"
            sent = await person.send(await person.begin(), f"{canary} of 40 ms", model="openai/fake-patient")
            readers: list[Reader] = [StreamReader(person, sent).start(), SocketReader(person, sent).start()]
            for reader in readers:
                stack.push_async_callback(reader.leave)
            found.append((sent, canary, readers))
        yield found


def rows_of(fleet: Fleet) -> dict[str, tuple[str, str]]:
    """Read the status and the text of every answer from the database."""
    rows = fleet.ask("SELECT id::text, status, parts::text FROM conversations_message WHERE role = 'assistant'")
    return {key: (status, "".join(part["text"] for part in json.loads(parts))) for key, status, parts in rows}


async def test_two_web_processes_restarted_in_turn_cost_readers_and_senders_nothing(
    fleet: Fleet, provider: RunningUpstream
) -> None:
    provider.reset()
    async with answers_and_readers(fleet, ANSWERS) as answers, fleet.person(ANSWERS) as somebody:
        sender = Sender(somebody)
        sending = asyncio.ensure_future(sender.send())
        everyone = [reader for _, _, readers in answers for reader in readers]
        await asyncio.gather(*(reader.until(lambda reader: len(reader.text) > 60) for reader in everyone))
        restarts = []
        for number in range(2):
            restarts.append(await asyncio.to_thread(fleet.restart, number))
            await asyncio.gather(asyncio.sleep(BETWEEN), *(reader.more() for reader in everyone))
        sender.end()
        await sending
        provider.release()
        statuses = await asyncio.gather(*(reader.ended() for reader in everyone))
        await asyncio.to_thread(fleet.until_idle)
    rows = rows_of(fleet)
    counted = lost_and_twice(answers, rows)
    told = report(restarts, answers, sender, counted, fleet)
    print(told)
    assert set(statuses) == {"complete"}
    assert counted == (0, 0), told
    assert sorted(pieces_of(rows, answers)) == pieces_said(provider)
    assert sender.failures == {}, told
    assert min(reader.cuts for reader in everyone) >= 1
    assert [status for status, _, _ in restarts] == [0, 0]
    assert max(ending for _, ending, _ in restarts) < 8
    for sent, canary in sender.sent:
        assert rows[sent.message] == ("complete", "".join(texts.canary(canary, 5)))
    record(restarts, answers, sender)


async def test_when_a_web_process_is_killed_its_readers_go_on_at_the_other_one(
    fleet: Fleet, provider: RunningUpstream
) -> None:
    async with answers_and_readers(fleet, 6) as answers:
        everyone = [reader for _, _, readers in answers for reader in readers]
        await asyncio.gather(*(reader.until(lambda reader: len(reader.text) > 60) for reader in everyone))
        await asyncio.to_thread(fleet.kill, 0)
        await asyncio.gather(*(reader.more() for reader in everyone))
        provider.release()
        statuses = await asyncio.gather(*(reader.ended() for reader in everyone))
        await asyncio.to_thread(fleet.until_idle)
    cut = [reader for reader in everyone if reader.cuts]
    assert set(statuses) == {"complete"}
    assert lost_and_twice(answers, rows_of(fleet)) == (0, 0)
    assert 0 < len(cut) < len(everyone)
    record_fault(
        fault="One of two web processes behind nginx is killed (-9), and stays dead",
        shape="scaled",
        reader_saw=f"{len(cut)} of {len(everyone)} readers were cut, and went on at the other one; "
        f"silent at most {max(reader.longest_silence for reader in cut):.1f} s",
        database_held=f"{len(answers)} answers, complete",
    )


def lost_and_twice(answers: list[tuple[Sent, str, list[Reader]]], rows: dict[str, tuple[str, str]]) -> tuple[int, int]:
    """Count the characters that readers lack and those they have too many, against the rows, which are the provider's words."""
    lost = twice = 0
    for sent, canary, readers in answers:
        status, text = rows[sent.message]
        assert status == "complete"
        assert text == "".join(texts.canary(canary, len(text)))[: len(text)]
        for reader in readers:
            wanted = text if isinstance(reader, StreamReader) else render(text)
            if reader.text != wanted:
                lost += max(0, len(wanted) - len(reader.text)) or 1
                twice += max(0, len(reader.text) - len(wanted))
    return lost, twice


def pieces_of(rows: dict[str, tuple[str, str]], answers: list[tuple[Sent, str, list[Reader]]]) -> list[int]:
    """Count the pieces of each answer: every one names its canary once."""
    return [rows[sent.message][1].count(f"{canary} ") for sent, canary, _ in answers]


def pieces_said(provider: RunningUpstream) -> list[int]:
    """Count the pieces that the provider sent in each answer, without the chunks for role, reason and usage."""
    return sorted(stream.chunks - 3 for stream in provider.streams if stream.model == "fake-patient")


def report(
    restarts: list[tuple[int, float, float]],
    answers: list[tuple[Sent, str, list[Reader]]],
    sender: Sender,
    counted: tuple[int, int],
    fleet: Fleet,
) -> str:
    readers = [reader for _, _, several in answers for reader in several]
    ends = ", ".join(f"{ending:.1f} s to end and {starting:.1f} s to start" for _, ending, starting in restarts)
    return (
        f"\n{len(answers)} answers, {len(readers)} readers; web processes took {ends}\n"
        f"characters lost {counted[0]}, twice {counted[1]}; connections cut {sum(one.cuts for one in readers)}, "
        f"longest silence {max(one.longest_silence for one in readers):.1f} s\n"
        f"requests meanwhile {dict(sender.statuses)}, failed {sender.failures or 0}\n"
        f"statuses that nginx gave {fleet.nginx.statuses()}\n"
    )


def record(
    restarts: list[tuple[int, float, float]], answers: list[tuple[Sent, str, list[Reader]]], sender: Sender
) -> None:
    readers = [reader for _, _, several in answers for reader in several]
    record_fault(
        fault="Two web processes behind nginx are restarted in turn under 20 answers",
        shape="scaled",
        reader_saw=f"{len(readers)} readers by event stream and socket: all cut, all came back, silent at most "
        f"{max(one.longest_silence for one in readers):.1f} s; {sum(sender.statuses.values())} requests meanwhile, none failed",
        database_held="all complete, to the character what the provider said and every reader had",
    )
