"""The bus inside one process: the contract of every bus, and what is its own."""

import asyncio
import threading

import pytest

from apps.streaming.answers import Delta, PartText, Snapshot
from apps.streaming.bus import live_topic
from apps.streaming.memory import MemoryBus
from tests.streaming.bus_contract import BusContract


class TestMemoryBus(BusContract):
    @pytest.fixture
    def bus(self):
        return MemoryBus()


def x(offset: int, text: str = "x", attempt: int = 1) -> Delta:
    return Delta("g", attempt, 0, "text", offset, text)


async def test_a_delta_with_a_hole_before_it_is_refused():
    bus = MemoryBus()
    await bus.append(x(0))
    with pytest.raises(ValueError, match="does not continue"):
        await bus.append(x(2))
    assert await bus.snapshot("g") == Snapshot(1, (PartText("text", "x"),))


async def test_a_zombies_deltas_are_not_even_published():
    bus = MemoryBus()
    async with await bus.subscribe(live_topic("g")) as subscription:
        await bus.append(x(0, attempt=2))
        await bus.append(x(0, attempt=1))
        await bus.append(x(1, attempt=2))
        events = await subscription.take()
    assert [event["delta"].attempt for _, event in events] == [2, 2]


async def test_an_ended_answer_is_forgotten_after_a_while():
    bus = MemoryBus(keep_seconds=0.0)
    await bus.append(x(0))
    await bus.drop("g")
    async with asyncio.timeout(5):
        while await bus.snapshot("g") is not None:
            await asyncio.sleep(0)


async def test_an_answer_that_began_again_is_not_forgotten_with_the_old_one():
    bus = MemoryBus(keep_seconds=0.0)
    await bus.append(x(0))
    await bus.drop("g")
    await bus.open("g", 2)
    # Timers run in the order they are due: once this one has, the old answer's has too.
    due = asyncio.Event()
    asyncio.get_running_loop().call_later(0.0, due.set)
    await due.wait()
    assert await bus.snapshot("g") == Snapshot(2, ())


async def test_a_reader_far_behind_finds_a_resync_in_place_of_deltas_and_every_other_event():
    bus = MemoryBus(backlog=10)
    async with await bus.subscribe(live_topic("g"), "user:1") as subscription:
        bus.publish("user:1", {"type": "notice"})
        for offset in range(1000):
            await bus.append(x(offset))
        bus.publish(live_topic("g"), {"type": "ended", "status": "complete", "message": "m"})
        events = await subscription.take()
    kinds = [event["type"] for _, event in events]
    assert len(events) < 15
    assert kinds.count("notice") == 1
    assert kinds.count("resync") == 1
    assert kinds[-1] == "ended"


async def test_a_bus_refuses_a_second_loop_while_the_first_lives():
    bus = MemoryBus()
    bus.start()
    failures: list[str] = []

    def elsewhere() -> None:
        try:
            asyncio.run(bus.open("g", 1))
        except RuntimeError as error:
            failures.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert failures == ["This bus belongs to another event loop."]


def test_a_bus_moves_to_a_new_loop_when_its_own_is_closed():
    bus = MemoryBus()

    async def listen() -> None:
        await bus.subscribe("a")

    asyncio.run(listen())
    bus.publish("a", {"type": "lost"})
    threading.Thread(target=bus.publish, args=("a", {"type": "lost"})).start()

    async def again() -> list:
        async with await bus.subscribe("a") as subscription:
            bus.publish("a", {"type": "found"})
            return await subscription.take()

    assert asyncio.run(again()) == [("a", {"type": "found"})]


async def test_a_bus_nobody_has_used_yet_takes_events_and_loses_them():
    MemoryBus().publish("a", {"type": "queued"})


async def test_adding_topics_to_a_closed_subscription_does_nothing():
    bus = MemoryBus()
    subscription = await bus.subscribe()
    await subscription.close()
    await subscription.add("a")
    bus.publish("a", {"type": "late"})
    assert await subscription.take() == []
