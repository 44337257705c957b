"""The times and sizes a runner keeps to, read once from settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Limits:
    """Units: seconds, and bytes for `answer_bytes`. Source: design of streaming, all settable."""

    first_delta_seconds: float = 60
    between_deltas_seconds: float = 40
    total_seconds: float = 900
    answer_bytes: int = 200_000
    lease_seconds: float = 30
    heartbeat_seconds: float = 1
    drain_seconds: float = 20
    flush_seconds: float = 0.05
    slow_flush_seconds: float = 0.2
    retries: int = 2

    @classmethod
    def from_settings(cls) -> Limits:
        """Read the limits of this installation."""
        return cls(**cast(dict[str, Any], settings.GENERATION))
