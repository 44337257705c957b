"""Memory of processes over time: sampled from /proc, with a straight line fitted to each process's life."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

EVERY = 2.0
# A life's first seconds fill caches and pools.
WARMING = 20.0


@dataclass
class Life:
    """One process: its role, and (seconds, MiB) since it was first seen."""

    role: str
    samples: list[tuple[float, float]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.samples[-1][0] - self.samples[0][0]

    def slope(self) -> float | None:
        """Fit a line through what came after warming up, in MiB an hour; None for too short a life."""
        warm = [(at, size) for at, size in self.samples if at - self.samples[0][0] >= WARMING]
        if len(warm) < 10:
            return None
        mean_at = sum(at for at, _ in warm) / len(warm)
        mean = sum(size for _, size in warm) / len(warm)
        spread = sum((at - mean_at) ** 2 for at, _ in warm)
        return sum((at - mean_at) * (size - mean) for at, size in warm) / spread * 3600


class Memory:
    """Sample what runs until cancelled."""

    def __init__(self, processes: Callable[[], Mapping[str, int]]) -> None:
        self._processes = processes
        self._lives: dict[int, Life] = {}

    async def run(self) -> None:
        while True:
            now = time.monotonic()
            for role, pid in self._processes().items():
                if size := resident_mib(pid):
                    self._lives.setdefault(pid, Life(role)).samples.append((now, size))
            await asyncio.sleep(EVERY)

    def lines(self) -> list[str]:
        """Word the longest life of each role."""
        longest: dict[str, Life] = {}
        for life in self._lives.values():
            role = life.role.split()[0]
            if role not in longest or life.seconds > longest[role].seconds:
                longest[role] = life
        return [_worded(role, life) for role, life in sorted(longest.items())]


def resident_mib(pid: int) -> float:
    """Read the resident memory of a process; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)


def _worded(role: str, life: Life) -> str:
    slope = life.slope()
    fitted = "too short for a line" if slope is None else f"{slope:+.1f} MiB an hour"
    first, last = life.samples[0][1], life.samples[-1][1]
    most = max(size for _, size in life.samples)
    return f"{role}: {first:.0f} → {last:.0f} MiB in {life.seconds / 60:.1f} min, at most {most:.0f}; {fitted}"
