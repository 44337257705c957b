"""The socket: who may open it, what it takes, and what a tab is shown of answers and of others' rows."""

import asyncio
import json
from dataclasses import replace

import pytest
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.db import InterfaceError, OperationalError
from django.test import Client

from apps.accounts.models import User
from apps.conversations import process
from apps.conversations.consumers import is_our_origin
from apps.conversations.runner.limits import Limits
from apps.conversations.runner.runner import Runner
from apps.conversations.services import live, messages
from apps.core.db import in_db
from apps.core.ids import new_id
from apps.providers.base import Finished
from tests.conversations.tabs import closed, frame, session_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def runner(bus):
    runner = Runner(bus, limits=Limits(heartbeat_seconds=0.05))
    await runner.start()
    yield runner
    await runner.drain(0)


async def send(user, **fields):
    fields.setdefault("conversation_id", None)
    return await in_db(messages.send, user=user, content="Hello", model="scripted/model", **fields)


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:8000", "http://127.0.0.1:8000", "http://[::1]:8000", "HTTP://LOCALHOST:8000"],
)
def test_our_own_addresses_are_ours(origin):
    assert is_our_origin(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "http://localhost",
        "http://localhost:8001",
        "https://localhost:8000",
        "http://localhost:8000.evil.example",
    ],
)
def test_every_other_origin_is_refused(origin):
    assert not is_our_origin(origin)


@pytest.mark.parametrize("origin", [None, b"null", b"http://evil.example"])
async def test_a_page_of_another_site_opens_no_socket(tab, origin):
    assert not (await tab(origin=origin)).accepted


async def test_a_tab_without_a_session_is_told_to_sign_in(tab):
    socket = await tab(who=None)
    assert socket.accepted
    assert await closed(socket) == 4401


async def test_a_tab_that_watches_sees_the_answer_to_its_end(tab, runner, user, scripted):
    gate = asyncio.Event()
    scripted.add(["Good ", gate, "**day**", Finished("stop")])
    sent = await send(user)
    socket = await tab()
    assert (await frame(socket, "hello"))["v"] == 1
    await socket.send_to(json.dumps({"type": "watch", "conversation": str(sent.conversation.pk)}))
    first = await frame(socket, "answer")
    assert first["m"] == str(sent.answers[0].pk)
    async with asyncio.timeout(5):
        while "Good" not in json.dumps(first["parts"]):
            first = await frame(socket, "answer")
    gate.set()
    ended = await frame(socket, "ended")
    assert ended["status"] == "complete"


async def test_an_answer_begun_elsewhere_is_followed_without_asking(tab, runner, user, scripted):
    gate = asyncio.Event()
    scripted.add([gate, "One", Finished("stop")], ["Two", Finished("stop")])
    sent = await send(user)
    socket = await tab()
    await socket.send_to(json.dumps({"type": "watch", "conversation": str(sent.conversation.pk)}))
    await frame(socket, "answer")
    gate.set()
    await frame(socket, "ended")
    second = await send(user, conversation_id=sent.conversation.pk)
    told = await frame(socket, "messages")
    assert told["ids"] == [str(second.user_message.pk), str(second.answers[0].pk)]
    assert (await frame(socket, "ended"))["m"] == str(second.answers[0].pk)


async def test_an_answer_that_no_runner_takes_up_is_said_to_wait(tab, user):
    hub = (await process.here()).hub
    hub.pace = replace(hub.pace, tick=0.01, patience=0.0)
    hub._sources = replace(hub._sources, pace=hub.pace)
    sent = await send(user)
    socket = await tab()
    await socket.send_to(json.dumps({"type": "watch", "conversation": str(sent.conversation.pk)}))
    assert (await frame(socket, "status"))["word"] == "waiting"


async def test_a_strangers_conversation_is_gone_and_so_is_nothing(tab, stranger, user):
    sent = await send(user)
    socket = await tab(who=stranger)
    for conversation in (str(sent.conversation.pk), str(new_id()), "nonsense", None):
        await socket.send_to(json.dumps({"type": "watch", "conversation": conversation}))
        assert (await frame(socket, "gone"))["conversation"] == str(conversation)


