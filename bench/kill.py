"""kill -9 in mid-answer: what a reader had seen, what the row has after the restart, and that the answer goes on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench.readers import begin_conversation, read_stream, session
from bench.server import Bough, running_bough
from bench.table import table
from bench.tokens import STAMP, Tally, now

# Seconds of text before the kill: in the first second, and between checkpoints later.
MOMENTS = (0.3, 1.5, 3.7)
ITL_MS = 20
HEAD = (
    "killed after s",
    "tokens shown",
    "tokens kept",
    "lost ms",
    "status",
    "ready after s",
    "ended after s",
    "continued",
)


@dataclass
class Killed:
    """One kill. Units: seconds since the new start."""

    chat: str
    shown: int
    ready_after: float = 0.0
    ended_after: float = 0.0


async def run(folder: Path) -> str:
    """Measure and give the table."""
    rows = []
    async with running_bough(folder) as (bough, _provider):
        (person,) = await bough.people(1)
        for moment in MOMENTS:
            async with session(headers={"Authorization": f"Bearer {person.token}"}) as http:
                rows.append(await _kill_once(bough, http, moment))
    return f"{table(HEAD, rows)}\n"


async def _kill_once(bough: Bough, http: aiohttp.ClientSession, moment: float) -> tuple[object, ...]:
    killed = await _shown_until_killed(bough, http, moment)
    killed.ready_after = await bough.start()
    message = await _ended_message(bough, http, killed)
    kept = len(STAMP.findall(message["content"]))
    continued = await _go_on(bough, http, message)
    lost_ms = (killed.shown - kept) * ITL_MS
    return (
        moment, killed.shown, kept, lost_ms, message["status"], killed.ready_after, killed.ended_after, continued,
    )  # fmt: skip


async def _shown_until_killed(bough: Bough, http: aiohttp.ClientSession, moment: float) -> Killed:
    """Read an answer for some time, kill the server, and count what was read."""
    chat = await begin_conversation(http, bough.url)
    body = {"content": f"Please answer. [[n=1000,ttft=50,itl={ITL_MS}]]", "model": "openai/bench", "stream": True}
    tally = Tally()
    async with http.post(f"{bough.url}/api/chats/{chat}/messages", json=body) as response:
        tally.feed(now(), (await response.content.readuntil(b";")).decode("latin-1"))
        reading = asyncio.create_task(read_stream(response, tally))
        await asyncio.sleep(moment)
        await asyncio.to_thread(bough.kill)
        await asyncio.wait({reading})
        reading.exception()
    return Killed(chat, tally.last)


async def _ended_message(bough: Bough, http: aiohttp.ClientSession, killed: Killed) -> dict[str, Any]:
    """Wait until the answer shows as ended. Raises: TimeoutError after a minute, the longest a spinner may live."""
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(60):
        while True:
            async with http.get(f"{bough.url}/api/chats/{killed.chat}/messages") as response:
                message: dict[str, Any] = (await response.json())["messages"][-1]
            if message["status"] not in ("queued", "streaming"):
                killed.ended_after = killed.ready_after + asyncio.get_running_loop().time() - began
                return message
            await asyncio.sleep(0.05)


async def _go_on(bough: Bough, http: aiohttp.ClientSession, message: dict[str, Any]) -> str:
    """Continue the answer, and say whether the kept text stands before what came new."""
    address = f"{bough.url}/api/chats/{message['chatId']}/messages"
    # The provider sends another thousand tokens: the first few show that it goes on.
    async with http.post(f"{address}/{message['id']}/continue", json={"stream": True}) as response:
        if response.status != 200:
            return f"{response.status}"
        async for data in response.content.iter_any():
            if b"event: delta" in data and STAMP.search(data.decode("latin-1")):
                break
    async with http.post(f"{bough.url}/api/chats/{message['chatId']}/stop") as response:
        await response.read()
    async with asyncio.timeout(10):
        while True:
            async with http.get(address) as response:
                after = (await response.json())["messages"][-1]
            if after["status"] != "streaming":
                break
            await asyncio.sleep(0.05)
    grown = after["content"].startswith(message["content"]) and len(after["content"]) > len(message["content"])
    return "yes" if grown else f"no ({after['status']})"
