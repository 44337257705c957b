"""Doubles: a bus that fails on wish, a renderer that is easy to check, a page that applies frames as docs/frames.md says."""

import asyncio
import html
import json
from collections.abc import Callable

from apps.streaming.frames import encode
from apps.streaming.memory import MemoryBus
from apps.streaming.sockets import Socket

SOON = 5.0


class FrailBus(MemoryBus):
    """A memory bus that can be deaf (events get lost) or away (it says so, and gives no snapshots)."""

    deaf = False
    away = False

    @property
    def connected(self) -> bool:
        return not self.away

    def _spread(self, topic, event):
        if not self.deaf and not self.away:
            super()._spread(topic, event)

    async def snapshot(self, live):
        return None if self.away else await super().snapshot(live)


class Paragraphs:
    """Settle a paragraph once a blank line follows it; a whole rendering differs where a reference is defined."""

    def __init__(self) -> None:
        self.text = ""
        self.frames = 0
        self._settled = 0

    def feed(self, text: str) -> None:
        self.text += text

    def frame(self) -> tuple[list[str], str]:
        self.frames += 1
        *whole, tail = self.text.split("\n\n")
        return self._settle(whole), paragraph(tail)

    def finish(self) -> tuple[list[str], str, bool]:
        return self._settle(self.text.split("\n\n")), rendered(self.text), "[ref]:" in self.text

    def _settle(self, blocks: list[str]) -> list[str]:
        begin, self._settled = self._settled, len(blocks)
        return [paragraph(text) for text in blocks[begin:] if text]


def paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>" if text else ""


def rendered(text: str) -> str:
    """Render a whole text."""
    whole = "".join(map(paragraph, text.split("\n\n")))
    return f"<div>{whole}</div>" if "[ref]:" in text else whole


class Page:
    """Apply frames as a browser does, and acknowledge each unless told not to."""

    def __init__(self, *, acknowledges: bool = True) -> None:
        self.acknowledges = acknowledges
        self.frames: list[dict] = []
        self.characters = 0
        self.close_codes: list[int] = []
        self.messages: dict[int, str] = {}
        self.attempts: dict[str, int] = {}
        self.parts: dict[str, dict[int, dict]] = {}
        self.words: dict[str, str] = {}
        self.ends: dict[str, dict] = {}
        self.socket: Socket | None = None
        self.broken = False
        self._changed = asyncio.Event()

    async def send(self, frame: dict) -> None:
        if self.broken:
            raise ConnectionError("the other side is gone")
        text = encode(frame)
        self.characters += len(text)
        # Through JSON and back, so that nothing is shared with the hub.
        frame = json.loads(text)
        assert frame["n"] == len(self.frames) + 1
        self.frames.append(frame)
        getattr(self, f"_{frame['type']}", lambda frame: None)(frame)
        if self.acknowledges and self.socket is not None:
            self.socket.ack(frame["n"])
        self._changed.set()

    async def close(self, code: int) -> None:
        self.close_codes.append(code)
        self._changed.set()

    async def until(self, condition: Callable[["Page"], bool]) -> None:
        """Wait until what the page shows meets a condition."""
        async with asyncio.timeout(SOON):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    async def until_ended(self, message: str) -> dict:
        await self.until(lambda page: message in page.ends)
        return self.ends[message]

    def html(self, message: str) -> str:
        """Give what the page shows of a message, part behind part."""
        return "".join("".join(part["settled"]) + part["tail"] for _, part in sorted(self.parts[message].items()))

    def of_type(self, kind: str) -> list[dict]:
        return [frame for frame in self.frames if frame["type"] == kind]

    def _answer(self, frame: dict) -> None:
        message = self.messages.setdefault(frame["a"], frame.get("m", ""))
        assert message, "the first frame of an answer names its message"
        if "attempt" in frame and frame["attempt"] != self.attempts.get(message):
            self.attempts[message] = frame["attempt"]
            self.parts[message] = {}
        for piece in frame["parts"]:
            part = self.parts[message].setdefault(piece["i"], {"settled": [], "tail": "", "kind": piece.get("kind")})
            assert part["kind"], "the first frame of a part names its kind"
            assert piece["from"] <= len(part["settled"]), "blocks are missing"
            part["settled"][piece["from"] :] = piece.get("settled", [])
            tail = piece.get("tail", "")
            part["tail"] = tail if isinstance(tail, str) else part["tail"][: tail["keep"]] + tail["add"]
        if frame["parts"]:
            self.words.pop(message, None)

    def _status(self, frame: dict) -> None:
        self.words[self.messages[frame["a"]]] = frame["word"]
        if not frame["word"]:
            del self.words[self.messages[frame["a"]]]

    def _ended(self, frame: dict) -> None:
        self.ends[frame["m"]] = frame
        for body in frame["html"] or []:
            self.parts[frame["m"]][body["i"]].update(settled=[body["html"]], tail="")
