"""Opening conversations of different lengths: over HTTP, and in process with its queries counted (opening.py)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.processes import cpu_seconds
from bench.readers import ApiReader, session
from bench.server import Bough, Person, running_bough
from bench.table import table
from bench.tokens import Tally

LENGTHS = (10, 100, 100_000)
TIMES = 15
TTFT_MS = 50
HEAD = ("messages", "request", "HTTP p50 ms", "in process p50 ms", "processor ms", "queries", "kB")


async def run(folder: Path) -> str:
    """Measure and give the table."""
    async with running_bough(folder) as (bough, _provider):
        (person,) = await bough.people(1)
        began = time.monotonic()
        chats = [await _build(bough, person, length) for length in LENGTHS]
        built = time.monotonic() - began
        over_http = {
            (length, what): await _over_http(bough, person, path)
            for length, chat in zip(LENGTHS, chats, strict=True)
            for what, path in (("page", f"/c/{chat}/"), ("API page", f"/api/chats/{chat}/messages"))
        }
        found: list[dict[str, Any]] = json.loads(await bough.run("-m", "bench.opening", *chats))
        firsts = [await _first_token(bough, person, chat) for chat in chats]
    rows = [
        (
            row["length"],
            row["what"],
            over_http.get((row["length"], row["what"])),
            row["ms"],
            row["cpu"],
            row["queries"],
            row["bytes"] / 1000,
        )
        for row in found
    ]
    rows += [
        (length, "first token of one more answer", first, None, cpu, None, None)
        for length, (first, cpu) in zip(LENGTHS, firsts, strict=True)
    ]
    return f"{table(HEAD, rows)}\n\nBuilding them took {built:.0f} s.\n"


async def _build(bough: Bough, person: Person, length: int) -> str:
    """Make a path of that many messages and give its conversation's id."""
    sizes = ("--conversations", "0", "--deep", str(length))
    printed = await bough.run("manage.py", "create_demo_data", person.email, *sizes, "--json")
    chat: str = json.loads(printed)["deep"]
    return chat


async def _over_http(bough: Bough, person: Person, path: str) -> float:
    took = []
    async with session(cookies={"sessionid": person.session}) as http:
        for _ in range(TIMES + 1):
            began = time.perf_counter()
            async with http.get(bough.url + path) as response:
                await response.read()
                response.raise_for_status()
            took.append((time.perf_counter() - began) * 1000)
    return median(took[1:])


async def _first_token(bough: Bough, person: Person, chat: str) -> tuple[float, float]:
    """Ask on in a conversation: the median of what Bough adds to the provider's first token, and the processor's share."""
    reader, took = ApiReader(bough.url, person), []
    assert bough.process is not None
    await reader.open()
    reader.chat = chat
    before = cpu_seconds(bough.process.pid)
    for _ in range(TIMES + 1):
        tally = Tally()
        await reader.ask(f"More, please. [[n=5,ttft={TTFT_MS},itl=5]]", 5, tally)
        took.append((tally.first_at - tally.asked_at) / 1000 - TTFT_MS)
    worked = (cpu_seconds(bough.process.pid) - before) * 1000 / len(took)
    await reader.close()
    return median(took[1:]), worked
