"""SQLite whose writing threads wait for each other, not for SQLite's busy handler.

The busy handler polls, with sleeps of up to 100 ms, while the lock may be free: a burst of 33 sends a second waited
110 ms each. Within one process a lock hands the turn on at once; other processes meet the busy handler as before.
"""

import threading
from typing import Any

from django.db import OperationalError
from django.db.backends.sqlite3 import base

_writers = threading.Lock()


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that holds its process's turn to write from BEGIN IMMEDIATE to the end of the transaction."""

    _has_turn = False

    def _start_transaction_under_autocommit(self) -> None:
        # Bounded like the busy handler, and with its error: going on without the turn would wait as long once more.
        self._has_turn = _writers.acquire(timeout=self.settings_dict["OPTIONS"].get("timeout", 5))
        if not self._has_turn:
            raise OperationalError("database is locked")
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self._end_turn()
            raise

    def _commit(self) -> Any:
        try:
            return super()._commit()  # type: ignore[misc]
        finally:
            self._end_turn()

    def _rollback(self) -> Any:
        try:
            return super()._rollback()  # type: ignore[misc]
        finally:
            self._end_turn()

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._end_turn()

    def _end_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            _writers.release()
