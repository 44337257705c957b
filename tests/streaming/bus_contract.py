"""What every bus must do. A test class of a bus inherits from BusContract and gives the fixture `bus`."""

import asyncio
import random
import threading

import pytest

from apps.streaming.answers import Delta, LiveAnswer, PartText, Reader, Snapshot
from apps.streaming.bus import Bus, Subscription, live_topic

SOON = 5.0


async def heard(subscription: Subscription, count: int) -> list[tuple[str, dict]]:
    """Wait for `count` events and give them."""
    events: list[tuple[str, dict]] = []
    async with asyncio.timeout(SOON):
        while len(events) < count:
            events += await subscription.take()
    return events


async def read_to_the_end(bus: Bus, live: str, reader: Reader, *, give_up_after: int | None = None) -> bool:
    """Follow an answer as every reader does; False if it gave up after so many deltas."""
    async with await bus.subscribe(live_topic(live)) as subscription:
        snapshot = await bus.snapshot(live)
        if snapshot is not None:
            reader.load(snapshot)
            if snapshot.ended:
                return True
        deltas = 0
        async for _, event in subscription:
            if event["type"] == "ended":
                return True
            if event["type"] == "resync" or (event["type"] == "delta" and not reader.apply(event["delta"])):
                reader.load(await bus.snapshot(live))
            deltas += event["type"] == "delta"
            if deltas == give_up_after:
                return False
    raise AssertionError("the subscription ended by itself")


