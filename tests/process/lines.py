"""A line to a server that can be cut: a forwarder of TCP, in whose middle a test stands."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator


class Line:
    """Forward connections to a port of this machine, until it is cut; a little later connections are forwarded again.

    Shape: `url` takes the place of the server's own address; `came` counts the connections, refused ones too.
    With `lives`, each connection breaks by itself once so many bytes came back over it.
    """

    def __init__(self, port: int, *, lives: Iterator[int] | None = None) -> None:
        self._port = port
        self._lives = lives
        self._refuses = 0
        self.came = 0
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

    def cut(self, *, refuse: int = 0) -> None:
        """Cut all connections off, amid whatever they carry, and so many that come next: nobody is told goodbye."""
        self._refuses = refuse
        for end in self._ends:
            end.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.came += 1
        if self._refuses:
            self._refuses -= 1
            writer.transport.abort()
            return
        self._ends.add(writer)
        with contextlib.suppress(OSError):
            server_reader, server = await asyncio.open_connection("127.0.0.1", self._port)
            self._ends.add(server)
            life = next(self._lives) if self._lives is not None else None
            await asyncio.gather(_forward(reader, server), self._forward_back(server_reader, writer, server, life))
            self._ends.discard(server)
        writer.transport.abort()
        self._ends.discard(writer)

    async def _forward_back(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        server: asyncio.StreamWriter,
        life: int | None,
    ) -> None:
        if await _forward(source, target, life):
            for end in (target, server):
                end.transport.abort()


async def _forward(source: asyncio.StreamReader, target: asyncio.StreamWriter, most: int | None = None) -> bool:
    """Carry bytes over; True if it ended because it had carried as many as it may."""
    with contextlib.suppress(OSError):
        while data := await source.read(65_536):
            target.write(data[:most])
            await target.drain()
            if most is not None:
                most -= len(data)
                if most <= 0:
                    return True
    target.close()
    return False
