"""Sockets of tabs, without a server: opened as a user, and read frame by frame. `tab` is a fixture (conftest.py)."""

import asyncio
import json

import pytest
from channels.testing import WebsocketCommunicator
from django.test import Client

from apps.conversations import process
from apps.core.db import in_db
from config.routing import websocket_application

ORIGIN = b"http://localhost:8000"


@pytest.fixture
async def tab(user):
    """Open sockets as a tab of this user does; closed after the test."""
    opened = []

    async def open_tab(*, who=user, origin=ORIGIN, key=None):
        key = key or (await in_db(session_of, who) if who else "")
        headers = [(b"cookie", f"sessionid={key}".encode())]
        if origin is not None:
            headers.append((b"origin", origin))
        socket = WebsocketCommunicator(websocket_application, "/ws/", headers=headers)
        opened.append(socket)
        socket.accepted, socket.code = await socket.connect()
        return socket

    yield open_tab
    for socket in opened:
        if not socket.future.done():
            await socket.disconnect()
    await (await process.here()).stop()
    process._processes.clear()


def session_of(user):
    client = Client()
    client.force_login(user)
    return client.session.session_key


async def frame(socket, kind):
    """Wait for the next frame of a kind."""
    async with asyncio.timeout(5):
        while True:
            got = json.loads(await socket.receive_from(timeout=5))
            if got["type"] == kind:
                return got


async def closed(socket):
    """Wait until the server closes, and give the code."""
    async with asyncio.timeout(5):
        while True:
            output = await socket.receive_output(timeout=5)
            if output["type"] == "websocket.close":
                return output.get("code")
