"""How soon Bough reacts: from a stop to the provider's closed connection, from a lost socket to the whole text."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from bench.readers import ApiReader, PageReader, ReadError, session
from bench.server import Bough, Person, Provider, running_bough
from bench.table import table
from bench.tokens import Tally, now, percentile

TIMES = 10
HEAD = ("what", "p50 ms", "p95 ms", "times")
# What the provider sends while the socket is gone, less what may be on its way.
MISSED_TOKENS = 20
LONG = "Please answer. [[n=2000,ttft=50,itl=20]]"


async def run(folder: Path) -> str:
    """Measure and give the table."""
    async with running_bough(folder) as (bough, provider):
        (person,) = await bough.people(1)
        stops = [await _stop(bough, provider, person) for _ in range(TIMES)]
        returns = [await _come_back(bough, person) for _ in range(TIMES)]
    rows = [
        ("stop to the provider's connection closed", percentile(stops, 0.5), percentile(stops, 0.95), len(stops)),
        ("new socket to the whole text so far", percentile(returns, 0.5), percentile(returns, 0.95), len(returns)),
    ]
    return f"{table(HEAD, rows)}\n"


async def _stop(bough: Bough, provider: Provider, person: Person) -> float:
    reader, tally = ApiReader(bough.url, person), Tally()
    await reader.open()
    asking = asyncio.create_task(reader.ask(LONG, 2000, tally))
    await asyncio.sleep(0.7)
    stopped_at = now()
    async with reader.http.post(f"{bough.url}/api/chats/{reader.chat}/stop") as response:
        response.raise_for_status()
    with suppress(ReadError):  # it ends as stopped
        await asking
    async with session() as http, http.get(provider.url.replace("/v1", "/stats")) as response:
        closed_at: int = (await response.json())["closed_at"]
    await reader.close()
    return (closed_at - stopped_at) / 1000


async def _come_back(bough: Bough, person: Person) -> float:
    """Lose the socket for half a second in mid-answer; the first frame of the new one has to hold everything."""
    reader, tally = PageReader(bough.url, person), Tally()
    await reader.open()
    asking = asyncio.create_task(reader.ask(LONG, 2000, tally))
    await asyncio.sleep(1)
    await reader.lose_socket()
    await asyncio.sleep(0.5)
    began, wanted = now(), tally.last + MISSED_TOKENS
    await reader.connect()
    while tally.last < wanted:
        await reader.next_frame()
    took = (now() - began) / 1000
    asking.cancel()
    async with session(headers={"Authorization": f"Bearer {person.token}"}) as http:
        await http.post(f"{bough.url}/api/chats/{reader.chat}/stop")
    await reader.close()
    return took
