"""The runner of this process, where it has one: answers that are asked for here are its own from their birth.

So a turn needs no claim: no transaction, no bell and no wait for either. What it has no room for is queued for any runner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from apps.conversations.models import Generation


class Host(Protocol):
    """Write answers in this process."""

    name: str

    def has_room(self, wanted: int) -> bool:
        """Tell whether so many more can be taken now; from any thread."""
        ...

    def take(self, generations: Sequence[Generation]) -> None:
        """Write answers whose leases are its own already; from any thread, without waiting."""
        ...


_host: Host | None = None


def install(host: Host | None) -> None:
    """Make a runner the one of this process; None once it takes nothing new."""
    global _host
    _host = host


def host_for(wanted: int) -> Host | None:
    """Give the runner of this process if it has room for so many answers."""
    host = _host
    return host if host is not None and host.has_room(wanted) else None
