"""Memory of idle readers and of running answers, each in a process of its own: a used heap takes more without growing."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from bench.load import SPREAD_SECONDS, Plan, measure, started
from bench.server import running_provider
from bench.table import table

ANSWERS = 100
HEAD = ("read through", "MiB before", "kB/idle reader", "kB/running answer", "others' cores")


async def run(folder: Path, *, runs: int) -> str:
    """Measure each kind of reader in fresh processes, and give a row for every one of them."""
    rows = []
    for name in ("api", "page"):
        for number in range(runs):
            home = folder / f"{name}{number}"
            home.mkdir()
            async with AsyncExitStack() as running:
                provider = await running.enter_async_context(running_provider(home))
                (target,) = await started(running, home, provider, Plan(targets=[name]), readers=ANSWERS)
                await measure(target, answers=2, tokens=30, each=1, spread=0.1)  # loads what loads late
                row = await measure(target, answers=ANSWERS, tokens=300, each=1, spread=SPREAD_SECONDS)
            rows.append((name, row.memory_before, row.per_reader, row.per_answer, row.foreign))
    return f"{table(HEAD, rows)}\n"
