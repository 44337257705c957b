"""Readers that read nothing, and clients that say too much: what they cost the server is bounded, and others read on."""

import asyncio
import contextlib
import re
from pathlib import Path

import pytest

from tests.process.crowd import Crowd, Tab
from tests.process.people import SocketReader
from tests.process.raw_sockets import BINARY, CONTINUED, PING, TEXT, RawSocket, frame, greeting, small_reader

pytestmark = pytest.mark.slow
READERS = 40
MOST_KB = 4_000


def memory_kb(installation):
    status = Path(f"/proc/{installation.processes()['web']}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])


@pytest.fixture
async def plenty(embedded):
    """An answer as long as they come, of each of two people, that has not ended and was read once."""
    async with contextlib.AsyncExitStack() as leaving:
        sent = []
        for number in (0, 1):
            person = await leaving.enter_async_context(embedded.person(number))
            chat = await person.begin()
            sent.append(await person.send(chat, "Go", model="openai/fake-plenty"))
            reader = SocketReader(person, sent[-1]).start()
            await reader.until(lambda reader: len(reader.text) > 800_000)
            await reader.leave()
        yield sent
        for number, one in enumerate(sent):
            async with embedded.person(number) as person:
                await person.call("POST", f"/chats/{one.chat}/stop", {})


async def test_a_frame_may_be_longer_than_what_a_client_may_say(embedded, plenty):
    with contextlib.closing(RawSocket(embedded.url, embedded.people[0]["session"])) as reader:
        reader.say(type="watch", conversation=plenty[0].chat)
        assert len([reader.receive()[1] for _ in range(3)][-1]) > 350_000


async def test_sockets_that_read_nothing_cost_little_whatever_they_say(embedded, plenty):
    sessions = [embedded.people[number]["session"] for number in (0, 1)]
    before = memory_kb(embedded)
    sockets = [RawSocket(embedded.url, sessions[number % 2]) for number in range(READERS)]
    try:
        for _ in range(8):
            for number, reader in enumerate(sockets):
                # All of it again and again, acknowledged unread.
                reader.say(type="watch", conversation=plenty[number % 2].chat)
                reader.say(type="ack", n=10**9)
            await asyncio.sleep(0.25)  # as often as a socket may
        grown = memory_kb(embedded) - before
        print(f"{READERS} sockets that read nothing: {grown / READERS:.0f} kB each")
        assert grown / READERS < MOST_KB
        async with embedded.person(2) as person:
            sent = await person.send(await person.begin(), "canary-x 40 pieces of 50 ms")
            assert await SocketReader(person, sent).start().ended() == "complete"
    finally:
        for reader in sockets:
            reader.close()


async def test_who_pings_without_reading_the_answers_is_read_no_more(embedded):
    reader = RawSocket(embedded.url, embedded.people[3]["session"])
    before = memory_kb(embedded)
    pings = b"".join(frame(PING, b"x" * 125) for _ in range(1000))
    with contextlib.closing(reader), contextlib.suppress(TimeoutError):
        reader.patience(1.0)
        for _ in range(250):
            reader.send_raw(pings)
    assert memory_kb(embedded) - before < MOST_KB


async def test_event_streams_that_are_not_read_cost_little(embedded, plenty):
    before = memory_kb(embedded)
    tokens = [embedded.people[number]["token"] for number in (0, 1)]
    streams = [small_reader(embedded.url) for _ in range(READERS)]
    for number, stream in enumerate(streams):
        one = plenty[number % 2]
        path = f"/api/chats/{one.chat}/stream?generationId={one.generation}"
        head = f"Host: 127.0.0.1:{embedded.port}\r\nAuthorization: Bearer {tokens[number % 2]}"
        stream.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n\r\n".encode())
    heads = [stream.recv(15) for stream in streams]
    await asyncio.sleep(1)
    grown = memory_kb(embedded) - before
    print(f"{READERS} event streams that nobody reads: {grown / READERS:.0f} kB each")
    for stream in streams:
        stream.close()
    assert heads == [b"HTTP/1.1 200 OK"] * READERS
    assert grown / READERS < MOST_KB


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([frame(TEXT, b" " * 65_537)], 4413),
        ([frame(TEXT, b" " * 40_000, last=False), frame(CONTINUED, b" " * 40_000)], 4413),
        ([frame(BINARY, b"\0\xff")], 4400),
        ([frame(TEXT, b"[" * 60_000)], 4400),
        ([frame(TEXT, b'{"type":"ping"}')] * 200, 4429),
    ],
    ids=["too big", "too big in two pieces", "bytes", "nested", "too many"],
)
def test_what_a_socket_may_not_say_closes_it_with_its_code(embedded, frames, code):
    with contextlib.closing(RawSocket(embedded.url, embedded.people[4]["session"])) as reader:
        reader.send_raw(b"".join(frames))
        assert reader.close_code() == code


def test_nobody_without_a_session_holds_a_socket_open(embedded):
    sockets = [RawSocket(embedded.url, session) for session in ["", "guessed", "x" * 32] * 10]
    assert {reader.close_code() for reader in sockets} == {4401}
    for reader in sockets:
        reader.close()


def test_the_twenty_first_socket_of_a_user_is_closed_and_the_others_live(embedded):
    session = embedded.people[5]["session"]
    with contextlib.ExitStack() as closing:
        sockets = [closing.enter_context(contextlib.closing(RawSocket(embedded.url, session))) for _ in range(21)]
        assert sockets[-1].close_code() == 4429
        for reader in sockets[:-1]:
            reader.say(type="ping")
            assert [reader.receive()[1] for _ in range(2)][-1] == b'{"type":"pong"}'


async def test_a_session_that_knocks_without_end_keeps_nobody_out(embedded):
    flood = Crowd(embedded.url)
    flood.tabs = [Tab(flood, embedded.people[6]["session"], "") for _ in range(300)]
    for tab in flood.tabs:
        flood.spawn(tab.connect())
    await flood.until(lambda: flood.seen["closed 4429"] > 300)
    began = flood.now()
    with contextlib.closing(RawSocket(embedded.url, embedded.people[7]["session"])) as reader:
        assert b"hello" in reader.receive()[1]
    waited = flood.now() - began
    await flood.leave()
    print(f"hello after {waited:.2f} s beside {flood.seen['101']} handshakes of another")
    assert waited < 5


@pytest.mark.parametrize(
    "line",
    [
        "Sec-WebSocket-Protocol: caf\u00e9",
        "Sec-WebSocket-Extensions: permessage-deflate; x=\x00",
        "Sec-WebSocket-Version: 99",
        "X-Long: " + "x" * 20_000,
        "Cookie: sessionid=" + "\u00ff" * 100,
        "Origin: http://evil.example",
    ],
)
async def test_a_handshake_that_makes_no_sense_is_refused_and_the_server_goes_on(embedded, line):
    tcp = small_reader(embedded.url)
    tcp.sendall(greeting(embedded.url, "").replace(b"\r\n\r\n", f"\r\n{line}\r\n\r\n".encode("latin-1")))
    with contextlib.closing(tcp), contextlib.suppress(ConnectionError):
        print(tcp.recv(300))
    assert embedded.is_serving()
