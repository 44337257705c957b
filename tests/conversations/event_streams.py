"""Reading Server-Sent Events as a client does, for the API's tests."""

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class SentEvent:
    """One event: its name, data and id, and how many bytes of the stream came up to its end."""

    name: str
    data: dict
    id: str
    upto: int


def read_events(raw):
    """Read all whole events; comments are passed over."""
    events, upto = [], 0
    while (end := raw.find(b"\n\n", upto)) >= 0:
        lines = raw[upto:end].decode().split("\n")
        upto = end + 2
        fields = dict(line.split(": ", 1) for line in lines if line and not line.startswith(":"))
        if fields:
            events.append(SentEvent(fields["event"], json.loads(fields["data"]), fields["id"], upto))
    return events


def texts_of(events, into=None):
    """Put the pieces where they belong, as {part: text}; a piece that doesn't join on fails."""
    parts = dict(into or {})
    for event in events:
        if event.name in ("delta", "reasoning", "tool"):
            piece = event.data
            held = parts.get(piece["part"], "")
            assert piece["offset"] == len(held), (piece, held)
            parts[piece["part"]] = held + piece["text"]
    return parts


async def read_stream(response, *, until=None):
    """Read a streaming response to its end, or until an event fits."""
    raw = b""
    async for chunk in response.streaming_content:
        raw += chunk
        if until is not None and any(until(event) for event in read_events(raw)):
            break
    return raw
