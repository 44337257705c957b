"""Counting SQL: statements and commits of everything that runs in this process, in all threads. SQLite alone."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

WRITES = ("INSERT", "UPDATE", "DELETE")


class Statements:
    """What ran since the last `clear`, counted by thread (its name up to the first "_").

    Make it before any thread opens a connection: connections stay with their threads.
    """

    def __init__(self) -> None:
        self.clear()
        connection_created.connect(self._opened)
        for connection in connections.all(initialized_only=True):
            self._opened(connection)

    def clear(self) -> None:
        """Begin to count anew."""
        self.statements: Counter[str] = Counter()
        self.commits: Counter[str] = Counter()
        self.texts: list[tuple[str, str]] = []

    def _opened(self, connection: BaseDatabaseWrapper, **_signal: Any) -> None:
        if self._execute not in connection.execute_wrappers:
            connection.execute_wrappers.append(self._execute)

    def _execute(self, execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        thread, verb = threading.current_thread().name.partition("_")[0], sql.split(None, 1)[0].upper()
        # Each transaction begins with BEGIN IMMEDIATE, and commits: that is no statement of ours.
        if verb == "BEGIN":
            self.commits[thread] += 1
        else:
            self.statements[thread] += 1
            self.texts.append((thread, " ".join(sql.split())))
            if verb in WRITES and not context["connection"].in_atomic_block:
                self.commits[thread] += 1
        return execute(sql, params, many, context)
