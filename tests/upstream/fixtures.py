"""The fixture `upstream`: a fake upstream in a thread of its own, so that tests of any kind can use it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.upstream.records import StreamRecord
from tests.upstream.server import Upstream

PATIENCE = 10.0  # seconds; only a failing test waits that long


class RunningUpstream:
    """A fake upstream as tests see it.

    Shape: `url` is what OPENAI_BASE_URL takes. `requests` and `streams` are what it has seen, oldest first.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-upstream", daemon=True)
        self._thread.start()
        self._upstream = self._run(_make())
        self.port: int = self._run(self._upstream.start())
        self.url = f"http://127.0.0.1:{self.port}/v1"

    @property
    def requests(self) -> list[dict[str, Any]]:
        return list(self._upstream.records.requests)

    @property
    def streams(self) -> list[StreamRecord]:
        return list(self._upstream.records.streams)

    @property
    def connections(self) -> int:
        return self._upstream.records.connections

    def wait_for(self, predicate: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Block until the predicate holds, asked again whenever the server sees something; not in async tests."""
        self._upstream.records.wait_for(predicate, patience)

    async def eventually(self, predicate: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait until the predicate holds, for async tests."""
        await asyncio.to_thread(self.wait_for, predicate, patience)

    def release(self) -> None:
        """Let the streams of fake-gate go on."""
        self._loop.call_soon_threadsafe(self._upstream.release)

    def reset(self) -> None:
        """Forget what was seen."""
        self._upstream.records.reset()

    def stop(self) -> None:
        """Close everything at once, amid streams too; safe to repeat."""
        if not self._loop.is_closed():
            self._run(self._upstream.stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)


async def _make() -> Upstream:
    return Upstream()


@pytest.fixture
def upstream() -> Iterator[RunningUpstream]:
    """A fake model provider on loopback."""
    running = RunningUpstream()
    yield running
    running.stop()
