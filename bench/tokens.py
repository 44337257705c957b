"""Counting numbered and stamped tokens out of any bytes that hold them, and percentiles."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

STAMP = re.compile(r"(\d+)@(\d+);")
# The longest beginning of a token that a read may end with.
LONGEST = 32


def now() -> int:
    """Give microseconds of the clock that tokens are stamped with."""
    return time.monotonic_ns() // 1000


def percentile(values: Sequence[float], share: float) -> float | None:
    """Give the value below which this share (0 to 1) of all lies; None of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


class Tally:
    """The tokens of one answer as one reader got them."""

    def __init__(self) -> None:
        self.asked_at = 0
        self.first_at = 0
        self.last = 0
        self.tokens = self.lost = self.repeated = 0
        self.reads = self.bytes = 0
        self.got: list[tuple[int, int]] = []  # when a token came, and how late
        self._rest = ""

    def feed(self, at: int, data: str) -> None:
        """Count the tokens of a stream that only appends."""
        self.reads += 1
        data = self._rest + data
        end = 0
        for match in STAMP.finditer(data):
            end = match.end()
            self._count(at, int(match[1]), int(match[2]))
        self._rest = data[end:][-LONGEST:]

    def show(self, at: int, text: str) -> None:
        """Count the tokens that some new HTML shows for the first time; blocks may come again as they settle."""
        for match in STAMP.finditer(text):
            if int(match[1]) > self.last:
                self._count(at, int(match[1]), int(match[2]))

    def check(self, text: str, expected: int) -> None:
        """Count what is missing and what stands twice in the text as it is shown in the end."""
        numbers = [int(match[1]) for match in STAMP.finditer(text)]
        self.repeated = len(numbers) - len(set(numbers))
        self.lost = len(set(range(1, expected + 1)) - set(numbers))

    def _count(self, at: int, number: int, stamp: int) -> None:
        if number <= self.last:
            self.repeated += 1
            return
        self.lost += number - self.last - 1
        self.last = number
        self.tokens += 1
        self.first_at = self.first_at or at
        self.got.append((at, at - stamp))
