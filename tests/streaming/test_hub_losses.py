"""Every page ends with the whole answer, whatever the bus and the database lose."""

import asyncio
import random
from dataclasses import replace

import pytest

from apps.streaming import readers
from apps.streaming.answers import Delta, PartText, Snapshot
from apps.streaming.bus import live_topic, user_topic
from apps.streaming.hub import Topics
from apps.streaming.sockets import ActiveAnswer
from tests.streaming.doubles import FrailBus, Paragraphs, rendered
from tests.streaming.hub_world import CONVERSATION, World, says, until, world


async def test_without_a_snapshot_on_the_bus_the_row_is_read():
    async with world() as here:
        here.rows["g"] = Snapshot(1, (PartText("text", "from the row"),))
        page, _ = await here.open_page(ActiveAnswer("g", "m-g", 1))
        await page.until(says("from the row"))
        assert here.row_reads == ["g"]


async def test_an_answer_that_ended_before_it_was_watched_is_told_with_its_text():
    async with world() as here:
        here.rows["g"] = Snapshot(1, (PartText("text", "all of it"),), True, "stopped")
        page, _ = await here.open_page(ActiveAnswer("g", "m-g", 1))
        assert (await page.until_ended("m-g"))["status"] == "stopped"
        assert page.html("m-g") == rendered("all of it")


async def test_a_late_watcher_of_an_ended_answer_is_told_at_once():
    async with world() as here:
        active = await here.begin()
        slow, _ = await here.open_page(active, acknowledges=False)
        await here.say("all of it")
        await here.end("failed")
        late, _ = await here.open_page(active)
        assert (await late.until_ended("m-g"))["status"] == "failed"
        assert late.html("m-g") == rendered("all of it")
        await slow.until_ended("m-g")


async def test_an_answer_whose_row_is_gone_ends_as_gone():
    async with world() as here:
        page, _ = await here.open_page(ActiveAnswer("g", "m-g", 1))
        assert (await page.until_ended("m-g"))["status"] == "gone"


async def test_a_lost_end_heals_when_the_running_answers_are_read_again():
    async with world(reread=10.0) as here:
        page, _ = await here.open_page(await here.begin())
        await here.say("nearly")
        await page.until(says("nearly"))
        here.bus.deaf = True
        await here.say(" done")
        await here.end()
        here.now = 11.0
        assert (await page.until_ended("m-g"))["status"] == "complete"
        assert page.html("m-g") == rendered("nearly done")
        assert (here.active_reads, here.row_reads) == (1, ["g"])


async def test_an_answer_whose_beginning_nobody_told_is_found_when_the_running_answers_are_read_again():
    async with world(reread=10.0) as here:
        page, socket = await here.open_page()
        socket.watch(CONVERSATION, [])
        await here.begin()
        await here.say("hello")
        here.now = 11.0
        await page.until(says("hello"))
        here.now = 22.0
        await until(lambda: here.active_reads == 2)
        assert len(page.messages) == 1


async def test_an_end_that_was_told_is_not_told_again_by_an_older_reading_of_what_runs():
    async with world(reread=10.0) as here:
        active = await here.begin()
        page, _ = await here.open_page(active)
        await here.end()
        await page.until_ended("m-g")
        here.active[CONVERSATION] = [active]
        here.now = 11.0
        await until(lambda: here.active_reads == 1)
        here.bus.publish(user_topic("u"), {"type": "notice"})
        await page.until(lambda page: bool(page.of_type("notice")))
        assert (page.messages, len(page.of_type("ended"))) == ({1: "m-g"}, 1)


async def test_nothing_is_read_again_while_nobody_watches():
    async with world(reread=10.0) as here:
        page, socket = await here.open_page(await here.begin())
        await page.until(lambda page: "m-g" in page.parts)
        socket.unwatch()
        for now in (11.0, 22.0, 33.0):
            here.now = now
            await here.tick()
        assert here.active_reads == 0


async def test_while_the_bus_is_away_rows_are_read_and_afterwards_all_heals():
    async with world() as here:
        page, _ = await here.open_page(await here.begin())
        await page.until(lambda page: "m-g" in page.parts)
        here.bus.away = True
        await here.say("unheard")
        here.checkpoint()
        await page.until(says("unheard"))
        here.bus.away = False
        await here.say(" and heard")
        await page.until(says("unheard and heard"))


async def test_pages_are_told_that_text_comes_slower_while_the_bus_is_away():
    async with world() as here:
        page, _ = await here.open_page()
        here.bus.away = True
        await page.until(lambda page: [frame["on"] for frame in page.of_type("delayed")] == [True])
        late, _ = await here.open_page()
        await late.until(lambda page: [frame["on"] for frame in page.of_type("delayed")] == [True])
        assert [frame["type"] for frame in late.frames] == ["hello", "delayed"]
        here.bus.away = False
        for one in (page, late):
            await one.until(lambda page: [frame["on"] for frame in page.of_type("delayed")] == [True, False])


async def test_a_lost_delta_heals_with_the_next_one():
    async with world() as here:
        page, _ = await here.open_page(await here.begin())
        await page.until(lambda page: "m-g" in page.parts)
        here.bus.deaf = True
        await here.say("lost ")
        here.bus.deaf = False
        await here.say("found")
        await page.until(says("lost found"))
        assert here.row_reads == []


