"""The hub: every page ends with the whole answer, whatever the bus loses and however slowly the page reads."""

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from apps.core import markdown
from apps.streaming import readers, rooms
from apps.streaming.answers import Delta, LiveAnswer, PartText, Snapshot
from apps.streaming.bus import live_topic, user_topic
from apps.streaming.hub import Hub, Topics
from apps.streaming.rooms import Pace
from apps.streaming.sockets import ActiveAnswer, Socket
from tests.streaming.doubles import SOON, FrailBus, Page, Paragraphs, rendered

CONVERSATION = "c"
QUICK = Pace(frame=0.002, tick=0.005, reread=1000.0, stall=1000.0, retry=0.002)


class World:
    """A runner, its rows and a hub, played on one bus."""

    def __init__(self, **pace: float) -> None:
        self.bus = FrailBus()
        self.rows: dict[str, Snapshot] = {}
        self.active: dict[str, list[ActiveAnswer]] = {CONVERSATION: []}
        self.answers: dict[str, LiveAnswer] = {}
        self.row_reads: list[str] = []
        self.active_reads = 0
        self.footers: list[str] = []
        self.database_is_down = False
        self.now = 0.0
        self.looks_at_the_clock = 0
        self.renderers: list[Paragraphs] = []
        self.hub = Hub(
            self.bus,
            load_row=self.load_row,
            load_active=self.load_active,
            load_footer=self.load_footer,
            renderer=self.renderer,
            pace=replace(QUICK, **pace),
            clock=self.clock,
        )

    def clock(self) -> float:
        self.looks_at_the_clock += 1
        return self.now

    async def tick(self) -> None:
        """Wait until the hub has looked after its sockets once more."""
        seen = self.looks_at_the_clock
        await until(lambda: self.looks_at_the_clock >= seen + 2)

    def renderer(self) -> Paragraphs:
        self.renderers.append(Paragraphs())
        return self.renderers[-1]

    async def load_row(self, generation: str) -> Snapshot | None:
        self.row_reads.append(generation)
        if self.database_is_down:
            raise ConnectionError("no database")
        return self.rows.get(generation)

    async def load_active(self, conversations: Collection[str]) -> Mapping[str, Sequence[ActiveAnswer]]:
        self.active_reads += 1
        if self.database_is_down:
            raise ConnectionError("no database")
        return {conversation: self.active.get(conversation, []) for conversation in conversations}

    async def load_footer(self, generation: str) -> str | None:
        self.footers.append(generation)
        if self.database_is_down:
            raise ConnectionError("no database")
        return f"<footer>{generation}</footer>"

    async def begin(self, generation: str = "g", *, attempt: int = 1, parts: Sequence[PartText] = ()) -> ActiveAnswer:
        self.answers[generation] = LiveAnswer(generation, attempt, parts)
        self.rows[generation] = Snapshot(attempt, tuple(parts))
        await self.bus.open(generation, attempt, parts)
        active = ActiveAnswer(generation, f"m-{generation}", attempt)
        self.active[CONVERSATION] = [active]
        return active

    async def say(self, text: str, kind: str = "text", generation: str = "g") -> None:
        answer = self.answers[generation]
        answer.add(kind, text)
        for delta in answer.take():
            await self.bus.append(delta)

    def checkpoint(self, generation: str = "g") -> None:
        self.rows[generation] = replace(self.rows[generation], parts=self.answers[generation].parts)

    async def end(self, status: str = "complete", generation: str = "g") -> None:
        self.rows[generation] = Snapshot(self.answers[generation].attempt, self.answers[generation].parts, True, status)
        self.active[CONVERSATION] = []
        await self.bus.drop(generation)
        event = {"type": "ended", "status": status, "message": f"m-{generation}"}
        self.bus.publish(live_topic(generation), event)

    async def open_page(self, *active: ActiveAnswer, user: str = "u", **options: bool) -> tuple[Page, Socket]:
        page = Page(**options)
        page.socket = await self.hub.connect(user, page.send, page.close)
        if active:
            page.socket.watch(CONVERSATION, active)
        return page, page.socket


