"""One at a time: a lock by name over all processes that share a database. The system gives it back when its holder dies."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.conf import settings
from django.db import connection

from apps.core.db import DATABASE_AWAY

# What a command exits with when another of its name runs; cron jobs take it for "try again later".
LOCKED_EXIT = 75


class Locked(Exception):
    """Somebody else holds the lock."""


@contextmanager
def only_one(name: str) -> Iterator[None]:
    """Hold the lock of a name while the block runs.

    Raises: Locked at once, where it is held. Effects: SQLite: a file in the data folder, kept; PostgreSQL: an advisory
        lock on a connection of its own, beside the pool.
    """
    with _file_lock(name) if connection.vendor == "sqlite" else _advisory_lock(name):
        yield


@contextmanager
def _file_lock(name: str) -> Iterator[None]:
    folder = settings.DATA_DIR / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(name) from None
        yield


@contextmanager
def _advisory_lock(name: str) -> Iterator[None]:
    own: Any = connection.copy()
    own.settings_dict["OPTIONS"].pop("pool", None)
    try:
        if not _asked(own, "SELECT pg_try_advisory_lock(%s)", name):
            raise Locked(name)
        try:
            yield
        finally:
            # The end of the connection gives it back as well, but a moment later.
            with suppress(*DATABASE_AWAY):
                _asked(own, "SELECT pg_advisory_unlock(%s)", name)
    finally:
        own.close()


def _asked(own: Any, sql: str, name: str) -> bool:
    with own.cursor() as cursor:
        cursor.execute(sql, [_number_of(name)])
        return bool(cursor.fetchone()[0])


def _number_of(name: str) -> int:
    """Give a name the number that PostgreSQL knows its lock by."""
    return int.from_bytes(hashlib.sha256(f"bough:{name}".encode()).digest()[:8], signed=True)
