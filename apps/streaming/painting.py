"""One part of an answer as HTML, growing: what a renderer makes of it, kept for everybody who watches.

Markdown itself is rendered in rendering.py; who was sent what is kept in rooms.py.
"""

from typing import Protocol

from apps.streaming import frames


class Renderer(Protocol):
    """Turn growing text into settled blocks and an open tail."""

    def feed(self, text: str, /) -> None:
        """Take in the text that was added."""

    def frame(self) -> tuple[list[str], str]:
        """Give the blocks settled since the last frame, and the tail."""

    def finish(self) -> tuple[list[str], str, bool]:
        """Give the last blocks, the whole rendering, and whether the two differ."""


class View:
    """Hold one part as HTML: its settled blocks, its tail, and how often they changed."""

    __slots__ = ("_before", "_patch", "_renderer", "html", "kind", "settled", "tail", "version")

    def __init__(self, kind: str, renderer: Renderer) -> None:
        self.kind = kind
        self.settled: list[str] = []
        self.tail = ""
        self.version = 0
        self.html: str | None = None
        self._renderer: Renderer | None = renderer
        self._before = ""
        self._patch: frames.Tail | None = None

    def feed(self, text: str) -> None:
        """Take in the text that was added."""
        if self._renderer is not None:
            self._renderer.feed(text)

    def refresh(self) -> None:
        """Render what was fed since the last time."""
        if self._renderer is not None:
            self._set(*self._renderer.frame())

    def close(self) -> None:
        """Settle everything; no text comes after it."""
        if self._renderer is not None:
            settled, html, differs = self._renderer.finish()
            self._renderer = None
            self.html = html if differs else None
            self._set(settled, "")

    def tail_after(self, version: int) -> frames.Tail:
        """Give the tail to somebody who has seen a version of this part."""
        if version != self.version - 1:
            return self.tail
        if self._patch is None:
            self._patch = frames.patch_tail(self._before, self.tail)
        return self._patch

    def _set(self, settled: list[str], tail: str) -> None:
        if settled or tail != self.tail:
            self.settled += settled
            self._before, self.tail = self.tail, tail
            self._patch = None
            self.version += 1