class BusContract:
    @pytest.fixture
    def bus(self) -> Bus:
        raise NotImplementedError("a test class of a bus gives it")

    async def test_a_delta_reaches_everybody_who_listens_and_is_in_the_snapshot_by_then(self, bus):
        async with await bus.subscribe(live_topic("g")) as one, await bus.subscribe(live_topic("g")) as other:
            delta = Delta("g", 1, 0, "text", 0, "Grüße 🌳")
            await bus.append(delta)
            for subscription in (one, other):
                [(topic, event)] = await heard(subscription, 1)
                assert (topic, event["type"], event["delta"]) == ("live:g", "delta", delta)
            assert await bus.snapshot("g") == Snapshot(1, (PartText("text", "Grüße 🌳"),))

    async def test_what_nobody_wrote_has_no_snapshot(self, bus):
        assert await bus.snapshot("nothing") is None

    async def test_deltas_arrive_in_the_order_of_their_writer(self, bus):
        async with await bus.subscribe(live_topic("g")) as subscription:
            for offset in range(200):
                await bus.append(Delta("g", 1, 0, "text", offset, "x"))
            events = await heard(subscription, 200)
        assert [event["delta"].offset for _, event in events] == list(range(200))

    async def test_one_flush_carries_many_answers_and_a_wrong_delta_costs_no_other_its_text(self, bus):
        await bus.append_many([Delta("g", 1, 0, "text", 0, "one"), Delta("h", 1, 0, "text", 0, "two")])
        hole = Delta("g", 1, 0, "text", 9, "!")
        with pytest.raises(ValueError, match="does not continue"):
            await bus.append_many([hole, Delta("h", 1, 0, "text", 3, " more")])
        assert await bus.snapshot("g") == Snapshot(1, (PartText("text", "one"),))
        assert await bus.snapshot("h") == Snapshot(1, (PartText("text", "two more"),))

    async def test_a_delta_with_a_hole_before_it_is_refused(self, bus):
        await bus.append(Delta("g", 1, 0, "text", 0, "x"))
        for hole in (
            Delta("g", 1, 0, "text", 2, "x"),
            Delta("g", 1, 2, "text", 0, "x"),
            Delta("g", 2, 0, "text", 1, "x"),
        ):
            with pytest.raises(ValueError, match="does not continue"):
                await bus.append(hole)
        assert (await bus.snapshot("g")).parts == (PartText("text", "x"),)

    async def test_what_is_written_twice_is_kept_once(self, bus):
        await bus.append(Delta("g", 1, 0, "text", 0, "🌳 one"))
        await bus.append(Delta("g", 1, 0, "text", 2, "one two"))
        await bus.append(Delta("g", 1, 0, "text", 0, "🌳"))
        assert (await bus.snapshot("g")).parts == (PartText("text", "🌳 one two"),)

    async def test_parts_keep_their_order_and_kind(self, bus):
        await bus.append(Delta("g", 1, 0, "reasoning", 0, "so"))
        await bus.append(Delta("g", 1, 0, "reasoning", 2, " far"))
        await bus.append(Delta("g", 1, 1, "text", 0, "Yes"))
        assert (await bus.snapshot("g")).parts == (PartText("reasoning", "so far"), PartText("text", "Yes"))

    async def test_opening_replaces_the_snapshot_and_tells_readers_to_read_it(self, bus):
        await bus.append(Delta("g", 1, 0, "text", 0, "old"))
        async with await bus.subscribe(live_topic("g")) as subscription:
            await bus.open("g", 2, [PartText("text", "kept ")])
            [(_, event)] = await heard(subscription, 1)
            assert event["type"] == "resync"
        await bus.append(Delta("g", 2, 0, "text", 5, "on"))
        assert await bus.snapshot("g") == Snapshot(2, (PartText("text", "kept on"),))

    async def test_a_writer_of_an_older_attempt_changes_nothing(self, bus):
        await bus.open("g", 2)
        await bus.append(Delta("g", 2, 0, "text", 0, "new"))
        await bus.open("g", 1, [PartText("text", "zombie")])
        await bus.append(Delta("g", 1, 0, "text", 0, "zombie"))
        assert await bus.snapshot("g") == Snapshot(2, (PartText("text", "new"),))

    async def test_a_dropped_answer_is_marked_as_ended(self, bus):
        await bus.append(Delta("g", 1, 0, "text", 0, "all"))
        await bus.drop("g")
        assert await bus.snapshot("g") == Snapshot(1, (PartText("text", "all"),), ended=True)
        await bus.drop("nothing")

    async def test_events_reach_only_those_who_listen_to_their_topic(self, bus):
        async with await bus.subscribe("user:1", "stop") as subscription:
            bus.publish("user:2", {"type": "notice"})
            bus.publish("user:1", {"type": "notice", "text": "hello"})
            bus.publish("stop", {"type": "stop", "generation": "g"})
            events = await heard(subscription, 2)
        assert sorted(events, key=lambda item: item[0]) == [
            ("stop", {"type": "stop", "generation": "g"}),
            ("user:1", {"type": "notice", "text": "hello"}),
        ]

    async def test_topics_can_be_added_and_removed(self, bus):
        async with await bus.subscribe() as subscription:
            await subscription.add("a", "b")
            bus.publish("a", {"type": "one"})
            await heard(subscription, 1)
            await subscription.remove("a")
            await subscription.remove("never there")
            bus.publish("a", {"type": "two"})
            bus.publish("b", {"type": "three"})
            assert await heard(subscription, 1) == [("b", {"type": "three"})]

    async def test_publishing_works_from_another_thread_and_without_listeners(self, bus):
        async with await bus.subscribe("generations") as subscription:
            thread = threading.Thread(target=bus.publish, args=("generations", {"type": "queued"}))
            thread.start()
            assert await heard(subscription, 1) == [("generations", {"type": "queued"})]
            thread.join()
        bus.publish("nobody", {"type": "queued"})

    async def test_waiting_ends_when_the_time_is_over_or_the_subscription_is_closed(self, bus):
        subscription = await bus.subscribe("quiet")
        assert await subscription.take(0.01) == []
        waiting = asyncio.ensure_future(subscription.take())
        iterating = [event async for event in await closed(bus)]
        await asyncio.sleep(0)
        await subscription.close()
        async with asyncio.timeout(SOON):
            assert await waiting == []
        assert iterating == []
        assert await subscription.take() == []
        await subscription.close()

    async def test_a_wait_that_is_cancelled_loses_no_event(self, bus):
        async with await bus.subscribe("a") as subscription:
            waiting = asyncio.ensure_future(subscription.take())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            bus.publish("a", {"type": "still here"})
            assert await heard(subscription, 1) == [("a", {"type": "still here"})]

    async def test_the_bus_says_that_it_is_connected(self, bus):
        assert bus.connected

    @pytest.mark.parametrize("seed", range(20))
    async def test_readers_that_leave_and_come_back_at_any_point_end_with_the_same_text(self, bus, seed):
        chance = random.Random(seed)
        answer = LiveAnswer("g", 1)

        async def write() -> None:
            await bus.open("g", 1)
            for _ in range(60):
                for _ in range(chance.randrange(3)):
                    answer.add(chance.choice(["text", "text", "reasoning"]), chance.choice(["a", "é", "🌳 b", "\n\n"]))
                for delta in answer.take():
                    await bus.append(delta)
                await asyncio.sleep(0)
            await bus.drop("g")
            bus.publish(live_topic("g"), {"type": "ended", "status": "complete", "message": "m"})

        async def read() -> Reader:
            reader = Reader()
            while not await read_to_the_end(bus, "g", reader, give_up_after=chance.randrange(1, 30)):
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
            return reader

        async with asyncio.timeout(SOON):
            *readers, _ = await asyncio.gather(read(), read(), read(), write())
        assert [reader.parts for reader in readers] == [answer.parts] * 3


async def closed(bus: Bus) -> Subscription:
    subscription = await bus.subscribe("a")
    await subscription.close()
    return subscription
