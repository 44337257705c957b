"""A hundred answers at once, each full of a word of its own, with stops, reloads and cut connections: nobody sees another's."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from contextlib import AsyncExitStack
from random import Random

import pytest

from apps.core.markdown import render
from tests.fault_table import record_fault
from tests.process.held import reader_through
from tests.process.installation import Installation
from tests.process.lines import Line
from tests.process.people import Person, Reader, Sent, SocketReader, StreamReader
from tests.upstream import texts

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("embedded")]
ANSWERS = 100
# Each lasts about four seconds.
PIECES, PAUSE = 48, 80
CANARY = re.compile(r"canary-\w+")


class Watchful(Reader):
    """A reader that looks into everything it is sent, whatever becomes of it."""

    canary = ""

    def look(self, sent: object) -> None:
        found = set(CANARY.findall(json.dumps(sent)))
        assert found <= {self.canary}, f"{self.canary} was sent {found}"


class WatchfulStream(Watchful, StreamReader):
    def _take(self, event):
        self.look(event.data)
        super()._take(event)


class WatchfulTab(Watchful, SocketReader):
    def _show(self) -> None:
        self.look(self.page.frames[-1:])
        super()._show()


class Watcher:
    """Somebody with one answer, who may stop it, load the page again, or be cut off, any number of times."""

    def __init__(self, installation: Installation, people: list[Person], number: int) -> None:
        self.installation = installation
        self.who = number % len(people)
        self.person = people[self.who]
        self.chance = Random(number)
        self.canary = f"canary-{number:03}x"
        self.acts: Counter[str] = Counter()

    async def watch(self) -> str:
        """Ask and read to the end; gives how it ended."""
        chat = await self.person.begin()
        sent = await self.person.send(chat, f"{self.canary} {PIECES} pieces of {PAUSE} ms")
        async with AsyncExitStack() as stack:
            line = Line(self.installation.port)
            reader = await self._open(stack, line, sent)
            for _ in range(self.chance.randrange(4)):
                goal = self.chance.randrange(20, 400)
                await reader.until(lambda reader, goal=goal: len(reader.text) > goal or reader.status != "")
                if reader.status:
                    break
                act = self.chance.choice(["cut", "cut", "reload", "stop"])
                self.acts[act] += 1
                if act == "cut":
                    line.cut()
                elif act == "stop":
                    assert (await self.person.call("POST", f"/chats/{chat}/stop")).status == 202
                    break
                else:
                    await reader.leave()
                    line = Line(self.installation.port)
                    reader = await self._open(stack, line, sent)
            status = await reader.ended()
            await self._check(reader, sent, status)
        return status

    async def _open(self, stack: AsyncExitStack, line: Line, sent: Sent) -> Reader:
        kind = self.chance.choice([WatchfulStream, WatchfulTab])
        reader = await reader_through(stack, self.installation, line, kind, sent, who=self.who, canary=self.canary)
        self.acts["socket" if kind is WatchfulTab else "stream"] += 1
        return reader

    async def _check(self, reader: Reader, sent: Sent, status: str) -> None:
        message = await self.person.message(sent)
        whole = "".join(texts.canary(self.canary, PIECES))
        assert message["status"] == status
        assert message["content"] == whole if status == "complete" else whole.startswith(message["content"])
        assert reader.text in (message["content"], render(message["content"]))


@pytest.mark.fault
async def test_a_hundred_readers_in_disorder_each_see_their_own_answer_alone(embedded: Installation):
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        people = [await stack.enter_async_context(embedded.person(number)) for number in range(len(embedded.people))]
        watchers = [Watcher(embedded, people, number) for number in range(ANSWERS)]
        async with asyncio.timeout(120):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(watcher.watch()) for watcher in watchers]
        statuses = Counter(task.result() for task in tasks)
    acts = sum((watcher.acts for watcher in watchers), Counter())
    took = time.monotonic() - began
    print(f"{ANSWERS} answers in {took:.1f} s: {dict(statuses)}, {dict(acts)}")
    assert set(statuses) == {"complete", "stopped"}
    assert min(acts.values()) > 5
    assert embedded.problems() == []
    record_fault(
        fault="100 answers at once with random stops, reloads and cut connections",
        shape=embedded.shape,
        reader_saw=f"their own answer alone, {acts['stream']} by stream and {acts['socket']} by socket, {acts['cut']} cuts and {acts['reload']} reloads",
        database_held=f"{statuses['complete']} complete, {statuses['stopped']} stopped, each of its own words alone",
    )
