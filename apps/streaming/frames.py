"""Frames of the socket: their shapes and their JSON. docs/frames.md describes each for its readers.

What is sent when is decided in rooms.py and sockets.py; commands are HTTP and have no frames.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

VERSION = 1

BROKEN = 1011
RESTARTING = 1012
SLOW = 4408

Frame = dict[str, Any]
Tail = str | dict[str, Any]

# A patch of the tail carries about this much JSON of its own; below it the whole tail is as short.
PATCH_COST = 24


def hello() -> Frame:
    """Open a socket and name the version of all frames that follow."""
    return {"type": "hello", "v": VERSION}


def answer(a: int, parts: Sequence[Frame], *, message_id: str | None = None, attempt: int | None = None) -> Frame:
    """Carry what changed in an answer; message and attempt only where they are news."""
    frame: Frame = {"type": "answer", "a": a}
    if message_id is not None:
        frame["m"] = message_id
    if attempt is not None:
        frame["attempt"] = attempt
    frame["parts"] = parts
    return frame


def part(i: int, start: int, settled: Sequence[str], tail: Tail, *, kind: str | None = None) -> Frame:
    """Carry what changed in one part: blocks from number `start` on, and the open block behind them."""
    frame: Frame = {"i": i, "from": start}
    if kind is not None:
        frame["kind"] = kind
    if settled:
        frame["settled"] = settled
    if tail:
        frame["tail"] = tail
    return frame


def ended(a: int, message_id: str, status: str, html: Mapping[int, str], footer: str | None) -> Frame:
    """Close an answer; html holds, by part, the full renderings that differ from their blocks."""
    bodies = [{"i": i, "html": body} for i, body in html.items()]
    return {"type": "ended", "a": a, "m": message_id, "status": status, "footer": footer, "html": bodies or None}


def status(a: int, word: str, *, text: str = "", seconds: int | None = None) -> Frame:
    """Say what an answer without new text is doing; no word, nothing any more."""
    frame: Frame = {"type": "status", "a": a, "word": word}
    if text:
        frame["text"] = text
    if seconds is not None:
        frame["seconds"] = seconds
    return frame


def delayed(on: bool) -> Frame:
    """Say that live text comes slower for a while, or as always again."""
    return {"type": "delayed", "on": on}


def patch_tail(before: str, now: str) -> Tail:
    """Give a tail as {keep, add} against the one before it, or whole where that is no longer.

    Units: keep counts code points.
    """
    keep = common_prefix(before, now)
    if keep <= PATCH_COST:
        return now
    return {"keep": keep, "add": now[keep:]}


def common_prefix(one: str, other: str) -> int:
    """Count the code points that two texts begin with alike."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    # Halving compares slices at the speed of memory; a loop over characters would cost more than the rendering.
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def encode(frame: Mapping[str, Any]) -> str:
    """Write a frame as JSON that can always be sent as UTF-8."""
    text = json.dumps(frame, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair from a provider has no UTF-8; its escape is valid JSON.
        return json.dumps(frame, separators=(",", ":"))
    return text