@asynccontextmanager
async def world(**pace: float) -> AsyncIterator[World]:
    here = World(**pace)
    await here.hub.start()
    try:
        yield here
    finally:
        await here.hub.stop()


async def until(condition) -> None:
    """Wait for something no page shows."""
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.001)


def says(text: str, message: str = "m-g"):
    return lambda page: message in page.parts and page.html(message) == rendered(text)


# What a page gets


async def test_a_socket_hears_the_version_of_its_frames_first():
    async with world() as here:
        page, _ = await here.open_page()
        await page.until(lambda page: bool(page.frames))
        assert page.frames == [{"type": "hello", "v": 1, "n": 1}]


async def test_a_page_follows_an_answer_from_its_first_word_to_its_end():
    async with world() as here:
        page, _ = await here.open_page(await here.begin())
        await page.until(lambda page: "m-g" in page.parts)
        assert page.frames[1] == {"type": "answer", "a": 1, "m": "m-g", "attempt": 1, "parts": [], "n": 2}
        await here.say("One\n\nTw")
        await page.until(says("One\n\nTw"))
        await here.say("o\n\nThree")
        await here.end()
        end = await page.until_ended("m-g")
        assert page.html("m-g") == rendered("One\n\nTwo\n\nThree")
        assert (end["a"], end["status"], end["footer"], end["html"]) == (1, "complete", "<footer>g</footer>", None)
        assert len({frame["n"] for frame in page.frames}) == len(page.frames)


async def test_a_page_that_comes_late_gets_the_whole_text_so_far():
    async with world() as here:
        active = await here.begin()
        await here.say("One\n\nTwo\n\nThr")
        page, _ = await here.open_page(active)
        await page.until(says("One\n\nTwo\n\nThr"))
        assert len(page.of_type("answer")) == 1


async def test_settled_blocks_are_sent_once_and_a_growing_tail_as_what_was_added():
    async with world() as here:
        page, _ = await here.open_page(await here.begin())
        text = ""
        for number in range(40):
            word = f"word{number} "
            text += word
            await here.say(word)
            await page.until(says(text))
        await here.say("\n\nnext")
        await page.until(says(text + "\n\nnext"))
        answers = page.of_type("answer")
        assert all("settled" not in part for frame in answers[:-1] for part in frame["parts"])
        assert sum(isinstance(part.get("tail"), dict) for frame in answers for part in frame["parts"]) > 30
        assert page.characters < 40 * 120 + 2 * len(rendered(text)) + 500


async def test_reasoning_and_text_are_parts_of_their_own():
    async with world() as here:
        page, _ = await here.open_page(await here.begin())
        await here.say("let me see", kind="reasoning")
        await page.until(says("let me see"))
        await here.say("Yes")
        await here.say("!")
        await here.end()
        await page.until_ended("m-g")
        kinds = [part["kind"] for part in page.parts["m-g"].values()]
        assert kinds == ["reasoning", "text"]
        assert page.html("m-g") == rendered("let me see") + rendered("Yes!")


async def test_the_full_rendering_is_sent_at_the_end_only_where_it_differs():
    async with world() as here:
        page, _ = await here.open_page(await here.begin())
        await here.say("so", kind="reasoning")
        await here.say("see [ref]\n\n[ref]: address")
        await here.end()
        end = await page.until_ended("m-g")
        assert end["html"] == [{"i": 1, "html": rendered("see [ref]\n\n[ref]: address")}]


