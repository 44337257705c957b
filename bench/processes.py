"""Starting and ending what is measured, and what its process tree costs, read from /proc."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

HERTZ = os.sysconf("SC_CLK_TCK")
ROOT = Path(__file__).resolve().parent.parent


class Process:
    """A started program and everything below it."""

    def __init__(self, name: str, arguments: Sequence[str], *, env: Mapping[str, str] | None = None, log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.pid = self._popen.pid

    async def answers(self, url: str, *, seconds: float = 60) -> float:
        """Wait until it answers 200 and give the seconds it took. Raises: RuntimeError if it ended or takes too long."""
        began = time.monotonic()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            while time.monotonic() - began < seconds:
                if self._popen.poll() is not None:
                    break
                try:
                    async with http.get(url) as response:
                        if response.status == 200:
                            return time.monotonic() - began
                except (aiohttp.ClientError, TimeoutError):
                    pass
                await asyncio.sleep(0.02)
        self.end(signal.SIGKILL)
        raise RuntimeError(f"{self.name} did not start:\n{self.log.read_text()[-1500:]}")

    def end(self, number: int = signal.SIGTERM) -> None:
        """Signal the whole group and wait; what does not go within 15 seconds is killed."""
        if self._popen.poll() is None:
            os.killpg(self.pid, number)
        try:
            self._popen.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()


def free_port() -> int:
    """Give a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tree_of(root: int) -> list[int]:
    """List a process and all below it."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children[int(fields[1])].append(int(entry.name))
    found, todo = [], [root]
    while todo:
        found.append(todo.pop())
        todo += children[found[-1]]
    return found


def cpu_seconds(root: int) -> float:
    """Sum up the processor time of a tree, that of ended children included."""
    return sum(sum(map(int, fields[11:15])) for pid in tree_of(root) if (fields := _stat(pid))) / HERTZ


def memory_mib(root: int) -> float:
    """Sum up the memory of a tree, pages in common counted once (PSS)."""
    total = 0
    for pid in tree_of(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def busy_seconds() -> float:
    """Sum up what all cores of the machine worked, for us and for others."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / HERTZ


def _stat(pid: int) -> list[str]:
    """Read the fields behind the name; none for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


@dataclass
class Clock:
    """What time, processor and other programs took since it was made."""

    target: int | None

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self._at_start = self._read()

    def _read(self) -> tuple[float, float, float]:
        # All that the bench starts are its children: its own tree is all that is ours, each process once.
        target = cpu_seconds(self.target) if self.target else 0.0
        return target, cpu_seconds(os.getpid()), busy_seconds()

    def stop(self) -> tuple[float, float, float]:
        """Give seconds passed, processor seconds of the target, and cores that others used meanwhile."""
        wall = time.monotonic() - self.began
        target, ours, busy = (now - before for now, before in zip(self._read(), self._at_start, strict=True))
        return wall, target, (busy - ours) / wall


async def quiet(*, seconds: float = 6) -> None:
    """Wait for others on this machine to use less than a quarter of a core, but no longer than some seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        clock = Clock(None)
        await asyncio.sleep(0.7)
        if clock.stop()[2] < 0.25:
            return


@contextmanager
def profiled(pid: int, target: Path) -> Iterator[None]:
    """Sample a process with py-spy, where that is installed, and write its stacks with their counts to a file."""
    spy = Path(sys.executable).with_name("py-spy")
    if not spy.exists():
        raise SystemExit("--profile needs py-spy: uv pip install py-spy")
    # Who holds the interpreter's lock works; where sleeping threads can't be told from working ones, this still can.
    arguments = ["record", "--pid", str(pid), "--gil", "--rate", "250", "--duration", "3600", "--format", "raw"]
    sampling = subprocess.Popen([spy, *arguments, "--output", target], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        sampling.send_signal(signal.SIGINT)
        sampling.wait(15)
