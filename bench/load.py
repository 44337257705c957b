"""Live text under load: time to the first token, delay of each, processor and memory, for any number of answers at once."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from statistics import median

import aiohttp

from bench.processes import Clock, Process, memory_mib, profiled, quiet
from bench.readers import ApiReader, PageReader, Reader, ReadError, RelayReader
from bench.server import Provider, running_bough, running_provider, running_relay
from bench.table import cell, table
from bench.tokens import Tally, now, percentile

TTFT_MS = 50
ITL_MS = 20
# A burst of 33 new answers a second at 100.
SPREAD_SECONDS = 3.0
LIMIT_SECONDS = 60.0
TARGETS = ("relay", "api", "page")
HEAD = (
    "answers", "read through", "first p50 ms", "first p95 ms", "delay p50 ms", "delay p95 ms", "CPU s/10k tokens",
    "MiB", "lost", "twice", "reads/token", "bytes/token", "errors", "others' cores",
)  # fmt: skip


@dataclass
class Target:
    """What is measured: its process, and how to make its n-th reader."""

    name: str
    process: Process
    reader: Callable[[int], Reader]


@dataclass
class Row:
    """One measurement. Units: milliseconds, seconds of processor, MiB, and kB for one reader or answer."""

    target: str
    answers: int
    tokens: int = 0
    first_p50: float | None = None
    first_p95: float | None = None
    delay_p50: float | None = None
    delay_p95: float | None = None
    cpu_10k: float | None = None
    memory: float = 0.0
    memory_before: float = 0.0
    per_reader: float = 0.0
    per_answer: float = 0.0
    lost: int = 0
    repeated: int = 0
    reads_per_token: float = 0.0
    bytes_per_token: float = 0.0
    foreign: float = 0.0
    errors: list[str] = field(default_factory=list)

    def cells(self) -> tuple[object, ...]:
        """Lay it out as HEAD names it."""
        return (
            self.answers, self.target, self.first_p50, self.first_p95, self.delay_p50, self.delay_p95, self.cpu_10k,
            self.memory, self.lost, self.repeated, self.reads_per_token,
            self.bytes_per_token, len(self.errors), self.foreign,
        )  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What to measure: through which targets, how many answers at once, how often, and with which Bough.

    No web processes of its own (`webs`) means the embedded shape.
    """

    targets: Sequence[str] = TARGETS
    answers: Sequence[int] = (1, 20, 100)
    runs: int = 1
    database_url: str = ""
    webs: int = 0
    profile: str = ""


async def run(folder: Path, plan: Plan) -> str:
    """Measure each number of answers through each target, and give the table of medians."""
    rows = []
    answers, runs, profile = plan.answers, plan.runs, plan.profile
    async with AsyncExitStack() as running:
        provider = await running.enter_async_context(running_provider(folder))
        found = await started(running, folder, provider, plan, readers=max(answers))
        if profile:
            running.enter_context(profiled(found[-1].process.pid, Path(profile)))
        for target in found:
            await measure(target, answers=2, tokens=30, each=1, spread=0.1)  # warms up
        for count in answers:
            for target in found:
                rows.append(await _median_row(target, count, runs))
                print(" ".join(cell(value) for value in rows[-1].cells()), file=sys.stderr, flush=True)
    errors = [f"* {row.answers} {row.target}: {row.errors[0]}\n" for row in rows if row.errors]
    return f"{table(HEAD, [row.cells() for row in rows])}\n\n{''.join(errors)}"


# The most answers at once: so many more each time, until a figure is out of bounds.
STEPS = (50, 100, 150, 200, 250, 300, 400)
BEARABLE_MS = 250.0


async def ramp(folder: Path, plan: Plan) -> str:
    """Have ever more answers written at once until the delay's p95 passes 250 ms or one fails, and give the table."""
    rows = []
    async with AsyncExitStack() as running:
        provider = await running.enter_async_context(running_provider(folder))
        for target in await started(running, folder, provider, plan, readers=max(STEPS)):
            await measure(target, answers=2, tokens=30, each=1, spread=0.1)
            for count in STEPS:
                row = await measure(target, answers=count, tokens=300, each=1, spread=SPREAD_SECONDS)
                rows.append(row)
                print(" ".join(cell(value) for value in row.cells()), file=sys.stderr, flush=True)
                if row.errors or row.lost or (row.delay_p95 or 0) > BEARABLE_MS:
                    break
    return f"{table(HEAD, [row.cells() for row in rows])}\n"


