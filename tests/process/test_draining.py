"""A web process that is asked to end: whoever knocked is answered, and readers are sent elsewhere at once."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from contextlib import suppress

import aiohttp
import pytest

from tests.browser.server import Server
from tests.process.people import StreamReader
from tests.upstream import texts

pytestmark = pytest.mark.slow
PATIENCE = 40.0
BODY = json.dumps({"title": "draining"}).encode()


def request_of(installation):
    """Give a request that makes a chat, as it goes over the wire."""
    token = installation.people[0]["token"]
    head = f"POST /api/chats HTTP/1.1\r\nHost: 127.0.0.1:{installation.port}\r\nAuthorization: Bearer {token}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY


async def status_of(reader):
    """Read the status of an answer; 0 if the connection was cut."""
    try:
        async with asyncio.timeout(PATIENCE):
            return int((await reader.readline()).split(b" ")[1])
    except (OSError, IndexError):
        return 0


async def refused(installation):
    """Wait until nobody is let in any more."""
    with suppress(ConnectionRefusedError):
        async with asyncio.timeout(PATIENCE):
            while True:
                _, writer = await asyncio.open_connection("127.0.0.1", installation.port)
                writer.close()


async def ended(installation, *, began):
    """Wait for the end of the web process; gives its exit status and the seconds that took."""
    status = await asyncio.to_thread(installation._process.wait, PATIENCE)
    return status, time.monotonic() - began


@pytest.mark.xdist_group("embedded")
async def test_whoever_knocked_before_the_door_shut_is_answered(embedded):
    """Their requests were sent already: were they cut off, a proxy could not know whether they were carried out."""
    process = embedded._process
    process.send_signal(signal.SIGSTOP)
    knocks = [await asyncio.open_connection("127.0.0.1", embedded.port) for _ in range(120)]
    for _, writer in knocks:
        writer.write(request_of(embedded))
        await writer.drain()
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    statuses = await asyncio.gather(*(status_of(reader) for reader, _ in knocks))
    assert statuses == [201] * 120
    for _, writer in knocks:
        writer.close()
    assert (await ended(embedded, began=began))[0] == 0


@pytest.mark.xdist_group("embedded")
async def test_a_request_that_is_half_way_in_is_answered_and_nobody_new_is_let_in(embedded):
    request = request_of(embedded)
    reader, writer = await asyncio.open_connection("127.0.0.1", embedded.port)
    writer.write(request[:-5])
    await writer.drain()
    async with embedded.person() as person:
        await person.call("GET", "/models")  # by now the half is there, too
    began = time.monotonic()
    embedded._process.send_signal(signal.SIGTERM)
    await refused(embedded)
    writer.write(request[-5:])
    assert await status_of(reader) == 201
    status, seconds = await ended(embedded, began=began)
    assert (status, seconds < 8) == (0, True)
    writer.close()


@pytest.mark.xdist_group("scaled")
async def test_without_answers_of_its_own_a_web_process_sends_its_readers_away_at_once(scaled):
    async with scaled.person() as person:
        sent = await person.send(await person.begin(), "canary-drained 100 pieces of 40 ms")
        tab = await person.socket()
        await tab.send_json({"type": "watch", "conversation": sent.chat})
        raw, again = b"", StreamReader(person, sent)
        async with person.stream(f"/chats/{sent.chat}/stream?generationId={sent.generation}") as stream:
            while b"canary-drained 3" not in raw:
                raw += await stream.content.readany()
            began = time.monotonic()
            scaled._process.send_signal(signal.SIGTERM)
            # Ends as a stream should: reading on raises nothing, though `end` was not said.
            raw += await stream.content.read()
            print("SSE over", time.monotonic() - began)
        while (message := await tab.receive(PATIENCE)).type == aiohttp.WSMsgType.TEXT:
            pass
        assert (message.type, tab.close_code) == (aiohttp.WSMsgType.CLOSE, 1012)
        assert b"event: end" not in raw
        status, seconds = await ended(scaled, began=began)
        assert (status, seconds < 5) == (0, True), seconds
        await asyncio.to_thread(scaled.start_all)
        again.take_all(raw)
        again.start()
        assert await again.ended() == "complete"
        assert again.text == "".join(texts.canary("canary-drained", 100))


def test_a_server_asked_to_end_while_it_starts_ends(tmp_path):
    """Redis takes the call and says nothing: the server waits for it before it lets anybody in."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        server = Server(tmp_path)
        server._environment["REDIS_URL"] = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        server.launch()
        line, _ = silent.accept()
        server._process.send_signal(signal.SIGTERM)
        with line:
            assert server._process.wait(PATIENCE) == 0, server.log()
    assert "Traceback" not in server.log()


def test_a_server_whose_port_is_taken_says_so_and_nothing_else(tmp_path):
    server = Server(tmp_path)
    with socket.create_server(("127.0.0.1", server.port)):
        server.launch()
        assert server._process.wait(PATIENCE) == 1
    assert [line.split(":")[0] for line in server.log().splitlines()] == [
        "Bough can't listen here",
        "Choose another port with --port.",
    ], server.log()