async def test_the_last_delta_may_be_lost_because_the_end_reads_the_text_again():
    async with world() as here:
        page, _ = await here.open_page(await here.begin())
        await page.until(lambda page: "m-g" in page.parts)
        here.bus.deaf = True
        await here.say("all of it")
        here.bus.deaf = False
        await here.end()
        await page.until_ended("m-g")
        assert page.html("m-g") == rendered("all of it")


async def test_a_row_that_lags_behind_the_deltas_is_read_until_it_has_caught_up():
    async with world() as here:
        page, _ = await here.open_page(await here.begin())
        await page.until(lambda page: "m-g" in page.parts)
        here.bus.deaf = True
        await here.say("lost ")
        here.bus.deaf = False
        here.bus._held.clear()
        here.bus.publish(live_topic("g"), {"type": "delta", "delta": Delta("g", 1, 0, "text", 5, "found")})
        await until(lambda: len(here.row_reads) >= 2)
        here.checkpoint()
        await page.until(says("lost found"))


async def test_a_reader_far_behind_forgets_deltas_and_reads_them_from_the_source(monkeypatch):
    monkeypatch.setattr(readers, "MISSED", 5)
    async with world() as here:
        page, _ = await here.open_page(await here.begin())
        await page.until(lambda page: "m-g" in page.parts)
        here.database_is_down = True
        here.bus.deaf = True
        await here.say("lost ")
        here.bus.deaf = False
        here.bus._held.clear()
        for offset in range(5, 25):
            here.answers["g"].add("text", "x")
            here.bus.publish(live_topic("g"), {"type": "delta", "delta": Delta("g", 1, 0, "text", offset, "x")})
        here.checkpoint()
        here.database_is_down = False
        await page.until(says("lost " + "x" * 20))


async def test_a_database_that_is_down_delays_an_answer_and_loses_nothing(caplog):
    async with world(reread=10.0) as here:
        here.database_is_down = True
        page, _ = await here.open_page(ActiveAnswer("g", "m-g", 1))
        here.now = 11.0
        await until(lambda: here.active_reads > 0 and len(here.row_reads) > 1)
        assert "running-answers-not-read" in caplog.text
        assert "live-text-not-read" in caplog.text
        await here.begin()
        await here.say("here")
        await page.until(says("here"))
        await here.end()
        assert (await page.until_ended("m-g"))["footer"] is None
        assert "footer-not-read" in caplog.text


async def test_a_bad_event_does_not_deafen_the_hub(caplog):
    async with world() as here:
        page, _ = await here.open_page(await here.begin())
        await page.until(lambda page: "m-g" in page.parts)
        here.bus.publish(live_topic("g"), {"type": "delta"})
        here.bus.publish(live_topic("g"), {"type": "of a newer version"})
        await here.say("still here")
        await page.until(says("still here"))
        assert "event-not-handled" in caplog.text


async def test_a_rendering_that_fails_is_reported_and_the_end_is_told_all_the_same(caplog):
    class Failing(Paragraphs):
        def finish(self):
            raise ArithmeticError("a bug")

    async with world() as here:
        here.hub._sources = replace(here.hub._sources, renderer=Failing)
        page, _ = await here.open_page(await here.begin())
        await here.say("text")
        await page.until(says("text"))
        await here.end()
        assert (await page.until_ended("m-g"))["html"] is None
        await until(lambda: "hub-task-failed" in caplog.text)


async def test_topics_wanted_before_the_hub_runs_wait_for_it():
    topics = Topics()
    topics.want("a")
    await topics.settle()
    assert not topics.settled


async def test_a_subscription_that_fails_is_tried_again(caplog):
    class Failing(FrailBus):
        failures = 2

        async def subscribe(self, *topics):
            subscription = await super().subscribe(*topics)
            add = subscription.add

            async def fail_twice(*topics):
                if self.failures:
                    self.failures -= 1
                    raise ConnectionError("no bus")
                await add(*topics)

            subscription.add = fail_twice
            return subscription

    here = World()
    here.bus = here.hub._bus = Failing()
    await here.hub.start()
    page, _ = await here.open_page()
    await until(lambda: here.hub._topics.settled)
    here.bus.publish(user_topic("u"), {"type": "notice"})
    await page.until(lambda page: bool(page.of_type("notice")))
    assert "subscription-not-confirmed" in caplog.text
    await here.hub.stop()


@pytest.mark.parametrize("seed", range(15))
async def test_random_streams_losses_readers_and_cuts_end_with_the_same_text_everywhere(seed):
    chance = random.Random(seed)
    async with world(window=chance.choice([1, 2, 16])) as here:
        active = await here.begin()
        pages = [(await here.open_page(active, user=str(number)))[0] for number in range(3)]
        for _ in range(60):
            here.bus.deaf = chance.random() < 0.2
            text = chance.choice(["word ", "\n\n", "é🌳", "[ref]: x\n\n", "<&>"])
            await here.say(text, kind=chance.choice(["text", "text", "text", "reasoning"]))
            if chance.random() < 0.1:
                leaver = chance.randrange(3)
                pages[leaver].socket.close()
                pages[leaver] = (await here.open_page(active, user=str(leaver)))[0]
            if chance.random() < 0.1:
                chance.choice(pages).socket.watch(CONVERSATION, [active])
            await asyncio.sleep(chance.choice([0, 0, 0.003]))
        here.bus.deaf = False
        await here.end()
        whole = "".join(rendered(part.text) for part in here.answers["g"].parts)
        for page in pages:
            await page.until_ended("m-g")
            assert page.html("m-g") == whole
