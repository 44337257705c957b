"""What readers and writers see while Redis is killed, emptied, paused, full or cut off, and that all heals by itself."""

import asyncio
import importlib.util
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import pytest

from apps.streaming import redis_wire as wire
from apps.streaming.answers import Delta, LiveAnswer, PartText, Snapshot
from apps.streaming.bus import live_topic
from apps.streaming.hub import Hub
from apps.streaming.readers import follow
from apps.streaming.rooms import Pace
from apps.streaming.sockets import ActiveAnswer
from tests.servers import PATIENCE, missing
from tests.streaming.bus_contract import SOON, heard
from tests.streaming.doubles import Page, Paragraphs, rendered

if importlib.util.find_spec("redis") is None:
    missing("The package redis", at_import=True)

from apps.streaming.redis_bus import RedisBus, _keep_up
from apps.streaming.redis_outbox import Outbox
from tests.streaming.redis_buses import TwoBuses, bus_on, until

pytestmark = pytest.mark.slow

WORDS = ["Grüße ", "🌳", " und ", "漢字", ".\n\n"]


@pytest.fixture
async def buses(redis_server) -> AsyncIterator[TwoBuses]:
    async with bus_on(redis_server) as writer, bus_on(redis_server) as reader:
        yield TwoBuses(writer=writer, reader=reader)


