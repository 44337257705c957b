"""Sockets come and go, and hear what concerns their user."""

import asyncio

import pytest

from apps.streaming.bus import live_topic, user_topic
from tests.streaming.doubles import Page
from tests.streaming.hub_world import CONVERSATION, World, says, until, world


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
        assert page.close_codes == [1011]


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
    assert "socket-already-gone" in caplog.text
    assert here.bus._topics == {}
    with pytest.raises(RuntimeError, match="not running"):
        await here.open_page()
    await here.hub.stop()
