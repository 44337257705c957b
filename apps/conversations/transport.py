"""What daphne leaves to its applications: writing no faster than the other side reads, and taking no more than is handled.

Twisted buffers whatever it is given. Here `send` waits while the buffer is full, so that whoever makes text (the hub,
a stream of the API, a file) makes no more of it; a reader that takes nothing for a minute is cut off.
"""

from __future__ import annotations

import asyncio
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Any

from daphne.server import Server
from daphne.ws_protocol import WebSocketProtocol

TOO_BIG, TOO_MANY = 4413, 4429
# Units: seconds. Longer than the hub waits for a stalled socket, which it closes in words.
PATIENCE = 75.0
# Messages of one socket that may wait for being handled.
MESSAGES = 64
# Units: bytes, of which Linux takes the double.
SYSTEM_BUFFER = 256 * 1024


class Flow:
    """Know whether a connection takes more: a push producer, as Twisted calls what is told to pause and to go on."""

    def __init__(self, reading: Any = None) -> None:
        self._reading = reading
        self._emptied: asyncio.Future[None] | None = None

    @property
    def is_full(self) -> bool:
        """Tell whether more is buffered than the other side has taken of late."""
        return self._emptied is not None

    async def emptied(self, within: float) -> bool:
        """Wait until the buffer is empty or the connection gone; False if that takes too long."""
        if self._emptied is None:
            return True
        # Not cancelled with whoever waits: several may.
        done, _ = await asyncio.wait({self._emptied}, timeout=within)
        return bool(done)

    def pauseProducing(self) -> None:
        """Hear that the buffer is full."""
        if self._emptied is None:
            self._emptied = asyncio.get_running_loop().create_future()
            if self._reading is not None:
                # Who reads nothing is not read either: pings would be answered into the same buffer.
                self._reading.pauseProducing()

    def resumeProducing(self) -> None:
        """Hear that the buffer is empty."""
        self._go_on()
        if self._reading is not None:
            self._reading.resumeProducing()

    def stopProducing(self) -> None:
        """Hear that the connection is gone."""
        self._go_on()

    def _go_on(self) -> None:
        emptied, self._emptied = self._emptied, None
        if emptied is not None and not emptied.done():
            emptied.set_result(None)


class SocketProtocol(WebSocketProtocol):
    """A websocket with bounds: its buffer, the messages that wait, and the code that says what was too big."""

    is_deaf = False

    def connectionMade(self) -> None:
        """Take the connection over from HTTP, whose channel would be kept for nothing and hold no bounds."""
        super().connectionMade()
        self.transport.unregisterProducer()
        self.flow = Flow(self.transport)
        self.transport.registerProducer(self.flow, True)
        # The system's own buffer would grow to megabytes for whoever reads nothing.
        self.transport.getHandle().setsockopt(SOL_SOCKET, SO_SNDBUF, SYSTEM_BUFFER)

    def sendMessage(self, payload: bytes, isBinary: bool = False) -> None:
        """Send a frame of any size: autobahn would hold what we send to the bounds of what we take.

        What comes after the closing has begun is dropped, as after its end: the application hears of it in a moment.
        """
        if self.state == self.STATE_OPEN:
            self.sendFrame(opcode=2 if isBinary else 1, payload=payload)

    def serverClose(self, code: int | None = None) -> None:
        """Close with a code, also with one for servers (1011, 1012): autobahn refuses them to programs."""
        self.sendCloseFrame(code=code or 1000)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Queue a message, unless too many wait already."""
        if self.is_deaf:
            return
        if self.application_queue.qsize() >= MESSAGES:
            self.is_deaf = True
            self.serverClose(TOO_MANY)
            return
        super().onMessage(payload, isBinary)

    def _max_message_size_exceeded(self, msg_size: int, max_msg_size: int, reason: str) -> None:
        """Say what is wrong, where autobahn would drop the connection without a word."""
        self.failedByMe = True
        self.serverClose(TOO_BIG)


class PatientServer(Server):
    """daphne whose `send` waits for the other side."""

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Pass a message on, and return once there is room for another."""
        if "disconnected" in self.connections.get(protocol, {"disconnected": 0}):
            return
        flow = protocol.flow if isinstance(protocol, SocketProtocol) else _flow_of_request(protocol, message)
        await super().handle_reply(protocol, message)
        if flow is None or not flow.is_full or message["type"] == "websocket.close":
            return
        transport = protocol.transport
        if not await flow.emptied(PATIENCE):
            transport.abortConnection()


def _flow_of_request(request: Any, message: dict[str, Any]) -> Flow | None:
    """Give the flow of a response that goes on; the last piece is Twisted's to deliver."""
    if message["type"] != "http.response.body" or request.finished or request.channel is None:
        return None
    if message.get("more_body", False):
        if request.producer is None:
            request.registerProducer(Flow(), True)
        flow: Flow = request.producer
        return flow
    if request.producer is not None:
        request.unregisterProducer()
    if not request.channel.persistent:
        # Twisted gives a connection that is to be closed all the time in the world to take the rest.
        request.channel.setTimeout(PATIENCE)
    return None
