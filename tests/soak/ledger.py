"""What a soak remembers: acts, answers, faults with their outages, and everything that must not have been."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# Seconds after an outage in which being refused is no wonder yet.
GRACE = 3.0
MOST_ERRORS = 200


@dataclass
class Ledger:
    """Count, and tell what is excused.

    Shape: `outages` are announced times, as monotonic seconds, in which 503 and lost connections count as refusals and
    not as errors. 500 is never excused.
    """

    acts: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    readings: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    longest_reading: float = 0.0
    cuts: int = 0
    _began: float = field(default_factory=time.monotonic)

    @contextmanager
    def fault(self, name: str, *, announced: bool) -> Iterator[None]:
        """Count a fault; if announced it is an outage while the block runs."""
        self.faults[name] += 1
        began = time.monotonic()
        if announced:
            self.outages.append((began, float("inf")))
        try:
            yield
        finally:
            if announced:
                self.outages[-1] = (began, time.monotonic() + GRACE)

    def note_status(self, status: int, began: float, what: str) -> None:
        """Take in a refusal: 0 for a lost connection, else a status of 500 and more."""
        if status != 500 and self.is_excused(began):
            self.refused["lost" if status == 0 else str(status)] += 1
        else:
            self.note_error(f"{status} outside of any outage: {what}")

    def note_error(self, what: str) -> None:
        if len(self.errors) < MOST_ERRORS:
            self.errors.append(f"{time.monotonic() - self._began:7.1f} s  {what}")

    def is_excused(self, began: float) -> bool:
        """Tell whether something that began then, and ends now, met an outage."""
        now = time.monotonic()
        return any(start <= now and began <= end for start, end in self.outages)