async def started(
    running: AsyncExitStack, folder: Path, provider: Provider, plan: Plan, *, readers: int
) -> list[Target]:
    """Start what the targets need."""
    found, names = [], plan.targets
    if "relay" in names:
        relay = await running.enter_async_context(running_relay(folder, provider))
        found.append(Target("relay", relay.process, lambda _: RelayReader(relay.url)))
    if {"api", "page"} & set(names):
        bough, _ = await running.enter_async_context(
            running_bough(folder, provider, database_url=plan.database_url, webs=plan.webs)
        )
        people, process = await bough.people(readers), bough.process
        assert process is not None
        if "api" in names:
            found.append(
                Target("api", process, lambda number: ApiReader(bough.urls[number % len(bough.urls)], people[number]))
            )
        if "page" in names:
            found.append(
                Target("page", process, lambda number: PageReader(bough.urls[number % len(bough.urls)], people[number]))
            )
    return found


async def _median_row(target: Target, answers: int, runs: int) -> Row:
    """Measure some times and give the median of each figure; errors, losses and repeats add up."""
    tokens, each, spread = (50, 5, 0.0) if answers == 1 else (300, 1, SPREAD_SECONDS)
    rows = [await measure(target, answers=answers, tokens=tokens, each=each, spread=spread) for _ in range(runs)]
    middle = {
        one.name: median(values)
        for one in fields(Row)
        if (values := [value for row in rows if isinstance(value := getattr(row, one.name), float)])
    }
    sums = {name: sum(getattr(row, name) for row in rows) for name in ("lost", "repeated")}
    return replace(rows[0], **middle, **sums, errors=[error for row in rows for error in row.errors])


async def measure(target: Target, *, answers: int, tokens: int, each: int, spread: float) -> Row:
    """Have so many readers ask `each` times in a row, their beginnings spread over some seconds."""
    row = Row(target.name, answers)
    readers = [target.reader(number) for number in range(answers)]
    before = memory_mib(target.process.pid)
    for begin in range(0, answers, 10):
        await asyncio.gather(*(reader.open() for reader in readers[begin : begin + 10]))
    await quiet()
    idle = memory_mib(target.process.pid)
    gc.collect()
    gc.disable()
    watching = asyncio.create_task(_watch_memory(row, target.process.pid))
    clock, began = Clock(target.process.pid), now()
    prompt = f"Please answer. [[n={tokens},ttft={TTFT_MS},itl={ITL_MS}]]"

    async def ask(number: int, reader: Reader) -> list[Tally]:
        await asyncio.sleep(spread * number / answers)
        return [await _ask(reader, prompt, tokens, row) for _ in range(each)]

    read = [tally for each_of in await asyncio.gather(*map(ask, range(answers), readers)) for tally in each_of]
    _wall, cpu, row.foreign = clock.stop()
    watching.cancel()
    gc.enable()
    await asyncio.gather(*(reader.close() for reader in readers), return_exceptions=True)
    row.memory_before = before
    row.per_reader, row.per_answer = (idle - before) * 1024 / answers, (row.memory - idle) * 1024 / answers
    _sum_up(row, read, cpu, steady_from=began + int(spread * 1e6) if answers > 1 else began)
    return row


async def _ask(reader: Reader, prompt: str, tokens: int, row: Row) -> Tally:
    tally = Tally()
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            await reader.ask(prompt, tokens, tally)
    except (ReadError, aiohttp.ClientError, TimeoutError) as error:
        row.errors.append(f"{type(error).__name__}: {error}"[:200])
    return tally


async def _watch_memory(row: Row, pid: int) -> None:
    while True:
        row.memory = max(row.memory, memory_mib(pid))
        await asyncio.sleep(1)


def _sum_up(row: Row, read: Sequence[Tally], cpu: float, *, steady_from: int) -> None:
    """Fill the row; delays count while all answers run together."""
    firsts = [(tally.first_at - tally.asked_at) / 1000 - TTFT_MS for tally in read if tally.first_at]
    steady_to = min((tally.got[-1][0] for tally in read if tally.got), default=0) if steady_from else 0
    together = [late / 1000 for tally in read for at, late in tally.got if steady_from <= at <= steady_to]
    delays = together if len(together) > 50 else [late / 1000 for tally in read for _at, late in tally.got]
    row.tokens = sum(tally.tokens for tally in read)
    row.first_p50, row.first_p95 = percentile(firsts, 0.5), percentile(firsts, 0.95)
    row.delay_p50, row.delay_p95 = percentile(delays, 0.5), percentile(delays, 0.95)
    row.lost, row.repeated = sum(tally.lost for tally in read), sum(tally.repeated for tally in read)
    if row.tokens:
        row.cpu_10k = cpu / row.tokens * 10_000
        row.reads_per_token = sum(tally.reads for tally in read) / row.tokens
        row.bytes_per_token = sum(tally.bytes for tally in read) / row.tokens
