"""Websockets by hand over plain TCP: a client that says anything, and reads only when it is told to."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import struct
from urllib.parse import urlsplit

PATIENCE = 20.0
CONTINUED, TEXT, BINARY, CLOSE, PING = 0, 1, 2, 8, 9


def greeting(url: str, session: str) -> bytes:
    """Give the request that opens a socket, as a browser sends it."""
    return (
        f"GET /ws/ HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nOrigin: {url}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nCookie: sessionid={session}\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(secrets.token_bytes(16)).decode()}\r\n\r\n"
    ).encode()


def frame(opcode: int, payload: bytes, *, last: bool = True) -> bytes:
    """Write a frame of a client; its mask is nought, which changes nothing."""
    size, opcode = len(payload), opcode | (0x80 if last else 0)
    if size < 126:
        head = struct.pack("!BB", opcode, 0x80 | size)
    elif size < 65_536:
        head = struct.pack("!BBH", opcode, 0xFE, size)
    else:
        head = struct.pack("!BBQ", opcode, 0xFF, size)
    return head + b"\0\0\0\0" + payload


class RawSocket:
    """One socket; nothing is read from it but by `receive` and `close_code`."""

    def __init__(self, url: str, session: str) -> None:
        self._tcp = small_reader(url)
        self._tcp.sendall(greeting(url, session))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._read(1)
        self.status = int(head.split()[1])

    def say(self, **message: object) -> None:
        """Send a message."""
        self.send_raw(frame(TEXT, json.dumps(message).encode()))

    def send_raw(self, frames: bytes) -> None:
        """Send anything. Raises: TimeoutError if the server takes no more."""
        self._tcp.sendall(frames)

    def patience(self, seconds: float) -> None:
        """Wait no longer than that for the server."""
        self._tcp.settimeout(seconds)

    def receive(self) -> tuple[int, bytes]:
        """Read one frame."""
        first, size = self._read(2)
        if size == 126:
            (size,) = struct.unpack("!H", self._read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._read(8))
        return first & 15, self._read(size)

    def close_code(self) -> int:
        """Read on until the server closes, and give its code."""
        while True:
            opcode, payload = self.receive()
            if opcode == CLOSE:
                return int(struct.unpack("!H", payload[:2])[0])

    def close(self) -> None:
        self._tcp.close()

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._tcp.recv(size - len(data))
            if not piece:
                raise ConnectionResetError("the server hung up")
            data += piece
        return data


def small_reader(url: str) -> socket.socket:
    """Connect with as small a buffer for what comes as the system allows: what isn't read stays with the server."""
    at = urlsplit(url)
    tcp = socket.socket()
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    tcp.settimeout(PATIENCE)
    tcp.connect((at.hostname, at.port))
    return tcp
