"""Is this process able to serve? Checks of the ground floor; rooms above add theirs with `add_check`."""

import concurrent.futures
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from time import monotonic, perf_counter
from typing import NamedTuple, TypedDict

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from apps.core.bounded import Bounded
from apps.core.logs import get_logger

log = get_logger(__name__)

# Seconds that a probe waits for its answer, whatever hangs.
PATIENCE = 3.0
# Below either of them the disk counts as full.
FREE_SHARE, FREE_BYTES = 0.02, 200_000_000


class Unhealthy(Exception):
    """A check failed; the text names what, without addresses or secrets: anyone may read it."""


class Result(TypedDict):
    ok: bool
    ms: float
    detail: str


class Usage(NamedTuple):
    """A disk. Units: bytes."""

    total: int
    free: int


def add_check(name: str, check: Callable[[], str]) -> None:
    """Add a check to readiness; it gives a word on what it saw, or raises Unhealthy. The same name replaces."""
    _checks[name] = Bounded(partial(_run, name, check))


def run_checks(*, patience: float = PATIENCE) -> dict[str, Result]:
    """Run every check, side by side, for so many seconds at most.

    Effects: one query for the database, one for migrations; an exception of a check counts as failed and is logged.
    """
    until = monotonic() + patience
    return {name: _wait_for(run, until) for name, run in [(name, run.start()) for name, run in _checks.items()]}


def _wait_for(run: Future[Result], until: float) -> Result:
    try:
        return run.result(max(0.0, until - monotonic()))
    except concurrent.futures.TimeoutError:
        return Result(ok=False, ms=PATIENCE * 1000, detail="no answer in time")


def _run(name: str, check: Callable[[], str]) -> Result:
    start = perf_counter()
    try:
        ok, detail = True, check()
    except Unhealthy as problem:
        ok, detail = False, str(problem)
    except Exception:  # whatever broke, the probe must get its answer; the log has the rest
        log.exception("health-check-failed", check=name)
        ok, detail = False, "failed"
    return Result(ok=ok, ms=round((perf_counter() - start) * 1000, 1), detail=detail)


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    return connection.vendor


def _migrations() -> str:
    if waiting := count_waiting_migrations():
        raise Unhealthy(f"{waiting} migrations are not applied")
    return "applied"


def count_waiting_migrations() -> int:
    """Count the migrations that the database lacks. Effects: one query."""
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _disk() -> str:
    usage = disk_usage()
    if is_almost_full(usage):
        raise Unhealthy("the disk is almost full")
    return f"{usage.free // 1_000_000} MB free"


def disk_usage() -> Usage:
    """Measure the disk of the data folder. Raises: Unhealthy if the folder is missing."""
    if not settings.DATA_DIR.exists():
        raise Unhealthy("the data folder is missing")
    usage = shutil.disk_usage(settings.DATA_DIR)
    return Usage(usage.total, usage.free)


def is_almost_full(usage: Usage) -> bool:
    """Tell whether the next backup or upload fills the disk."""
    return usage.free < min(FREE_BYTES, usage.total * FREE_SHARE)


_checks: dict[str, Bounded[Result]] = {}
for _name, _check in (("database", _database), ("migrations", _migrations), ("disk", _disk)):
    add_check(_name, _check)
