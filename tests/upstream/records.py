"""What the fake upstream remembers: requests and how each stream ended. Read from other threads too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class StreamRecord:
    """One streamed answer.

    Shape: `end` is None while it runs, then "completed", "client_closed", or "dropped" (by the fault asked for).
    Units: times are monotonic seconds.
    """

    model: str
    started_at: float = field(default_factory=time.monotonic)
    chunks: int = 0
    end: str | None = None
    ended_at: float | None = None


class Records:
    """Everything seen since the last reset; `changed` wakes whoever waits for a part of it."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.requests: list[dict[str, Any]] = []
        self.streams: list[StreamRecord] = []
        self.connections = 0

    def add_request(self, request: dict[str, Any]) -> None:
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()

    def open_stream(self, model: str) -> StreamRecord:
        with self.changed:
            self.streams.append(StreamRecord(model))
            self.changed.notify_all()
            return self.streams[-1]

    def add_chunk(self, stream: StreamRecord) -> None:
        with self.changed:
            stream.chunks += 1
            self.changed.notify_all()

    def close_stream(self, stream: StreamRecord, end: str) -> None:
        with self.changed:
            if stream.end is None:
                stream.end, stream.ended_at = end, time.monotonic()
            self.changed.notify_all()

    def add_connection(self) -> None:
        with self.changed:
            self.connections += 1

    def reset(self) -> None:
        with self.changed:
            self.requests.clear()
            self.streams.clear()
            self.connections = 0

    def wait_for(self, predicate: Callable[[], bool], timeout: float) -> None:
        """Block until the predicate holds; TimeoutError after so many seconds."""
        with self.changed:
            if not self.changed.wait_for(predicate, timeout):
                raise TimeoutError(f"the upstream did not see it within {timeout} s: {self.as_dict()}")

    def as_dict(self) -> dict[str, Any]:
        return {
            "requests": len(self.requests),
            "connections": self.connections,
            "active": sum(stream.end is None for stream in self.streams),
            "streams": [asdict(stream) for stream in self.streams],
            "models": [request["body"].get("model") for request in self.requests],
        }
