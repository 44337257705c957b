"""The web server: daphne with our process started on its loop and drained before it ends.

Import it only after asyncio's reactor is installed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from daphne.server import Server
from django.conf import settings
from django.utils.module_loading import import_string
from twisted.internet import defer, reactor

from apps.conversations.process import WebProcess, register
from apps.core.db import in_db

log = logging.getLogger(__name__)


class DrainingServer(Server):
    """daphne that lets the process drain before it ends the requests and sockets it serves."""

    drained: defer.Deferred[Any] | None = None

    def kill_all_applications(self) -> Any:
        """End what is served, once the process is drained."""
        if self.drained is None:
            return super().kill_all_applications()
        return self.drained.addCallback(lambda _: super(DrainingServer, self).kill_all_applications())


def serve(
    loop: asyncio.AbstractEventLoop, *, host: str, port: int, announce: Callable[[], None] | None = None
) -> None:
    """Serve until a signal; returns when everything is drained. `announce` runs, off the loop, once it listens."""
    application = import_string(settings.ASGI_APPLICATION)
    held: dict[str, WebProcess] = {}

    async def start() -> None:
        held["process"] = register(WebProcess())
        await held["process"].start(with_runner=True)
        log.info("ready on http://%s:%s", host, port)
        if announce is not None:
            await in_db(announce)

    def drain() -> Any:
        server.drained = defer.Deferred.fromFuture(asyncio.ensure_future(stop(), loop=loop))
        return None

    async def stop() -> None:
        if process := held.get("process"):
            await process.stop()

    server = DrainingServer(
        application,
        endpoints=[f"tcp:port={port}:interface={host}"],
        signal_handlers=True,
        websocket_max_message_size=64 * 1024,
        websocket_max_frame_size=64 * 1024,
        ready_callable=lambda: asyncio.ensure_future(start(), loop=loop),
        server_name="Bough",
        verbosity=0,
    )
    # Registered before daphne's own, so that it runs first.
    reactor.addSystemEventTrigger("before", "shutdown", drain)
    server.run()