async def test_markdown_shown_live_is_what_the_page_will_show_afterwards():
    here = World()
    here.hub = Hub(here.bus, load_row=here.load_row, load_active=here.load_active, pace=QUICK)
    await here.hub.start()
    page, _ = await here.open_page(await here.begin())
    source = "# Trees\n\nThey *grow*: see [this].\n\n```python\nprint(1)\n```\n\n- one\n- two\n\n[this]: https://example.org\n"
    for start in range(0, len(source), 3):
        await here.say(source[start : start + 3])
        await asyncio.sleep(0.001)
    await here.end()
    assert (await page.until_ended("m-g"))["footer"] is None
    assert page.html("m-g") == str(markdown.render(source))
    await here.hub.stop()


async def test_a_continued_answer_shows_what_it_continues():
    async with world() as here:
        page, _ = await here.open_page(await here.begin(parts=[PartText("text", "Once ")]))
        await here.say("upon a time")
        await page.until(says("Once upon a time"))


async def test_a_new_attempt_begins_the_answer_again():
    async with world() as here:
        page, _ = await here.open_page(await here.begin())
        await here.say("first try")
        await page.until(says("first try"))
        await here.begin(attempt=2)
        await here.say("second")
        await page.until(says("second"))
        assert page.attempts["m-g"] == 2


async def test_an_attempt_older_than_the_one_watched_is_not_shown():
    async with world() as here:
        await here.begin()
        await here.say("stale")
        page, _ = await here.open_page(ActiveAnswer("g", "m-g", 2))
        await page.until(lambda page: "m-g" in page.parts)
        await here.begin(attempt=2)
        await here.say("fresh")
        await page.until(says("fresh"))
        assert "stale" not in str(page.frames)


async def test_a_status_is_shown_until_text_comes():
    async with world() as here:
        active = await here.begin()
        page, _ = await here.open_page(active)
        await page.until(lambda page: "m-g" in page.parts)
        here.bus.publish(live_topic("g"), {"type": "status", "word": "waiting"})
        await page.until(lambda page: page.words == {"m-g": "waiting"})
        late, _ = await here.open_page(active)
        await late.until(lambda page: page.words == {"m-g": "waiting"})
        await here.say("text")
        await page.until(says("text"))
        later, _ = await here.open_page(active)
        await later.until(says("text"))
        here.bus.publish(live_topic("g"), {"type": "status", "word": "calling a tool"})
        await later.until(lambda page: page.words == {"m-g": "calling a tool"})
        assert [frame["word"] for frame in later.of_type("status")] == ["calling a tool"]


async def test_several_answers_on_one_socket_have_numbers_of_their_own():
    async with world() as here:
        actives = [await here.begin("g1"), await here.begin("g2")]
        page, _ = await here.open_page(*actives)
        await here.say("one", generation="g1")
        await here.say("two", generation="g2")
        await page.until(says("one", "m-g1"))
        await page.until(says("two", "m-g2"))
        assert page.messages == {1: "m-g1", 2: "m-g2"}


# One rendering for all


async def test_an_answer_is_rendered_once_for_all_its_watchers():
    async with world() as here:
        active = await here.begin()
        pages = [(await here.open_page(active, user=f"u{number}"))[0] for number in range(20)]
        for word in ["One", "\n\nTwo", "\n\nThree"]:
            await here.say(word)
            for page in pages:
                await page.until(says(here.answers["g"].parts[0].text))
        assert len(here.renderers) == 1
        assert here.renderers[0].frames <= 3


async def test_frames_come_at_their_pace_and_the_first_at_once():
    async with world(frame=30.0) as here:
        page, _ = await here.open_page(await here.begin())
        await here.say("now")
        await page.until(says("now"))
        await here.say(" later")
        await here.say(" still")
        # The end does not wait for the next frame's time.
        await here.end()
        await page.until_ended("m-g")
        assert page.html("m-g") == rendered("now later still")


async def test_the_first_words_do_not_wait_for_the_frame_that_named_the_answer():
    async with world(frame=30.0) as here:
        page, _ = await here.open_page(await here.begin())
        await page.until(lambda page: "m-g" in page.parts)
        await here.say("now")
        await page.until(says("now"))


