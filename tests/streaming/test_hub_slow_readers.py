"""Readers that acknowledge late or never: what waits for them is bounded, and they lose nothing that matters."""

import asyncio

from apps.streaming import rooms
from apps.streaming.bus import user_topic
from apps.streaming.sockets import ActiveAnswer
from tests.streaming.doubles import Page
from tests.streaming.hub_world import says, world


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
    async with world(stall=60.0, backlog=1500) as here:
        page, socket = await here.open_page(acknowledges=False)
        for size in (10, 900, 900, 10):
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
