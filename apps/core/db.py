"""The ways from async code to the ORM: bounded threads that keep or give back their connections. No queries here."""

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, connections

P = ParamSpec("P")
R = TypeVar("R")

# What a query raises while the database is away, restarts, or is locked for longer than anyone waits.
DATABASE_AWAY = (OperationalError, InterfaceError)

# Bounded: each thread holds at most one connection, and PostgreSQL's pool is as large as both together (settings).
EXECUTOR_THREADS = 8
REQUEST_THREADS = 16
# When this process last found the database away, by the monotonic clock.
_away_at = float("-inf")
_executor = ThreadPoolExecutor(max_workers=EXECUTOR_THREADS, thread_name_prefix="orm")
_request_executor = ThreadPoolExecutor(max_workers=REQUEST_THREADS, thread_name_prefix="request")


def note_away() -> None:
    """Remember that the database was found away; `in_db` does so by itself."""
    global _away_at
    _away_at = time.monotonic()


def seconds_since_away() -> float:
    """Measure how long ago a query of this process last found the database away; infinite if none did."""
    return time.monotonic() - _away_at


async def in_db(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function that queries, off the loop.

    Effects: afterwards a connection goes back to PostgreSQL's pool; one to SQLite stays with its thread.
    """
    return await asyncio.get_running_loop().run_in_executor(_executor, _call, function, args, kwargs)


async def in_request_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a whole request off the loop, in the caller's context. Effects: as `in_db`, in threads of its own."""
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_request_executor, context.run, _call, function, args, kwargs)


def _call(function: Callable[..., R], args: tuple[object, ...], kwargs: dict[str, object]) -> R:
    try:
        return function(*args, **kwargs)
    except OperationalError:
        note_away()
        raise
    finally:
        for connection in connections.all(initialized_only=True):
            # Opening SQLite anew, with its pragmas, costs as much as a request's queries (measured: 0.85 ms).
            if connection.vendor == "sqlite":
                connection.close_if_unusable_or_obsolete()
            else:
                connection.close()
