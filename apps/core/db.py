"""The one way from async code to the ORM, and the database's own clock. Queries live in models and services."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import connections

P = ParamSpec("P")
R = TypeVar("R")

# Bounded: each thread holds at most one connection, and PostgreSQL's pool counts on it (settings).
EXECUTOR_THREADS = 8
_executor = ThreadPoolExecutor(max_workers=EXECUTOR_THREADS, thread_name_prefix="orm")


async def in_db(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function that queries, off the loop.

    Effects: the connection is closed (or returned to the pool) after the call.
    """
    return await asyncio.get_running_loop().run_in_executor(_executor, lambda: _call(function, args, kwargs))


def _call(function: Callable[..., R], args: tuple[object, ...], kwargs: dict[str, object]) -> R:
    try:
        return function(*args, **kwargs)
    finally:
        connections.close_all()
