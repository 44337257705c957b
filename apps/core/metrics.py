"""Counts and times for Prometheus. Each room registers what it measures; how figures leave is in views and commands."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder, start_http_server
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from apps.core.bounded import Bounded
from apps.core.db import DATABASE_AWAY
from apps.core.logs import get_logger

log = get_logger(__name__)
# Seconds that a scrape waits for the database.
PATIENCE = 3.0

# What this process counts: each process has its own.
REGISTRY = CollectorRegistry()
# What the database says when it is asked: every process says the same.
SHARED = CollectorRegistry()

# When a count began is nothing that anybody asks.
disable_created_metrics()
ProcessCollector(registry=REGISTRY)
_requests = Counter("bough_requests", "Requests answered, by the class of their status.", ["status"], registry=REGISTRY)
# Kept, for finding one by its label costs more than counting.
_by_class = {number: _requests.labels(f"{number}xx") for number in range(1, 6)}


class Few:
    """Bound the values of a label: those beyond the first `most` are `other`, so that no name fills the memory."""

    def __init__(self, most: int = 100) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        """Give the value, or what stands for it."""
        if value not in self._known:
            if len(self._known) >= self._most:
                return "other"
            self._known.add(value)
        return value


def count_request(status: int) -> None:
    """Count a request that was answered."""
    if (child := _by_class.get(status // 100)) is not None:
        child.inc()


def exposition(accept: str = "") -> tuple[bytes, str]:
    """Write all figures as Prometheus reads them, with the content type that was asked for.

    Effects: asks the database, and waits for it three seconds at most; without it the process's own figures stay.
    """
    encode, content_type = choose_encoder(accept)
    return encode(_Collected([*REGISTRY.collect(), *_shared()])), content_type


@contextmanager
def served(host: str, port: int) -> Iterator[int]:
    """Serve this process's own figures on an address of their own; gives the port, for 0 means any.

    Raises: OSError if nothing can be served there.
    """
    server, thread = start_http_server(port, host, registry=REGISTRY)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _shared() -> Sequence[Metric]:
    try:
        return _asking.start().result(PATIENCE)
    except (*DATABASE_AWAY, concurrent.futures.TimeoutError) as error:
        log.warning("shared-figures-failed", error=type(error).__name__)
        return ()


_asking = Bounded(lambda: list(SHARED.collect()))


class _Collected(Collector):
    """Give what was collected already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
