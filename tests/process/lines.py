"""A line to a server that can be cut: a forwarder of TCP, in whose middle a test stands."""

from __future__ import annotations

import asyncio
import contextlib


class Line:
    """Forward connections to a port of this machine, until it is cut; connections after that are forwarded again.

    Shape: `url` takes the place of the server's own address.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    async def __aenter__(self) -> Line:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Cut all connections off, amid whatever they carry: neither side is told goodbye."""
        for end in self._ends:
            end.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._ends.add(writer)
        with contextlib.suppress(OSError):
            server_reader, server = await asyncio.open_connection("127.0.0.1", self._port)
            self._ends.add(server)
            await asyncio.gather(_forward(reader, server), _forward(server_reader, writer))
            self._ends.discard(server)
        writer.transport.abort()
        self._ends.discard(writer)


async def _forward(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
    target.close()
