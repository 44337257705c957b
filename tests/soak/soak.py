"""One soak: people, faults and a look at memory side by side; at the end everything is compared and counted."""

from __future__ import annotations

import asyncio
import json
import random
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp

from tests.process.installation import Installation
from tests.soak.faults import Faults
from tests.soak.ledger import Ledger
from tests.soak.memory import Memory
from tests.soak.users import User, wrong_text
from tests.upstream.fixtures import RunningUpstream

FINAL = ("complete", "stopped", "failed", "interrupted")
ANSWERS = """
SELECT answer.status, answer.parts, question.text FROM conversations_message answer
JOIN conversations_message question ON question.id = answer.parent_id
WHERE answer.role = 'assistant' AND question.text LIKE 'canary-u%'
"""


@dataclass
class Plan:
    """How to soak: for how long, with how many people and which faults; `seed` repeats the dice of all of them."""

    seconds: float = 3600
    users: int = 20
    seed: int = 1
    # Shortest and longest pause between two faults, and how slow people are.
    gap: tuple[float, float] = (10, 40)
    think: float = 1.5


@dataclass
class Report:
    """What came of it; `problems` is empty for a good one."""

    plan: Plan
    shape: str
    seconds: float
    ledger: Ledger
    memory: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        ledger = self.ledger
        lines = [
            f"{self.shape}: {self.seconds / 60:.1f} minutes, {self.plan.users} people, seed {self.plan.seed}",
            f"acts     {sum(ledger.acts.values())}: {_counted(ledger.acts)}",
            f"faults   {sum(ledger.faults.values())}: {_counted(ledger.faults)}",
            f"answers  {sum(ledger.answers.values())}: {_counted(ledger.answers)}",
            f"readings {sum(ledger.readings.values())}: {_counted(ledger.readings)}; "
            f"connections lost {ledger.cuts}, the longest reading {ledger.longest_reading:.1f} s",
            f"refused in announced outages: {_counted(ledger.refused) or 'none'}",
            *(f"memory   {line}" for line in self.memory),
            f"problems {len(self.problems)}",
            *(f"  {problem}" for problem in self.problems[:30]),
        ]
        return "\n".join(lines)


async def soak(installation: Installation, provider: RunningUpstream, plan: Plan) -> Report:
    """Soak an installation that runs; it is whole again afterwards."""
    ledger, dice = Ledger(), random.Random(plan.seed)
    memory = Memory(lambda: processes_of(installation))
    began = time.monotonic()
    over = asyncio.Event()
    async with AsyncExitStack() as stack:
        users = []
        for number in range(plan.users):
            person = installation.person(number)
            person.traces.append(traced(ledger))
            await stack.enter_async_context(person)
            users.append(User(number, person, ledger, random.Random(f"{plan.seed} {number}"), plan.think))
        beside = [asyncio.create_task(memory.run()), asyncio.create_task(tidy(provider))]
        breaking = asyncio.create_task(Faults(installation, ledger, dice, plan.gap).run())
        living = [asyncio.create_task(user.live(over)) for user in users]
        await asyncio.wait([breaking], timeout=plan.seconds)
        over.set()
        await ended(breaking)
        with ledger.fault("the end", announced=True):
            await asyncio.to_thread(installation.start_all)
        await asyncio.gather(*living)
        reading = [task for user in users for task in user.reading]
        if reading:
            await asyncio.wait(reading, timeout=120)
        report = Report(plan, installation.shape, time.monotonic() - began, ledger)
        await asyncio.to_thread(installation.until_idle, 120)
        for task in beside:
            await ended(task)
    del ledger.faults["the end"]
    report.memory = memory.lines()
    report.problems = [*ledger.errors, *check_answers(installation, ledger), *installation.problems()]
    report.problems += [f"an answer is still being read: {task}" for task in reading if not task.done()]
    return report


def check_answers(installation: Installation, ledger: Ledger) -> list[str]:
    """Compare every answer in the database with what was to be said to its question; counts them by status."""
    wrong = []
    for status, parts, words in installation.ask(ANSWERS):
        ledger.answers[status] += 1
        text = "".join(part["text"] for part in (json.loads(parts) if isinstance(parts, str) else parts))
        if status not in FINAL:
            wrong.append(f"still {status}: {words}")
        elif problem := wrong_text(text, status, words):
            wrong.append(f"in the database: {problem}; {words}")
    return wrong


def processes_of(installation: Installation) -> dict[str, int]:
    """Name what runs: ours, and Redis."""
    found = installation.processes()
    if installation.redis is not None and installation.redis.is_running():
        found["Redis"] = installation.redis.pid
    return found


def traced(ledger: Ledger) -> aiohttp.TraceConfig:
    """Tell the ledger of every call that was refused or lost, whoever makes it and for what."""
    trace = aiohttp.TraceConfig(trace_config_ctx_factory=lambda **_: SimpleNamespace(began=time.monotonic()))

    async def answered(_: Any, context: Any, params: aiohttp.TraceRequestEndParams) -> None:
        if params.response.status >= 500:
            ledger.note_status(params.response.status, context.began, f"{params.method} {params.url.path}")

    async def lost(_: Any, context: Any, params: aiohttp.TraceRequestExceptionParams) -> None:
        if isinstance(params.exception, Exception):
            ledger.note_status(0, context.began, f"{params.method} {params.url.path}: {params.exception!r}")

    trace.on_request_end.append(answered)
    trace.on_request_exception.append(lost)
    return trace


async def tidy(provider: RunningUpstream) -> None:
    """Let the fake provider forget what it has seen, which a soak never asks."""
    while True:
        await asyncio.sleep(30)
        provider.reset()


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for it."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _counted(counter: Any) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common())
