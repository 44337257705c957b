"""The floor to stand beside: a relay that passes bytes and does nothing else, on the same event loop as Bough's."""

from __future__ import annotations

import argparse
import asyncio
from functools import partial


class Far(asyncio.Protocol):
    """The connection to the provider."""

    def __init__(self, near: Near) -> None:
        self.near = near

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.near.far = transport
        transport.write(self.near.waiting)

    def data_received(self, data: bytes) -> None:
        self.near.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.near.transport.close()


class Near(asyncio.Protocol):
    """The connection of the client."""

    transport: asyncio.Transport
    far: asyncio.Transport | None = None

    def __init__(self, port: int) -> None:
        self.port = port
        self.waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        loop = asyncio.get_running_loop()
        self.connecting = loop.create_task(loop.create_connection(partial(Far, self), "127.0.0.1", self.port))

    def data_received(self, data: bytes) -> None:
        if self.far is not None:
            self.far.write(data)
        else:
            self.waiting += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.connecting.cancel()
        if self.far is not None:
            self.far.abort()


async def serve(port: int, upstream: int) -> None:
    """Listen on loopback until killed."""
    server = await asyncio.get_running_loop().create_server(partial(Near, upstream), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", type=int, required=True, help="the provider's port")
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.upstream))
