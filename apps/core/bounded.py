"""Waiting no longer than one can: what may hang runs in a thread of its own, once at a time."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from django.db import connections

R = TypeVar("R")


class Bounded(Generic[R]):
    """Run a function that may hang, for callers who will not wait for ever.

    While a run is under way, further callers share it: a server that hangs costs one thread, however often it is asked.
    The threads are daemons: one that hangs holds up no process that wants to end.
    """

    def __init__(self, function: Callable[[], R]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._run: Future[R] | None = None

    def start(self) -> Future[R]:
        """Begin a run, unless one is under way; wait with `.result(timeout=seconds)`, which raises TimeoutError."""
        with self._lock:
            if self._run is None or self._run.done():
                self._run = Future()
                run = (contextvars.copy_context().run, self._finish, self._run)
                threading.Thread(target=run[0], args=run[1:], name="bounded", daemon=True).start()
            return self._run

    def _finish(self, run: Future[R]) -> None:
        try:
            try:
                result = self._function()
            finally:
                connections.close_all()
        except BaseException as error:  # noqa: BLE001  (whoever waits gets it)
            run.set_exception(error)
        else:
            run.set_result(result)
