"""Server-Sent Events: how an answer's deltas and its end are written, and positions read. No queries, no waiting.

An event's id is the position after it, `<generation>:<attempt>:<part>:<offset>`, so that it says where to go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from json import JSONEncoder
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from apps.core.errors import Malformed
from apps.core.ids import parse_id
from apps.streaming.answers import Delta

COMMENT = b": \n\n"
EVENT_NAMES = {"text": "delta", "reasoning": "reasoning", "tool_call": "tool"}
MAX_PLACE = 2_147_483_647

# Made once: json.dumps makes an encoder for each call that isn't its default one.
_quote = JSONEncoder(ensure_ascii=False).encode
_encode = DjangoJSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Position:
    """A place in an answer: all before it is known to the reader. Offsets count code points.

    Shape: attempt None stands for whichever attempt is current.
    """

    live: str
    attempt: int | None = None
    part: int = 0
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.live}:{self.attempt or 1}:{self.part}:{self.offset}"

    def after(self, delta: Delta) -> Position:
        """Give the place behind a delta."""
        return Position(delta.live, delta.attempt, delta.part, delta.offset + len(delta.text))


def parse_position(text: str) -> Position:
    """Read an event's id.

    Raises: Malformed for anything of another shape. Numbers beyond any answer are clamped.
    """
    live, *numbers = text.strip().split(":")
    fits = len(numbers) == 3 and all(number.isascii() and number.isdigit() for number in numbers)
    if not fits:
        raise Malformed("Last-Event-ID is not the id of an event of this stream.")
    attempt, part, offset = (int(number) if len(number) < 10 else MAX_PLACE for number in numbers)
    return Position(str(parse_id(live)), attempt, part, offset)


def delta_event(delta: Delta) -> bytes:
    """Write a piece of text."""
    part, offset, text = delta.part, delta.offset, delta.text
    return (
        f"id: {delta.live}:{delta.attempt}:{part}:{offset + len(text)}\n"
        f"event: {EVENT_NAMES[delta.kind]}\n"
        f'data: {{"part":{part},"offset":{offset},"text":{_quote(text)}}}\n\n'
    ).encode("utf-8", "replace")


def named_event(name: str, position: Position, data: Mapping[str, Any]) -> bytes:
    """Write any other event: start, error, end."""
    return f"id: {position}\nevent: {name}\ndata: {_encode(data)}\n\n".encode("utf-8", "replace")


def cut_before(delta: Delta, part: int, offset: int) -> Delta | None:
    """Take away what lies before a place; None if nothing is left."""
    if (delta.part, delta.offset) >= (part, offset):
        return delta
    if delta.part < part or delta.offset + len(delta.text) <= offset:
        return None
    return Delta(delta.live, delta.attempt, part, delta.kind, offset, delta.text[offset - delta.offset :])