async def test_a_large_tail_is_sent_less_often():
    async with world() as here:
        page, _ = await here.open_page(await here.begin())
        await page.until(lambda page: "m-g" in page.parts)
        room = here.hub.enter(ActiveAnswer("g", "m-g", 1))
        assert room._interval("x" * 100) == pytest.approx(QUICK.frame)
        assert room._interval("x" * QUICK.tail * 3) == pytest.approx(QUICK.frame * 3)
        assert room._interval("x" * QUICK.tail * 10_000) == QUICK.slowest_frame


# What the bus loses


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
        assert "Running answers could not be read" in caplog.text
        assert "Live text could not be read" in caplog.text
        await here.begin()
        await here.say("here")
        await page.until(says("here"))
        await here.end()
        assert (await page.until_ended("m-g"))["footer"] is None
        assert "A footer could not be read" in caplog.text


async def test_a_bad_event_does_not_deafen_the_hub(caplog):
    async with world() as here:
        page, _ = await here.open_page(await here.begin())
        await page.until(lambda page: "m-g" in page.parts)
        here.bus.publish(live_topic("g"), {"type": "delta"})
        here.bus.publish(live_topic("g"), {"type": "of a newer version"})
        await here.say("still here")
        await page.until(says("still here"))
        assert "An event could not be handled" in caplog.text


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
        await until(lambda: "A task of the hub failed" in caplog.text)


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
    assert "The bus did not confirm a subscription" in caplog.text
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


# Slow readers


async def test_a_reader_that_acknowledges_nothing_gets_sixteen_frames_and_then_the_newest_state_at_once():
    async with world() as here:
        page, socket = await here.open_page(await here.begin(), acknowledges=False)
        text = ""
        while len(page.frames) < 16:
            text += f"block {len(text)}\n\n"
            await here.say(text[len("".join(part.text for part in here.answers["g"].parts)) :])
            await asyncio.sleep(0.001)
        quick, _ = await here.open_page(ActiveAnswer("g", "m-g", 1), user="quick")
        for number in range(30):
            text += f"more {number}\n\n"
            await here.say(f"more {number}\n\n")
        await quick.until(says(text))
        assert len(page.frames) == 16
        socket.ack(1)
        await page.until(says(text))
        assert len(page.frames) == 17
        assert len(page.frames[16]["parts"][0]["settled"]) >= 30


async def test_acknowledging_is_cumulative_and_nonsense_changes_nothing():
    async with world(window=2) as here:
        page, socket = await here.open_page(acknowledges=False)
        for number in range(6):
            here.bus.publish(user_topic("u"), {"type": "notice", "number": number})
        await page.until(lambda page: len(page.frames) == 2)
        socket.ack(0)
        socket.ack(-5)
        await here.tick()
        assert len(page.frames) == 2
        socket.ack(10_000)
        await page.until(lambda page: len(page.frames) == 4)
        socket.ack(4)
        socket.ack(3)
        await page.until(lambda page: len(page.frames) == 6)


async def test_a_reader_that_keeps_frames_waiting_for_a_minute_is_closed_with_4408():
    async with world(stall=60.0) as here:
        page, _ = await here.open_page(await here.begin(), acknowledges=False)
        idle, _ = await here.open_page(user="idle", acknowledges=False)
        for number in range(40):
            here.bus.publish(user_topic("u"), {"type": "notice", "number": number})
        await page.until(lambda page: len(page.frames) == 16)
        here.now = 59.0
        await here.tick()
        assert page.close_codes == []
        here.now = 61.0
        await page.until(lambda page: page.close_codes == [4408])
        # Nothing waits for this one, so its silence is no fault.
        assert idle.close_codes == []


async def test_an_acknowledgement_gives_a_slow_reader_another_minute():
    async with world(stall=60.0, window=2) as here:
        page, socket = await here.open_page(acknowledges=False)
        for number in range(40):
            here.bus.publish(user_topic("u"), {"type": "notice", "number": number})
        for frames in range(2, 6):
            await page.until(lambda page, frames=frames: len(page.frames) == frames)
            here.now += 50.0
            await here.tick()
            socket.ack(frames - 1)
        assert page.close_codes == []


