"""The bus over Redis: the contract of every bus, with one bus and with a writing and a reading one, and what is its own.

What happens when Redis fails is in test_redis_faults.py.
"""

import asyncio
import importlib.util
import random
import threading
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from apps.streaming.answers import Delta, LiveAnswer, PartText, Snapshot
from apps.streaming.bus import live_topic
from tests.servers import missing
from tests.streaming.bus_contract import SOON, BusContract, heard

if importlib.util.find_spec("redis") is None:
    missing("The package redis", at_import=True)

from apps.streaming.redis_bus import RedisBus
from tests.streaming.redis_buses import TwoBuses, bus_on, until


@pytest.fixture
def prefix() -> str:
    return f"test-{uuid4().hex}"


@pytest.fixture
async def bus(shared_redis, prefix) -> AsyncIterator[RedisBus]:
    async with bus_on(shared_redis, prefix=prefix) as bus:
        yield bus


@pytest.fixture
async def other(shared_redis, prefix) -> AsyncIterator[RedisBus]:
    """A bus as another process has it."""
    async with bus_on(shared_redis, prefix=prefix) as bus:
        yield bus


def x(offset: int, text: str = "x", attempt: int = 1) -> Delta:
    return Delta("g", attempt, 0, "text", offset, text)


class TestRedisBus(BusContract):
    @pytest.fixture
    async def bus(self, bus):
        return bus


class TestWriterAndReader(BusContract):
    @pytest.fixture
    async def bus(self, bus, other):
        return TwoBuses(writer=bus, reader=other)


async def test_offsets_are_code_points_whatever_the_text_is_made_of(bus, other):
    pieces = ["ä", "🌳", "\x00", "\ud83d", "\ude00", "e\u0301", "漢字\r\n", '{"', "x"]
    answer = LiveAnswer("g", 1)
    async with await other.subscribe(live_topic("g")) as subscription:
        for piece in pieces:
            answer.add("text", piece)
            await bus.append_many(answer.take())
        events = await heard(subscription, len(pieces))
    assert [event["delta"].text for _, event in events] == pieces
    assert [event["delta"].offset for _, event in events] == [len("".join(pieces[:n])) for n in range(len(pieces))]
    assert await other.snapshot("g") == Snapshot(1, (PartText("text", "".join(pieces)),))


async def test_a_running_answer_has_no_key_without_an_end_and_an_ended_one_goes_soon(shared_redis, prefix):
    ends = f"for _, k in ipairs(redis.call('KEYS', '{prefix}*')) do if redis.call('PTTL', k) < 0 then return 0 end end"
    async with bus_on(shared_redis, prefix=prefix, keep_seconds=0.05) as bus:
        await bus.open("g", 1, [PartText("reasoning", "hm")])
        await bus.append(Delta("g", 1, 1, "text", 0, "yes"))
        assert await bus.settled()
        assert shared_redis.call("EVAL", f"{ends} return 1", "0") == b":1\r\n"
        assert shared_redis.keys(f"{prefix}*") == 3
        await bus.drop("g")
        await until(lambda: shared_redis.keys(f"{prefix}*") == 0)
        assert await bus.snapshot("g") is None


async def test_a_zombie_in_another_process_changes_nothing_for_readers(bus, other):
    await other.open("g", 1)
    await other.append(x(0, "old"))
    await other.settled()
    await bus.open("g", 2)
    await bus.append(x(0, "new", attempt=2))
    await bus.settled()
    await other.append(x(3, " text"))
    await other.settled()
    assert await bus.snapshot("g") == await other.snapshot("g") == Snapshot(2, (PartText("text", "new"),))
    await other.drop("g")
    await other.settled()
    assert await bus.snapshot("g") == Snapshot(2, (PartText("text", "new"),))


async def test_readers_that_hear_nineteen_of_twenty_events_end_with_the_whole_text(shared_redis, prefix, bus):
    chance = random.Random(5)

    class Deaf(RedisBus):
        def _hear(self, channel: bytes, data: bytes) -> None:
            if chance.random() >= 0.05:
                super()._hear(channel, data)

    async with bus_on(shared_redis, prefix=prefix, kind=Deaf) as deaf:
        writer = TwoBuses(writer=bus, reader=deaf)
        answers = [LiveAnswer(f"g{n}", 1) for n in range(20)]
        readers = [asyncio.ensure_future(writer.read(answer)) for answer in answers]
        for _ in range(100):
            for answer in answers:
                answer.add(
                    chance.choice(["text", "text", "text", "reasoning"]), chance.choice(["a", "é ", "🌳", "\n\n"])
                )
            await bus.append_many([delta for answer in answers for delta in answer.take()])
            await bus.settled()
        for answer in answers:
            await writer.end(answer)
        async with asyncio.timeout(SOON * 2):
            assert await asyncio.gather(*readers) == [answer.parts for answer in answers]


async def test_reading_that_is_given_up_at_any_moment_never_gives_another_answers_text(bus):
    chance = random.Random(1)
    lives = [f"g{n}" for n in range(10)]
    await bus.append_many([Delta(live, 1, 0, "text", 0, live * 50) for live in lives])

    async def read(live: str) -> None:
        async with asyncio.timeout(chance.choice([0, 0.001, 0.002, 0.005, 0.01, SOON])):
            snapshot = await bus.snapshot(live)
        assert snapshot is None or snapshot.parts[0].text == live * 50

    reads = [read(chance.choice(lives)) for _ in range(300)]
    results = await asyncio.gather(*reads, return_exceptions=True)
    assert {type(result) for result in results} == {TimeoutError, type(None)}
    for live in lives:
        assert (await bus.snapshot(live)).parts[0].text == live * 50


