"""Answers that stand still amid their text, for tests of what is done to them meanwhile; over the API, with a runner."""

import asyncio
from dataclasses import dataclass, field

import pytest

from apps.conversations.models import Generation, Message
from apps.conversations.runner.limits import Limits
from apps.conversations.runner.runner import Runner
from apps.conversations.services import conversations, reading
from apps.conversations.services.invariants import find_problems
from apps.core.db import in_db
from apps.providers.base import Finished
from apps.streaming.readers import End, follow
from tests.conversations.asgi_client import PATIENCE, AsgiCalls

END = Finished("stop")
QUICK = Limits(heartbeat_seconds=0.05, drain_seconds=0.2)


@pytest.fixture
async def sound(db):
    """See, once everything has ended, that no rule of the database is broken. For `usefixtures`: it ends last."""
    yield
    assert await in_db(find_problems) == []


@pytest.fixture
async def runner(bus):
    runner = Runner(bus, limits=QUICK)
    await runner.start()
    yield runner
    await runner.drain(0)


@pytest.fixture
async def calls(user):
    return await AsgiCalls.of(user)


@pytest.fixture
async def chat(user):
    # Named, so that no call for a title takes a script.
    return await in_db(conversations.create, user=user, title="A chat")


@dataclass
class Held:
    """An answer that has said its first words, and says the rest once its gate opens; a reader follows it."""

    chat: str
    question: str
    message: str
    generation: str
    gate: asyncio.Event
    seen: dict[int, str] = field(default_factory=dict)
    reader: asyncio.Task[str] | None = None

    async def end(self) -> str:
        """Wait until the reader has heard the end, and give the status that it was told."""
        assert self.reader is not None
        return await asyncio.wait_for(self.reader, PATIENCE)

    async def row(self) -> Message:
        return await in_db(Message.objects.get, pk=self.message)

    async def job(self) -> Generation:
        return await in_db(Generation.objects.get, pk=self.generation)


async def send(calls, chat, content="Hello", **body):
    """Send a message and give what was answered."""
    status, started = await calls.call("POST", f"/chats/{chat}/messages", {"content": content, **body})
    assert status == 202, started
    return started


async def hold(calls, chat, bus, scripted, *, first="Half a ", rest="sentence.", then=()):
    """Send a message, and wait until a reader has the first words of its answer and the row has them, too."""
    gate = asyncio.Event()
    scripted.add([first, gate, rest, *then, END])
    started = await send(calls, chat)
    held = Held(chat, started["userMessageId"], started["messageIds"][0], started["generationIds"][0], gate)
    held.reader = asyncio.create_task(read(bus, held))
    async with asyncio.timeout(PATIENCE):
        while not held.seen or not (await held.row()).parts:
            await asyncio.sleep(0.005)
    return held


async def read(bus, held) -> str:
    """Follow an answer to its end as any reader does."""
    async for item in follow(bus, held.generation, load_row=load_row, quiet=0.2):
        if isinstance(item, End):
            return item.status
        assert item.offset == len(held.seen.get(item.part, ""))
        held.seen[item.part] = held.seen.get(item.part, "") + item.text
    raise AssertionError("a stream ended without saying so")


async def load_row(live):
    return await in_db(reading.snapshot_of, live)