async def test_a_connection_that_takes_no_frame_for_a_minute_is_closed():
    async with world(stall=60.0) as here:
        page, _ = await here.open_page()
        stuck = asyncio.Event()

        async def send(frame: dict) -> None:
            await stuck.wait()

        blocked = Page()
        await here.hub.connect("blocked", send, blocked.close)
        await page.until(lambda page: bool(page.frames))
        here.now = 61.0
        await blocked.until(lambda page: page.close_codes == [4408])
        stuck.set()


async def test_a_reader_for_whom_too_much_waits_is_closed_with_4408():
    async with world(backlog=10_000) as here:
        page, _ = await here.open_page(acknowledges=False)
        await page.until(lambda page: bool(page.frames))
        for _ in range(60):
            here.bus.publish(user_topic("u"), {"type": "notice", "text": "x" * 1000})
        await page.until(lambda page: page.close_codes == [4408])


async def test_frames_not_acknowledged_are_bounded_by_their_size_too():
    async with world(backlog=10_000) as here:
        active = await here.begin()
        page, socket = await here.open_page(active, acknowledges=False)
        quick, _ = await here.open_page(active, user="quick")
        for number in range(8):
            await here.say(f"{number}" * 3000 + "\n\n")
            await quick.until(says(here.answers["g"].parts[0].text))
        assert page.characters < 20_000
        assert len(page.frames) < 16
        socket.ack(len(page.frames))
        await page.until(says(here.answers["g"].parts[0].text))


async def test_an_answer_of_book_length_comes_in_several_frames(monkeypatch):
    monkeypatch.setattr(rooms, "FRAME_CHARS", 1000)
    async with world() as here:
        active = await here.begin()
        first, _ = await here.open_page(active)
        text = "".join(f"{number}" * 100 + "\n\n" for number in range(100, 200)) + "a long open block that grows"
        await here.say(text)
        await first.until(says(text))
        await here.say(" and grows")
        await first.until(says(text + " and grows"))
        late, _ = await here.open_page(active)
        await late.until(says(text + " and grows"))
        assert len(late.of_type("answer")) > 10


async def test_an_acknowledgement_counts_even_where_it_makes_no_room():
    async with world(stall=60.0, backlog=1000) as here:
        page, socket = await here.open_page(acknowledges=False)
        for size in (10, 600, 600, 10):
            here.bus.publish(user_topic("u"), {"type": "notice", "text": "x" * size})
            await here.tick()
        assert len(page.frames) == 4
        for n in (1, 2):
            here.now += 50.0
            socket.ack(n)
            await here.tick()
        assert (len(page.frames), page.close_codes) == (4, [])
        here.now += 61.0
        await page.until(lambda page: page.close_codes == [4408])


# Sockets come and go


async def test_watching_again_sends_everything_again_under_a_new_number():
    async with world() as here:
        active = await here.begin()
        page, socket = await here.open_page(active)
        await here.say("One\n\nTwo")
        await page.until(says("One\n\nTwo"))
        page.parts.clear()
        page.attempts.clear()
        socket.watch(CONVERSATION, [active])
        await page.until(says("One\n\nTwo"))
        assert set(page.messages) == {1, 2}
        assert len(here.renderers) == 1


async def test_what_is_watched_no_more_is_sent_no_more_and_rendered_no_more():
    async with world() as here:
        page, socket = await here.open_page(await here.begin())
        await here.say("seen")
        await page.until(says("seen"))
        socket.unwatch()
        assert socket.watched == frozenset()
        await here.say(" unseen")
        here.bus.publish(user_topic("u"), {"type": "notice"})
        await page.until(lambda page: bool(page.of_type("notice")))
        assert here.renderers[0].text == "seen"
        assert here.hub._topics.settled or await settled(here)
        assert live_topic("g") not in here.bus._topics


