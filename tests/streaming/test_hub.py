"""What the hub shows a page: an answer from its first word to its end, rendered once for all its watchers."""

import asyncio

import pytest

from apps.core import markdown
from apps.streaming.answers import PartText, Snapshot
from apps.streaming.bus import live_topic
from apps.streaming.hub import Hub
from apps.streaming.sockets import ActiveAnswer
from tests.streaming.doubles import rendered
from tests.streaming.hub_world import CONVERSATION, QUICK, World, says, until, world


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


async def test_a_wait_is_told_with_its_reason_and_with_the_seconds_that_are_left():
    async with world() as here:
        active = await here.begin()
        page, _ = await here.open_page(active)
        await page.until(lambda page: "m-g" in page.parts)
        busy = {"type": "status", "word": "retrying", "text": "The provider is busy.", "seconds": 4}
        here.bus.publish(live_topic("g"), busy)
        await page.until(lambda page: bool(page.words))
        assert page.of_type("status") == [busy | {"a": 1, "n": 3}]
        here.bus.publish(live_topic("g"), busy | {"seconds": 0})
        await page.until(lambda page: len(page.of_type("status")) == 2)
        late, _ = await here.open_page(active)
        await late.until(lambda page: bool(page.words))
        assert late.of_type("status")[0]["seconds"] == 0


async def test_an_answer_queued_behind_others_says_so_until_it_begins():
    async with world(patience=2.0) as here:
        waiting = ActiveAnswer("g", "m-g", 0, queued=True)
        here.rows["g"] = Snapshot(1, ())
        here.active[CONVERSATION] = [waiting]
        page, _ = await here.open_page(waiting)
        await page.until(lambda page: "m-g" in page.parts)
        here.now = 1.9
        await here.tick()
        assert page.words == {}
        here.now = 2.1
        await page.until(lambda page: page.words == {"m-g": "waiting"})
        await here.begin()
        await page.until(lambda page: page.words == {})
        await here.say("text")
        await page.until(says("text"))
        assert [frame["word"] for frame in page.of_type("status")] == ["waiting", ""]


async def test_an_answer_that_runs_without_a_word_is_not_taken_for_queued():
    async with world(patience=2.0) as here:
        page, _ = await here.open_page(await here.begin())
        await page.until(lambda page: "m-g" in page.parts)
        here.now = 5.0
        await until(lambda: here.active_reads == 1)
        await here.tick()
        assert (page.words, here.active_reads) == ({}, 1)


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