class Talk:
    """Write an answer word by word until told to stop, and time what the writer waits for the bus."""

    def __init__(self, buses: TwoBuses, live: str = "g") -> None:
        self.answer = LiveAnswer(live, 1)
        self.kept: tuple[PartText, ...] = ()
        self.longest_wait = 0.0
        self.words = 0
        self._buses = buses
        self._task = asyncio.ensure_future(self._talk())

    async def more(self, words: int = 20) -> None:
        """Wait until so many more words were written."""
        goal = self.words + words
        await until(lambda: self.words >= goal)

    async def end(self) -> tuple[PartText, ...]:
        """Stop, end the answer as a runner does, and give all of it."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for delta in self.answer.take():
            await self._buses.writer.append(delta)
        await self._buses.end(self.answer)
        return self.answer.parts

    async def _talk(self) -> None:
        await self._buses.writer.open(self.answer.live, 1)
        while True:
            self.answer.add("text", WORDS[self.words % len(WORDS)])
            before = time.monotonic()
            await self._buses.writer.append_many(self.answer.take())
            self.longest_wait = max(self.longest_wait, time.monotonic() - before)
            self.words += 1
            if self.words % 50 == 0:
                self.kept = self.answer.parts
            await asyncio.sleep(0.005)


async def survives(buses: TwoBuses, fault: Callable[[Talk], AsyncIterator[None]]) -> None:
    """Have an answer written and read through a fault: all of it arrives, and the writer never waits."""
    talk = Talk(buses)
    reading = asyncio.ensure_future(buses.read(talk.answer, row=lambda: talk.kept))
    await talk.more()
    async with asyncio.timeout(PATIENCE * 2):
        async for _ in fault(talk):
            await talk.more()
        # Healed: the bus itself has all of it again, beside the row.
        await until(lambda: buses.connected)
        await talk.more()
        await until_whole(buses, talk.answer)
        parts = await talk.end()
        assert await reading == parts
    assert talk.longest_wait < 0.5


async def until_whole(buses: TwoBuses, answer: LiveAnswer) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            before = answer.parts
            snapshot = await buses.snapshot(answer.live)
            if snapshot is not None and len(snapshot.parts[0].text) >= len(before[0].text):
                return
            await asyncio.sleep(0.02)


async def test_a_killed_redis_is_missed_and_found_again(buses, redis_server):
    async def kill(talk):
        redis_server.kill()
        await until(lambda: not buses.reader.connected and not buses.writer.connected)
        yield
        assert await buses.snapshot("g") is None
        await asyncio.to_thread(redis_server.start)
        yield

    await survives(buses, kill)


async def test_a_reader_in_a_long_silence_learns_at_once_that_redis_is_gone(buses, redis_server):
    answer = LiveAnswer("g", 1)
    row = [Snapshot(1, (PartText("text", "kept in the row"),))]

    async def load_row(live: str) -> Snapshot:
        return row[0]

    await buses.open("g", 1)
    answer.add("text", "kept")
    await buses.append_many(answer.take())
    async with aclosing(follow(buses.reader, "g", load_row=load_row, quiet=60.0)) as items, asyncio.timeout(SOON):
        assert (await anext(items)).text == "kept"
        waiting = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        redis_server.kill()
        assert (await waiting).text == " in the row"


async def test_a_page_shows_the_whole_answer_although_redis_was_killed_meanwhile(buses, redis_server):
    talk = Talk(buses)
    answer = ActiveAnswer("g", "m", 1)

    async def load_row(live: str) -> Snapshot:
        ended = live in buses.ended
        return Snapshot(1, talk.answer.parts if ended else talk.kept, ended, buses.ended.get(live, ""))

    async def load_active(conversations):
        return {"c": [] if "g" in buses.ended else [answer]}

    pace = Pace(frame=0.01, tick=0.05, reread=0.5)
    hub = Hub(buses.reader, load_row=load_row, load_active=load_active, renderer=Paragraphs, pace=pace)
    await hub.start()
    page = Page()
    page.socket = await hub.connect("u", page.send, page.close)
    page.socket.watch("c", [answer])
    await talk.more()
    redis_server.kill()
    await until(lambda: not buses.reader.connected)
    await talk.more(60)
    # Without Redis the page goes on as the row does.
    await page.until(lambda page: "m" in page.parts and len(page.html("m")) > 200)
    await asyncio.to_thread(redis_server.start)
    await until(lambda: buses.connected)
    await talk.more()
    [part] = await talk.end()
    await page.until_ended("m")
    assert page.html("m") == rendered(part.text)
    await hub.stop()


async def test_an_emptied_redis_is_filled_again(buses, redis_server):
    async def flush(talk):
        for _ in range(3):
            redis_server.call("FLUSHALL")
            yield
            redis_server.call("SCRIPT", "FLUSH")
            yield

    await survives(buses, flush)


async def test_a_paused_redis_holds_nobody_up(buses, redis_server):
    async def pause(talk):
        redis_server.pause()
        start = time.monotonic()
        assert await buses.snapshot("g") is None
        async with await buses.subscribe("user:1"):
            assert time.monotonic() - start < SOON
        assert not await buses.writer.settled()
        await until(lambda: not buses.reader.connected and not buses.writer.connected)
        assert await buses.snapshot("g") is None
        yield
        redis_server.resume()
        yield

    await survives(buses, pause)


async def test_a_process_ends_soon_while_redis_is_paused(redis_server):
    async with bus_on(redis_server) as connected:
        redis_server.pause()
        async with bus_on(redis_server) as never_connected:
            never_connected.publish("user:1", {"type": "notice"})
            connected.publish("user:1", {"type": "notice"})
            start = time.monotonic()
    assert time.monotonic() - start < SOON


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
async def test_connections_that_are_cut_again_and_again_cost_no_text(buses, redis_server, kind):
    async def cut(talk):
        for _ in range(5):
            redis_server.call("CLIENT", "KILL", "TYPE", kind)
            yield

    await survives(buses, cut)


async def test_a_full_redis_still_carries_what_is_said_and_holds_the_text_once_there_is_room(buses, redis_server):
    async def fill(talk):
        redis_server.call("CONFIG", "SET", "maxmemory", "1")
        async with await buses.subscribe(live_topic("g"), "user:1") as subscription:
            yield
            assert await buses.snapshot("g") is None
            await subscription.take(0)
            buses.publish("user:1", {"type": "notice"})
            kinds = set()
            async with asyncio.timeout(SOON):
                while not kinds >= {"delta", "notice"}:
                    kinds |= {event["type"] for _, event in await subscription.take()}
        redis_server.call("CONFIG", "SET", "maxmemory", "0")
        yield

    await survives(buses, fill)


async def test_an_answer_that_ends_while_redis_is_full_leaves_nothing_half_there(buses, redis_server):
    await buses.append(Delta("g", 1, 0, "text", 0, "first"))
    redis_server.call("CONFIG", "SET", "maxmemory", "1")
    async with await buses.subscribe(live_topic("g")) as subscription:
        await buses.writer.append(Delta("g", 1, 0, "text", 5, ", last"))
        await buses.writer.drop("g")
        buses.writer.publish(live_topic("g"), {"type": "ended", "status": "complete", "message": "m"})
        events = await heard(subscription, 2)
    assert [event["type"] for _, event in events] == ["delta", "ended"]
    assert await buses.snapshot("g") is None


LOSSES = {
    "the part is evicted": ("DEL", "test:g:1:0"),
    "the hash is evicted": ("DEL", "test:g"),
    "the part is older": ("SET", "test:g:1:0", "Grü"),
    "both are gone": ("FLUSHALL",),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
async def test_no_reader_ever_finds_text_without_its_head_or_with_a_hole(buses, redis_server, loss):
    answer = LiveAnswer("g", 1)
    await buses.open("g", 1)
    for number in range(30):
        answer.add("text", WORDS[number % len(WORDS)])
        await buses.append_many(answer.take())
        if number % 5 == 2:
            redis_server.call(*loss)
            answer.add("text", "more")
            # Nothing is waited for: this is what a reader finds in between.
            await buses.writer.append_many(answer.take())
            for _ in range(3):
                snapshot = await buses.snapshot("g")
                assert snapshot is None or answer.parts[0].text.startswith(snapshot.parts[0].text)
            assert await buses.writer.settled()
        assert await buses.snapshot("g") == Snapshot(1, answer.parts)


async def test_what_an_abandoned_connection_delivers_late_undoes_nothing(buses):
    script = buses.reader._client.register_script(wire.WRITE)
    late = Outbox(keep_seconds=60)
    late.tidy()
    late.open("g", 1, [PartText("text", "old")])
    late.append(Delta("g", 1, 0, "text", 3, " and stale"))
    keys, args = [], [60_000, 2]
    for operation in late.take():
        operation.put(wire.Names("test"), keys, args)
    await buses.append(Delta("g", 1, 0, "text", 0, "newer"))
    await script(keys=keys, args=args)
    assert await buses.snapshot("g") == Snapshot(1, (PartText("text", "newer"),))
    await buses.append(Delta("g", 1, 0, "text", 5, " text"))
    assert await buses.snapshot("g") == Snapshot(1, (PartText("text", "newer text"),))
    await buses.drop("g")
    await script(keys=keys, args=args)
    assert await buses.snapshot("g") == Snapshot(1, (PartText("text", "newer text"),), ended=True)


async def test_an_answer_that_ended_while_redis_was_away_is_not_shown_as_running_afterwards(buses, redis_server):
    await buses.append(Delta("g", 1, 0, "text", 0, "begun"))
    redis_server.pause()
    await buses.writer.append(Delta("g", 1, 0, "text", 5, " and done"))
    assert not await buses.writer.settled()
    await until(lambda: not buses.writer._writing)
    await buses.writer.drop("g")
    redis_server.resume()
    await until(lambda: buses.connected)
    assert await buses.writer.settled()
    assert await buses.snapshot("g") is None


async def test_events_wait_until_redis_and_those_who_listen_are_back(buses, redis_server):
    async with await buses.subscribe("generations") as subscription:
        redis_server.kill()
        buses.publish("generations", {"type": "queued", "number": 0})
        await until(lambda: not buses.writer.connected and not buses.reader.connected)
        assert not await buses.writer.settled()
        for number in range(1, 50):
            buses.publish("generations", {"type": "queued", "number": number})
        # Nobody is told before it is known that Redis is gone: the first event has to find out.
        await until(lambda: not buses.writer._writing)
        await asyncio.to_thread(redis_server.start)
        assert [event["number"] for _, event in await heard(subscription, 50)] == list(range(50))
    assert buses.writer.dropped == 0


async def test_readers_may_come_while_redis_is_away_and_hear_all_of_it_later(buses, redis_server):
    redis_server.kill()
    await until(lambda: not buses.reader.connected and not buses.writer.connected)
    start = time.monotonic()
    async with await buses.subscribe(live_topic("g"), "user:1") as subscription:
        assert time.monotonic() - start < 0.5
        await buses.writer.append(Delta("g", 1, 0, "text", 0, "written meanwhile"))
        redis_server.start()
        await until(lambda: buses.connected)
        events = await heard(subscription, 1)
        assert events[0] == (live_topic("g"), {"type": "resync"})
        assert await buses.writer.settled()
        assert await buses.snapshot("g") == Snapshot(1, (PartText("text", "written meanwhile"),))
        buses.publish("user:1", {"type": "notice"})
        while ("user:1", {"type": "notice"}) not in await heard(subscription, 1):
            continue


async def test_a_process_starts_without_redis_and_finds_it_later(redis_server):
    redis_server.kill()
    start = time.monotonic()
    async with bus_on(redis_server) as bus:
        assert time.monotonic() - start < SOON
        assert not bus.connected
        bus.publish("user:1", {"type": "notice"})
        assert not await bus.settled()
        async with await bus.subscribe("user:1"):
            redis_server.start()
            await until(lambda: bus.connected)
            assert await bus.settled()


async def test_a_wrong_password_is_reported_without_the_password(redis_server, caplog):
    redis_server.call("CONFIG", "SET", "requirepass", "opensesame")
    caplog.set_level(logging.DEBUG)
    url = redis_server.url.replace("://", "://:hunter2@")
    bus = RedisBus(url)
    await bus.start()
    assert not bus.connected
    await bus.stop()
    told = caplog.text + str([getattr(record, "fields", {}) for record in caplog.records])
    assert "Authentication" in told
    assert "hunter2" not in told
    bus = RedisBus(url.replace("hunter2", "opensesame"))
    await bus.start()
    assert bus.connected
    await bus.stop()


async def test_text_beyond_the_limit_is_written_whole_later(redis_server):
    async with bus_on(redis_server) as bus:
        bus._outbox._limit = 10
        answer = LiveAnswer("g", 1)
        for _ in range(50):
            answer.add("text", "word ")
            await bus.append_many(answer.take())
        assert len(bus._outbox) <= 11
        async with asyncio.timeout(SOON):
            while await bus.snapshot("g") != Snapshot(1, answer.parts):
                await asyncio.sleep(0.05)


async def test_a_reply_about_another_answer_reaches_nobody(redis_server, caplog):
    class Mixed(RedisBus):
        mixed = True

        async def _read(self, live: str) -> list[bytes]:
            return await super()._read("h" if self.mixed else live)

    async with bus_on(redis_server, kind=Mixed) as bus:
        await bus.append_many([Delta("g", 1, 0, "text", 0, "mine"), Delta("h", 1, 0, "text", 0, "somebody else's")])
        assert await bus.snapshot("g") is None
        assert "snapshot-mixed-up" in caplog.text
        assert "somebody else's" not in caplog.text + str([record.fields for record in caplog.records])
        bus.mixed = False
        assert (await bus.snapshot("g")).parts == (PartText("text", "mine"),)


async def test_who_gives_up_waiting_for_a_subscription_leaves_nothing_behind(buses, redis_server):
    redis_server.pause()
    waiting = asyncio.ensure_future(buses.subscribe("user:1"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    redis_server.resume()
    async with await buses.subscribe("user:1", "user:2") as subscription:
        buses.publish("user:2", {"type": "notice"})
        assert await heard(subscription, 1) == [("user:2", {"type": "notice"})]


async def test_a_loop_that_breaks_is_run_again(caplog):
    again = asyncio.Event()

    async def work() -> None:
        if not caplog.records:
            raise LookupError("a mistake of ours")
        again.set()

    task = asyncio.ensure_future(_keep_up(work, 0.0))
    async with asyncio.timeout(SOON):
        await again.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert "a mistake of ours" in caplog.text