async def test_a_stranger_hears_nothing_of_another_users_rows(tab, stranger, user):
    socket = await tab(who=stranger)
    await frame(socket, "hello")
    await send(user)
    await socket.send_to('{"type":"ping"}')
    assert json.loads(await socket.receive_from(timeout=5)) == {"type": "pong"}


async def test_a_session_that_ended_may_watch_no_more(tab, user):
    sent = await send(user)
    socket = await tab()
    await in_db(Session.objects.all().delete)
    await socket.send_to(json.dumps({"type": "watch", "conversation": str(sent.conversation.pk)}))
    assert await closed(socket) == 4401


class SessionStore(SessionBase):
    """Sessions whose store fails as `failing_with` says."""

    failing_with: Exception = OperationalError("the database system is shutting down")

    def load(self):
        raise self.failing_with


@pytest.fixture
def failing(settings, monkeypatch):
    """Let reading sessions fail from now on."""

    def fail(error):
        monkeypatch.setattr(SessionStore, "failing_with", error)
        settings.SESSION_ENGINE = __name__

    return fail


async def watch_anything(socket):
    await socket.send_to(json.dumps({"type": "watch", "conversation": str(new_id())}))


async def held_sockets():
    return [socket for sockets in (await process.here()).hub._users.values() for socket in sockets]


async def test_a_tab_that_watches_while_the_database_is_away_comes_again(tab, failing):
    socket = await tab()
    await frame(socket, "hello")
    failing(InterfaceError("connection already closed"))
    await watch_anything(socket)
    assert await closed(socket) == 1012
    assert not await held_sockets()


async def test_a_tab_that_opens_while_the_database_is_away_comes_again(tab, user, failing):
    key = await in_db(session_of, user)
    failing(OperationalError("the database system is starting up"))
    socket = await tab(key=key)
    assert (socket.accepted, await closed(socket)) == (True, 1012)


async def test_a_fault_of_ours_closes_the_socket_and_leaves_nothing_behind(tab, failing):
    socket = await tab()
    await frame(socket, "hello")
    failing(RuntimeError("a fault"))
    await watch_anything(socket)
    assert await closed(socket) == 1011
    with pytest.raises(RuntimeError):
        await socket.wait(timeout=5)
    assert not await held_sockets()


async def test_a_server_that_cancels_a_socket_leaves_nothing_behind(tab):
    socket = await tab()
    await frame(socket, "hello")
    assert len(await held_sockets()) == 1
    socket.future.cancel()
    async with asyncio.timeout(5):
        while await held_sockets():
            await asyncio.sleep(0)


# --- for as long as it is open -----------------------------------------------------------------------------------


@pytest.fixture
async def watched_tab(tab, user):
    """Open a tab in a browser of its own, and look after it often; gives both."""
    (await process.here()).guard.every = 0.01
    client = Client()
    await in_db(client.force_login, user)
    socket = await tab(key=client.session.session_key)
    await frame(socket, "hello")
    return socket, client


async def test_signing_out_closes_that_browsers_tabs_and_no_others(watched_tab, tab, stranger):
    socket, client = watched_tab
    others = [await tab(), await tab(who=stranger)]
    await in_db(client.post, "/accounts/logout/")
    assert await closed(socket) == 4401
    assert len(await held_sockets()) == 2
    for other in others:
        await frame(other, "hello")
        await other.send_to('{"type":"ping"}')
        assert json.loads(await other.receive_from(timeout=5)) == {"type": "pong"}


async def test_a_tab_that_was_closed_hears_of_no_further_answer(watched_tab, runner, user, scripted):
    socket, client = watched_tab
    gate = asyncio.Event()
    scripted.add(["Before", gate, "after", Finished("stop")])
    sent = await send(user)
    await socket.send_to(json.dumps({"type": "watch", "conversation": str(sent.conversation.pk)}))
    await frame(socket, "answer")
    await in_db(client.post, "/accounts/logout/")
    assert await closed(socket) == 4401
    gate.set()
    assert await socket.receive_nothing(timeout=0.2)


async def test_disabling_a_user_closes_their_tabs(watched_tab, user):
    socket, _ = watched_tab
    await in_db(User.objects.filter(pk=user.pk).update, is_active=False)
    assert await closed(socket) == 4401