async def settled(here: World) -> bool:
    await until(lambda: here.hub._topics.settled)
    return True


async def test_everything_is_let_go_with_the_last_socket():
    async with world() as here:
        active = await here.begin()
        _, one = await here.open_page(active)
        _, other = await here.open_page(active)
        await here.say("text")
        one.close()
        one.close()
        assert live_topic("g") in here.bus._topics
        other.close()
        await settled(here)
        await until(lambda: not here.bus._topics)
        assert (here.hub._rooms, here.hub._users) == ({}, {})
        assert len(here.hub._tasks) == 2


async def test_a_closed_socket_ignores_what_is_asked_of_it():
    async with world() as here:
        active = await here.begin()
        _, socket = await here.open_page()
        socket.close()
        socket.watch(CONVERSATION, [active])
        socket.ack(1)
        assert socket.watched == frozenset()


async def test_a_socket_that_breaks_while_a_frame_is_sent_is_let_go():
    async with world() as here:
        page, _ = await here.open_page(await here.begin())
        await page.until(lambda page: "m-g" in page.parts)
        page.broken = True
        await here.say("lost on it")
        await until(lambda: not here.hub._users)


async def test_a_browser_that_leaves_before_it_is_served_leaves_nothing_behind():
    async with world() as here:
        page = Page()
        async with here.hub._topics._lock:
            connecting = asyncio.ensure_future(here.hub.connect("u", page.send, page.close))
            await asyncio.sleep(0)
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
        assert here.hub._users == {}
        await settled(here)
        assert page.frames == []


async def test_events_of_the_user_reach_all_of_his_sockets_and_nobody_elses():
    async with world() as here:
        mine = [(await here.open_page())[0] for _ in range(2)]
        other, _ = await here.open_page(user="stranger")
        here.bus.publish(user_topic("u"), {"type": "conversation", "title": "New 🌳"})
        here.bus.publish(user_topic("stranger"), {"type": "notice"})
        for page in mine:
            await page.until(lambda page: bool(page.of_type("conversation")))
            assert page.of_type("conversation") == [{"type": "conversation", "title": "New 🌳", "n": 2}]
        await other.until(lambda page: bool(page.of_type("notice")))
        assert other.of_type("conversation") == []


async def test_messages_that_name_new_answers_are_followed_where_their_conversation_is_watched():
    async with world() as here:
        page, socket = await here.open_page()
        socket.watch(CONVERSATION, [])
        elsewhere, other_socket = await here.open_page()
        other_socket.watch("another", [])
        await here.begin()
        answers = [{"generation": "g", "message": "m-g"}]
        event = {"type": "messages", "conversation": CONVERSATION, "ids": ["m-g"], "answers": answers}
        here.bus.publish(user_topic("u"), event)
        await here.say("hello")
        await page.until(says("hello"))
        await elsewhere.until(lambda page: bool(page.of_type("messages")))
        assert other_socket.watched == frozenset()


async def test_a_users_sockets_can_be_closed_from_any_process():
    async with world() as here:
        page, _ = await here.open_page(await here.begin())
        here.bus.publish(user_topic("u"), {"type": "close", "code": 4401})
        await page.until(lambda page: page.close_codes == [4401])
        await until(lambda: not here.hub._users)


async def test_stopping_the_hub_closes_every_socket_with_1012(caplog):
    caplog.set_level("INFO")
    here = World()
    await here.hub.start()
    page, _ = await here.open_page(await here.begin())

    async def gone(code: int) -> None:
        raise ConnectionError("gone already")

    await here.hub.connect("u2", Page().send, gone)
    await here.hub.stop()
    assert page.close_codes == [1012]
    assert "A socket was gone before it was closed" in caplog.text
    assert here.bus._topics == {}
    with pytest.raises(RuntimeError, match="not running"):
        await here.open_page()
    await here.hub.stop()
