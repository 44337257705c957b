"""The guard: one question for all readers, and those that lapse are turned out, each with its reason."""

import asyncio

import pytest

from apps.streaming.guard import Guard
from tests.streaming.doubles import SOON


class World:
    """Who may read, as a database would know it."""

    def __init__(self):
        self.lapsed = {}
        self.questions = []
        self.is_down = False
        self.asked = asyncio.Event()
        self.turned_out = []
        self.guard = Guard(self.ask, every=0.002)

    async def ask(self, keys):
        self.questions.append(set(keys))
        self.asked.set()
        if self.is_down:
            raise ConnectionError("no database")
        return {key: reason for key, reason in self.lapsed.items() if key in keys}

    def admit(self, name):
        async def turn_out(reason):
            self.turned_out.append((name, reason))

        return self.guard.admit(name.partition("-")[0], turn_out)

    async def next_question(self):
        async with asyncio.timeout(SOON):
            self.asked.clear()
            await self.asked.wait()

    async def until(self, condition):
        async with asyncio.timeout(SOON):
            while not condition():
                await asyncio.sleep(0.001)


@pytest.fixture
async def here():
    world = World()
    yield world
    await world.guard.stop()


async def test_all_readers_are_asked_about_at_once_and_each_key_once(here):
    for name in ("ada-1", "ada-2", "eve-1"):
        here.admit(name)
    await here.next_question()
    assert here.questions[0] == {"ada", "eve"}
    assert here.turned_out == []


async def test_whoever_lapses_is_turned_out_once_with_the_reason(here):
    for name in ("ada-1", "ada-2", "eve-1"):
        here.admit(name)
    here.lapsed["ada"] = "signed out"
    await here.until(lambda: len(here.turned_out) == 2)
    assert sorted(here.turned_out) == [("ada-1", "signed out"), ("ada-2", "signed out")]
    await here.next_question()
    assert here.questions[-1] == {"eve"}
    assert len(here.turned_out) == 2


async def test_who_left_is_asked_about_no_more_and_nobody_means_no_question(here):
    leave, stay = here.admit("ada-1"), here.admit("eve-1")
    leave()
    leave()
    await here.next_question()
    assert here.questions[-1] == {"eve"}
    stay()
    await here.until(lambda: here.guard.is_idle)
    asked = len(here.questions)
    here.admit("ida-1")
    await here.next_question()
    assert here.questions[asked:][0] == {"ida"}


async def test_while_nobody_can_be_asked_all_read_on(here, caplog):
    here.admit("ada-1")
    here.lapsed["ada"] = "signed out"
    here.is_down = True
    await here.next_question()
    await here.next_question()
    assert here.turned_out == []
    here.is_down = False
    await here.until(lambda: here.turned_out == [("ada-1", "signed out")])
    assert "rights-not-read" in caplog.messages


async def test_one_that_cannot_be_turned_out_holds_up_nobody(here, caplog):
    async def fail(reason):
        raise OSError("the other side is gone")

    here.guard.admit("ada", fail)
    here.admit("ada-1")
    here.admit("eve-1")
    here.lapsed["ada"] = "signed out"
    await here.until(lambda: here.turned_out == [("ada-1", "signed out")])
    await here.next_question()
    assert here.questions[-1] == {"eve"}
    assert "reader-not-turned-out" in caplog.messages


async def test_who_leaves_while_the_question_is_asked_is_left_alone(here):
    asked, answer = asyncio.Event(), asyncio.Event()

    async def ask(keys):
        asked.set()
        await answer.wait()
        return dict.fromkeys(keys, "signed out")

    guard = Guard(ask, every=0.001)
    told = []

    async def turn_out(reason):
        told.append(reason)

    leave = guard.admit("ada", turn_out)
    async with asyncio.timeout(SOON):
        await asked.wait()
        leave()
        answer.set()
    await here.until(lambda: guard.is_idle)
    assert told == []


async def test_stopping_asks_no_more(here):
    here.admit("ada-1")
    await here.guard.stop()
    await here.guard.stop()
    assert here.guard.is_idle


async def test_at_the_end_all_are_turned_out_and_so_is_whoever_still_comes(here):
    here.admit("ada-1")
    here.admit("eve-1")
    await here.guard.stop("restarting")
    assert sorted(here.turned_out) == [("ada-1", "restarting"), ("eve-1", "restarting")]
    here.admit("ada-2")
    here.admit("eve-2")
    await here.until(lambda: len(here.turned_out) == 4)
    assert set(here.turned_out[2:]) == {("ada-2", "restarting"), ("eve-2", "restarting")}
    await here.until(lambda: here.guard.is_idle)