async def test_a_new_password_closes_tabs_elsewhere_and_has_those_of_that_browser_come_again(watched_tab, tab, user):
    socket, client = watched_tab
    elsewhere = await tab()
    form = {"oldpassword": "correct horse battery", "password1": "another battery 7", "password2": "another battery 7"}
    await in_db(client.post, "/accounts/password/change/", form)
    assert await closed(socket) == 1012
    assert await closed(elsewhere) == 4401
    again = await tab(key=client.cookies["sessionid"].value)
    assert await frame(again, "hello")


async def test_a_closed_tab_is_looked_after_no_more(watched_tab):
    socket, _ = watched_tab
    await socket.disconnect()
    async with asyncio.timeout(5):
        while not (await process.here()).guard.is_idle:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("no json", 4400),
        ("[]", 4400),
        ("7", 4400),
        ('{"type":"send"}', 4400),
        ('{"type":["watch"]}', 4400),
        ("[" * 5000, 4400),
        ("x" * 70_000, 4413),
    ],
)
async def test_anything_else_closes_the_socket(tab, text, code):
    socket = await tab()
    await socket.send_to(text)
    assert await closed(socket) == code


async def test_bytes_close_the_socket(tab):
    socket = await tab()
    await socket.send_to(bytes_data=b"\x00\xff")
    assert await closed(socket) == 4400


@pytest.mark.parametrize("number", [None, "1", -1, 10**30, True, [], 1.5])
async def test_a_wrong_acknowledgement_harms_nobody(tab, number):
    socket = await tab()
    await frame(socket, "hello")
    await socket.send_to(json.dumps({"type": "ack", "n": number}))
    await socket.send_to('{"type":"ping"}')
    assert json.loads(await socket.receive_from(timeout=5)) == {"type": "pong"}


# --- how many and how much ---------------------------------------------------------------------------------------


async def say(socket, *messages):
    for message in messages:
        await socket.send_to(json.dumps(message))


async def test_one_socket_too_many_is_closed_and_the_others_stay(tab, settings, stranger):
    settings.SOCKETS_PER_USER = 2
    mine = [await tab(), await tab()]
    refused = await tab()
    assert (refused.accepted, await closed(refused)) == (True, 4429)
    for socket in (*mine, await tab(who=stranger)):
        await frame(socket, "hello")
    await mine[0].disconnect()
    await frame(await tab(), "hello")


async def test_a_session_that_knocks_without_end_is_turned_away_without_being_looked_up(tab, user, failing):
    key = await in_db(session_of, user)
    doors = (await process.here()).doors
    while doors.knock(key):
        pass
    failing(RuntimeError("its session must not be read"))
    refused = await tab(key=key)
    assert (refused.accepted, await closed(refused)) == (True, 4429)


async def test_others_come_in_while_one_session_knocks(tab, user, stranger):
    key = await in_db(session_of, user)
    doors = (await process.here()).doors
    while doors.knock(key):
        pass
    await frame(await tab(who=stranger), "hello")
    await frame(await tab(), "hello")  # the same user, in another browser


async def test_a_socket_that_says_too_much_is_closed(tab):
    socket = await tab()
    await say(socket, *[{"type": "ping"}] * 100)
    assert await closed(socket) == 4429
    assert not await held_sockets()


async def test_watching_one_conversation_after_the_other_costs_more(tab):
    socket = await tab()
    await say(socket, *[{"type": "watch", "conversation": str(new_id())} for _ in range(20)])
    assert await closed(socket) == 4429


async def test_unwatching_and_empty_acknowledgements_count_too(tab):
    for message in ({"type": "unwatch"}, {"type": "ack", "n": 0}, {"type": "ack", "n": "all"}):
        socket = await tab()
        await say(socket, *[message] * 100)
        assert await closed(socket) == 4429


async def test_acknowledging_what_came_is_free(tab, user):
    socket = await tab()
    bus = live.bus()
    for number in range(1, 101):
        await say(socket, {"type": "ack", "n": (await frame(socket, "hello" if number == 1 else "notice"))["n"]})
        bus.publish(live.user_topic(user.pk), {"type": "notice", "text": str(number)})
    await say(socket, {"type": "ping"})
    await frame(socket, "pong")


async def test_a_socket_that_is_being_closed_hears_nothing_more(tab):
    socket = await tab()
    await socket.send_to("no json")
    await say(socket, {"type": "ping"})
    assert await closed(socket) == 4400
    assert await socket.receive_nothing(timeout=0.05)
