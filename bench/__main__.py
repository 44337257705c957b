"""Measure Bough on this machine and print tables.

python -m bench                       everything, about five minutes
python -m bench load --conc 1,20 --targets api,page --runs 3
python -m bench load --webs 2         the scaled shape: PostgreSQL, Redis, a runner and two web processes
python -m bench ramp                  ever more answers at once, until they lag
python -m bench memory | sql | open | react | kill
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path

from bench import kill, load, memory, open_conversation, reactions, sql
from bench.processes import ROOT

TITLES = {
    "load": "Live text",
    "ramp": "The most at once",
    "memory": "Memory",
    "sql": "SQL of one turn",
    "open": "Opening a conversation",
    "react": "Stopping, and coming back",
    "kill": "kill -9 in mid-answer",
}


def run(what: str, folder: Path, options: argparse.Namespace) -> Coroutine[None, None, str]:
    """Begin one measurement."""
    if what in ("load", "ramp"):
        plan = load.Plan(
            options.targets, options.conc, options.runs, options.database_url, options.webs, options.profile
        )
        return load.run(folder, plan) if what == "load" else load.ramp(folder, plan)
    if what == "memory":
        return memory.run(folder, runs=options.runs)
    if what == "sql":
        return sql.run(folder, verbose=options.verbose)
    return {"open": open_conversation.run, "react": reactions.run, "kill": kill.run}[what](folder)


def where() -> str:
    """Say on what machine, when, and of which commit."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?"
    )
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    cores = len(os.sched_getaffinity(0))
    machine = f"{cores} cores of {cpu}, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{machine} · {time.strftime('%Y-%m-%d %H:%M')} · commit {commit}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def main() -> None:
    """Read the command line, measure, and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=[*TITLES, "all"], default="all")
    parser.add_argument("--targets", type=lambda text: text.split(","), default=list(load.TARGETS))
    parser.add_argument("--conc", type=lambda text: [int(part) for part in text.split(",")], default=[1, 20, 100])
    parser.add_argument("--runs", type=int, default=1, help="load: medians of so many runs; memory: so many rows")
    parser.add_argument("--database-url", default="", help="load: another database than a fresh SQLite file")
    parser.add_argument("--webs", type=int, default=0, help="load, ramp: the scaled shape with so many web processes")
    parser.add_argument("--profile", default="", metavar="FILE", help="load: py-spy's stacks of the server")
    parser.add_argument("--verbose", action="store_true", help="sql: print each statement")
    options = parser.parse_args()
    print(where(), flush=True)
    for what in TITLES if options.what == "all" else [options.what]:
        with tempfile.TemporaryDirectory(prefix="bough-bench-") as folder:
            text = asyncio.run(run(what, Path(folder), options))
        print(f"\n## {TITLES[what]}\n\n{text}", flush=True)


if __name__ == "__main__":
    main()
