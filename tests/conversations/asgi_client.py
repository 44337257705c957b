"""A client of the server's own HTTP handler: real threads, real streams, real disconnects, no socket."""

import asyncio
import json

from asgiref.testing import ApplicationCommunicator

from apps.accounts.services import tokens
from apps.core.db import in_db
from config.http import HttpHandler
from tests.conversations.event_streams import read_events

PATIENCE = 10


class AsgiCalls:
    """Call the API as one user, by a token; many calls may run at once."""

    def __init__(self, plain):
        self.handler = HttpHandler()
        self.credentials = (b"authorization", f"Bearer {plain}".encode())

    @classmethod
    async def of(cls, user):
        _, plain = await in_db(tokens.make_token, user=user)
        return cls(plain)

    async def open(self, method, path, body=None, *, headers=()):
        """Send a request and give the communicator that plays the client."""
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": f"/api{path}",
            "query_string": b"",
            "headers": [
                (b"host", b"localhost:8000"),
                (b"content-type", b"application/json"),
                self.credentials,
                *headers,
            ],
        }
        client = ApplicationCommunicator(self.handler, scope)
        await client.send_input({"type": "http.request", "body": b"" if body is None else json.dumps(body).encode()})
        return client

    async def stream(self, method, path, body=None, *, headers=()):
        """Open a stream and take in its head."""
        client = await self.open(method, path, body, headers=headers)
        head = await client.receive_output(timeout=PATIENCE)
        assert head["status"] == 200, head
        return client

    async def call(self, method, path, body=None):
        """Call and give (status, JSON or None)."""
        client = await self.open(method, path, body)
        head = await client.receive_output(timeout=PATIENCE)
        raw, more = b"", True
        while more:
            message = await client.receive_output(timeout=PATIENCE)
            raw, more = raw + message.get("body", b""), message.get("more_body", False)
        await client.wait(timeout=PATIENCE)
        return head["status"], json.loads(raw) if raw else None

    async def all_at_once(self, times, method, path, bodies):
        """Send the same call many times in the same moment; bodies is one for all, or a function of the number."""
        body = bodies if callable(bodies) else lambda number: bodies
        return await asyncio.gather(*(self.call(method, path, body(number)) for number in range(times)))


async def heard(client, *, until):
    """Receive a stream's bytes until an event fits."""
    raw = b""
    while not any(until(event) for event in read_events(raw)):
        raw += (await client.receive_output(timeout=PATIENCE)).get("body", b"")
    return raw
