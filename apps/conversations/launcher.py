"""The web server: daphne with our process started on its loop and drained before it ends.

Import it only after asyncio's reactor is installed.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string
from twisted.internet import defer, reactor

from apps.conversations.process import WebProcess, register
from apps.conversations.services import live
from apps.conversations.transport import PatientServer, SocketProtocol
from apps.core.db import in_db
from apps.core.logs import get_logger

log = get_logger(__name__)
# Ctrl-C is somebody waiting at a terminal; SIGTERM gets the grace that settings give.
INTERRUPT_GRACE_SECONDS = 2.0
FRAME_BYTES = 64 * 1024
# How many may wait at the door: after a restart all who read come at once.
BACKLOG = 1024
# How long requests may take to be answered once answers are drained, and for how long nobody must have been heard: who
# was let in last has still to speak.
REQUEST_SECONDS = 5.0
QUIET_SECONDS = 0.25


class DrainingServer(PatientServer):
    """daphne that answers all who came before it ends, and turns nobody away amid a knock."""

    drained: defer.Deferred[Any] | None = None
    deaf = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ports: list[Any] = []
        self.connections: dict[Any, dict[str, Any]] = {}

    def listen_success(self, port: Any) -> None:
        """Keep the port, so that it can be closed before anything else is."""
        self.ports.append(port)

    def listen_error(self, failure: Any) -> None:
        """Say in words why nothing can be served, and end."""
        sys.stderr.write(f"Bough can't listen here: {failure.getErrorMessage()}\nChoose another port with --port.\n")
        self.deaf = True
        self.stop()

    def close_ports(self) -> None:
        """Take in everybody who waits at the door, and shut it.

        A proxy then meets a refusal, upon which it may ask another process, whatever the request: nothing was sent yet.
        Who waits when a port is shut is cut off instead, with a request that may have been sent.
        """
        while self.ports:
            port = self.ports.pop()
            port.stopReading()
            port.numberAccepts = BACKLOG
            port.doRead()
            port.connectionLost(None)

    async def finish_requests(self) -> None:
        """Wait until all are answered and gone, for some seconds at most."""
        now = self.loop.time
        quiet_since, until = now(), now() + REQUEST_SECONDS
        while now() < until and now() - quiet_since < QUIET_SECONDS:
            await asyncio.sleep(0.02)
            if any(self._is_open(connection) for connection in self.connections.values()):
                quiet_since = now()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    @staticmethod
    def _is_open(connection: dict[str, Any]) -> bool:
        application = connection.get("application_instance")
        return "disconnected" not in connection or (application is not None and not application.done())

    def kill_all_applications(self) -> Any:
        """End what is still served, once the process is drained; those who connected and said nothing have no application."""
        return (self.drained or defer.succeed(None)).addCallback(lambda _: self._cancel_all())

    def _cancel_all(self) -> Any:
        found = [connection.get("application_instance") for connection in self.connections.values()]
        running = [application for application in found if application is not None and not application.done()]
        for application in running:
            application.cancel()
        return defer.Deferred.fromFuture(asyncio.gather(*running, return_exceptions=True))


class Launcher:
    """One run of the web server: started, drained at the first signal, hurried at the second."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, announce: Callable[[], None] | None) -> None:
        self.loop = loop
        self.announce = announce
        self.server: DrainingServer | None = None
        self.process: WebProcess | None = None
        self.starting: asyncio.Task[None] | None = None
        self.grace: float | None = None
        self.is_ending = False
        self.failed = False

    async def prepare(self) -> None:
        """Start what requests and sockets need; to be done before anybody can come."""
        await live.start_bus()
        self.process = register(WebProcess())
        await self.process.serving()

    async def start(self) -> None:
        """Start what lives beside requests; `announce` runs, off the loop, once that is done."""
        assert self.process is not None
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
        if reactor.running:  # type: ignore[attr-defined]
            reactor.callFromThread(reactor.stop)  # type: ignore[attr-defined]

    async def stop(self) -> None:
        """Drain the process: answers finish while it serves on, then nobody new comes in, then readers are sent elsewhere."""
        assert self.process is not None
        assert self.server is not None
        if self.starting is not None:
            # What begins to run must be there to be drained.
            await asyncio.wait([self.starting], timeout=REQUEST_SECONDS)
        await self.process.drain(self.grace)
        self.server.close_ports()
        await self.process.close()
        await self.server.finish_requests()
        await live.stop_bus()


def serve(loop: asyncio.AbstractEventLoop, *, host: str, port: int, announce: Callable[[], None] | None = None) -> None:
    """Serve until a signal; returns when everything is drained. Exits with 1 if the process could not start."""
    launcher = Launcher(loop, announce=announce)
    loop.add_signal_handler(signal.SIGTERM, launcher.end, None)
    loop.add_signal_handler(signal.SIGINT, launcher.end, INTERRUPT_GRACE_SECONDS)

    def ready() -> None:
        server.ws_factory.protocol = SocketProtocol
        launcher.starting = loop.create_task(launcher.start())
        launcher.starting.add_done_callback(launcher.started)

    def drain() -> None:
        server.drained = defer.Deferred.fromFuture(asyncio.ensure_future(launcher.stop(), loop=loop))

    launcher.server = server = DrainingServer(
        import_string(settings.ASGI_APPLICATION),
        endpoints=[f"tcp:port={port}:interface={host}:backlog={BACKLOG}"],
        signal_handlers=False,
        websocket_max_message_size=FRAME_BYTES,
        websocket_max_frame_size=FRAME_BYTES,
        ready_callable=ready,
        server_name="Bough",
        verbosity=0,
    )
    # Registered before daphne's own, so that it runs first.
    reactor.addSystemEventTrigger("before", "shutdown", drain)  # type: ignore[attr-defined]
    loop.run_until_complete(launcher.prepare())
    if not launcher.is_ending:
        server.run()
    if server.drained is None:
        # A signal came before anybody could, or nobody can come.
        loop.run_until_complete(launcher.stop())
    if launcher.failed or server.deaf:
        sys.exit(1)