async def test_threads_publish_at_once_and_each_ones_events_keep_their_order(bus, other):
    def speak(name: int) -> None:
        for number in range(100):
            bus.publish("user:1", {"type": "notice", "from": name, "number": number, "id": UUID(int=number)})

    async with await other.subscribe("user:1") as subscription:
        threads = [threading.Thread(target=speak, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        events = [event for _, event in await heard(subscription, 400)]
        for thread in threads:
            thread.join()
    for name in range(4):
        assert [event["number"] for event in events if event["from"] == name] == list(range(100))
    assert events[0]["id"] == str(UUID(int=0))


async def test_what_somebody_else_says_on_our_channels_is_reported_and_ignored(bus, shared_redis, prefix, caplog):
    async with await bus.subscribe("user:1", live_topic("g")) as subscription:
        for channel, data in (
            ("user:1", "hello"),
            ("user:1", "{"),
            ("user:1", "{}"),
            ("live:g", "1 2 x y\n"),
            ("live:g", ""),
        ):
            shared_redis.call("PUBLISH", f"{prefix}:{channel}", data)
        bus.publish("user:1", {"type": "notice"})
        assert await heard(subscription, 1) == [("user:1", {"type": "notice"})]
    assert len(caplog.records) == 5


async def test_a_key_of_the_wrong_kind_harms_no_other_answer(bus, shared_redis, prefix):
    shared_redis.call("SET", f"{prefix}:g", "not ours")
    async with await bus.subscribe(live_topic("g")) as subscription:
        await bus.append_many([x(0), Delta("h", 1, 0, "text", 0, "fine")])
        [(_, event)] = await heard(subscription, 1)
    assert event["delta"].text == "x"
    assert await bus.snapshot("g") is None
    assert (await bus.snapshot("h")).parts == (PartText("text", "fine"),)


async def test_prefixes_keep_instances_apart(shared_redis, bus):
    async with bus_on(shared_redis, prefix=f"other-{uuid4().hex}") as stranger:
        async with await stranger.subscribe("user:1") as subscription:
            await bus.append(x(0))
            bus.publish("user:1", {"type": "notice"})
            assert await bus.settled()
            stranger.publish("user:1", {"type": "own"})
            assert await heard(subscription, 1) == [("user:1", {"type": "own"})]
        assert await stranger.snapshot("g") is None


async def test_a_reader_far_behind_finds_a_resync_in_place_of_deltas(shared_redis, prefix, bus):
    async with (
        bus_on(shared_redis, prefix=prefix, backlog=10) as reader,
        await reader.subscribe(live_topic("g"), "user:1") as subscription,
    ):
        for offset in range(500):
            await bus.append(x(offset))
        bus.publish("user:1", {"type": "notice"})
        async with await reader.subscribe("user:1") as last:
            bus.publish("user:1", {"type": "last"})
            while ("user:1", {"type": "last"}) not in await last.take(SOON):
                continue
        events = await subscription.take()
    kinds = [event["type"] for _, event in events]
    assert len(events) < 15
    assert "resync" in kinds
    assert kinds[-1] == "last"


async def test_a_bus_refuses_a_second_loop_while_the_first_lives(bus):
    def elsewhere() -> None:
        with pytest.raises(RuntimeError, match="another event loop"):
            asyncio.run(bus.start())

    await asyncio.to_thread(elsewhere)
    await bus.start()
    assert bus.connected
    await bus.stop()
    assert not bus.connected
    await bus.start()
    assert bus.connected


def test_a_bus_moves_to_a_new_loop_when_its_own_is_closed(shared_redis, prefix):
    bus = RedisBus(shared_redis.url, prefix=prefix)
    bus.publish("user:1", {"type": "early"})

    async def serve(text: str) -> list:
        await bus.start()
        try:
            async with await bus.subscribe("user:1") as subscription:
                bus.publish("user:1", {"type": text})
                return await heard(subscription, 1)
        finally:
            await bus.stop()
            await bus.stop()

    assert asyncio.run(serve("one")) == [("user:1", {"type": "one"})]
    threading.Thread(target=bus.publish, args=("user:1", {"type": "between"})).start()
    assert asyncio.run(serve("two"))[-1] == ("user:1", {"type": "two"})


async def test_a_process_without_a_loop_publishes_from_a_thread_and_says_everything_before_it_ends(
    bus, shared_redis, prefix
):
    worker = RedisBus(shared_redis.url, prefix=prefix)
    worker.stop_thread()
    async with await bus.subscribe("user:1") as subscription:
        thread = await asyncio.to_thread(worker.start_in_thread)
        for number in range(100):
            worker.publish("user:1", {"type": "notice", "number": number})
        await asyncio.to_thread(worker.stop_thread)
        assert not thread.is_alive()
        assert [event["number"] for _, event in await heard(subscription, 100)] == list(range(100))


async def test_adding_topics_to_a_closed_subscription_does_nothing(bus):
    subscription = await bus.subscribe()
    await subscription.close()
    await subscription.add("a")
    bus.publish("a", {"type": "late"})
    assert await bus.settled()
    assert await subscription.take() == []


async def test_what_still_comes_for_somebody_who_left_is_not_even_read(bus, prefix, caplog):
    bus._hear(f"{prefix}:user:9".encode(), b"not an event")
    assert not caplog.records
