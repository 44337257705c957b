"""The web server: daphne with our process started on its loop and drained before it ends.

Import it only after asyncio's reactor is installed.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from typing import Any

from daphne.server import Server
from django.conf import settings
from django.utils.module_loading import import_string
from twisted.internet import defer, reactor

from apps.conversations.process import WebProcess, register
from apps.conversations.services import live
from apps.core.db import in_db
from apps.core.logs import get_logger

log = get_logger(__name__)
# Ctrl-C is somebody waiting at a terminal; SIGTERM gets the grace that settings give.
INTERRUPT_GRACE_SECONDS = 2.0
FRAME_BYTES = 64 * 1024


class DrainingServer(Server):
    """daphne that lets the process drain before it ends the requests and sockets it serves."""

    drained: defer.Deferred[Any] | None = None
    deaf = False

    def listen_error(self, failure: Any) -> None:
        """Say in words why nothing can be served, and end."""
        sys.stderr.write(f"Bough can't listen here: {failure.getErrorMessage()}\nChoose another port with --port.\n")
        self.deaf = True
        self.stop()

    def kill_all_applications(self) -> Any:
        """End what is served, once the process is drained."""
        if self.drained is None:
            return super().kill_all_applications()
        return self.drained.addCallback(lambda _: super(DrainingServer, self).kill_all_applications())


class Launcher:
    """One run of the web server: started, drained at the first signal, hurried at the second."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, announce: Callable[[], None] | None) -> None:
        self.loop = loop
        self.announce = announce
        self.process: WebProcess | None = None
        self.grace: float | None = None
        self.is_ending = False
        self.failed = False

    async def start(self) -> None:
        """Start what lives beside requests; `announce` runs, off the loop, once that is done."""
        await live.start_bus()
        self.process = register(WebProcess())
        await self.process.start(with_runner=settings.GENERATIONS_HOST == "inline")
        log.info("ready")
        if self.announce is not None:
            await in_db(self.announce)

    def started(self, task: asyncio.Task[None]) -> None:
        """End the server if its process could not start: pages without answers would look healthy."""
        if not task.cancelled() and (error := task.exception()):
            log.error("start-failed", exc_info=error)
            self.failed = True
            self.end(0.0)

    def end(self, grace: float | None) -> None:
        """Begin to end; called again, stop waiting for answers."""
        if self.is_ending:
            if self.process is not None:
                self.process.hurry()
            return
        self.is_ending, self.grace = True, grace
        reactor.callFromThread(reactor.stop)  # type: ignore[attr-defined]

    async def stop(self) -> None:
        """Drain the process."""
        if self.process is not None:
            await self.process.stop(self.grace)
        await live.stop_bus()


def serve(loop: asyncio.AbstractEventLoop, *, host: str, port: int, announce: Callable[[], None] | None = None) -> None:
    """Serve until a signal; returns when everything is drained. Exits with 1 if the process could not start."""
    launcher = Launcher(loop, announce=announce)

    def ready() -> None:
        loop.add_signal_handler(signal.SIGTERM, launcher.end, None)
        loop.add_signal_handler(signal.SIGINT, launcher.end, INTERRUPT_GRACE_SECONDS)
        asyncio.ensure_future(launcher.start(), loop=loop).add_done_callback(launcher.started)

    def drain() -> None:
        server.drained = defer.Deferred.fromFuture(asyncio.ensure_future(launcher.stop(), loop=loop))

    server = DrainingServer(
        import_string(settings.ASGI_APPLICATION),
        endpoints=[f"tcp:port={port}:interface={host}"],
        signal_handlers=False,
        websocket_max_message_size=FRAME_BYTES,
        websocket_max_frame_size=FRAME_BYTES,
        ready_callable=ready,
        server_name="Bough",
        verbosity=0,
    )
    # Registered before daphne's own, so that it runs first.
    reactor.addSystemEventTrigger("before", "shutdown", drain)  # type: ignore[attr-defined]
    server.run()
    if launcher.failed or server.deaf:
        sys.exit(1)
