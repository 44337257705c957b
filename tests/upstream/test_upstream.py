import asyncio
import json
import re
import subprocess
import sys
import urllib.request

import aiohttp
import pytest

from tests.upstream import texts


@pytest.fixture
async def client(upstream):
    async with aiohttp.ClientSession(upstream.url + "/") as client:
        yield client


def asking(model: str, **fields: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": "Hello"}], **fields}


async def test_it_answers_without_a_stream_too(client):
    async with client.post("chat/completions", json=asking("fake")) as response:
        choice = (await response.json())["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (texts.ANSWER, "stop")


async def test_it_names_conversations(client):
    messages = [{"role": "system", "content": "Name this conversation."}, {"role": "user", "content": "Hello"}]
    async with client.post("chat/completions", json=asking("fake", messages=messages)) as response:
        assert (await response.json())["choices"][0]["message"]["content"] == texts.TITLE
    async with client.post("chat/completions", json=asking("fake-slow", messages=messages, stream=True)) as response:
        assert "Trees" in await response.text()


async def test_its_gate_opens_for_those_who_wait(client, upstream):
    async with client.post("chat/completions", json=asking("fake-gate", stream=True)) as response:
        assert b"Before" in await response.content.readany()
        await (await client.post("__release")).read()
        assert b"After" in await response.content.read()
    await upstream.eventually(lambda: upstream.streams[0].end == "completed")


async def test_it_tells_what_it_has_seen_and_forgets_it(client, upstream):
    async with client.post("chat/completions", json=asking("fake-endless", stream=True)) as response:
        await response.content.readany()
    await upstream.eventually(lambda: upstream.streams[0].end is not None)
    stats = await (await client.get("__stats")).json()
    assert (stats["requests"], stats["active"], stats["models"]) == (1, 0, ["fake-endless"])
    stream = stats["streams"][0]
    assert (stream["end"], stream["chunks"] > 0) == ("client_closed", True)
    assert stream["ended_at"] > stream["started_at"]
    await (await client.post("__reset")).read()
    assert (await (await client.get("__stats")).json())["requests"] == 0


async def test_it_is_flaky_when_asked_to_be(client):
    assert [await _status(client, "chat/completions", "fake-flaky") for _ in range(3)] == [503, 200, 503]


async def test_what_it_does_not_know_is_not_found(client):
    assert await _status(client, "nowhere", "fake") == 404
    assert await _status(client, "chat/completions", "gpt") == 404


def test_waiting_for_what_never_comes_ends_with_what_was_seen(upstream):
    with pytest.raises(TimeoutError, match="'requests': 0"):
        upstream.wait_for(lambda: bool(upstream.requests), patience=0.01)


async def test_stopping_it_closes_its_streams(client, upstream):
    async with client.post("chat/completions", json=asking("fake-stall", stream=True)) as response:
        await response.content.readany()
        await asyncio.to_thread(upstream.stop)
        with pytest.raises(aiohttp.ClientError):
            await response.content.read()


def test_it_runs_as_a_program_of_its_own():
    program = subprocess.Popen([sys.executable, "-m", "tests.upstream", "--port", "0"], stdout=subprocess.PIPE)
    try:
        address = program.stdout.readline().decode().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", address)
        with urllib.request.urlopen(address + "/models") as response:
            assert "fake" in [model["id"] for model in json.load(response)["data"]]
    finally:
        program.terminate()
        program.wait()
        program.stdout.close()


async def _status(client, path, model):
    async with client.post(path, json=asking(model)) as response:
        await response.read()
        return response.status
