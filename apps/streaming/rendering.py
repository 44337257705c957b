"""Growing Markdown as settled blocks and an open tail.

A block is settled once nothing that follows can change it; it is rendered once and never touched again. How the
open block is drawn cheaply is in tails.py; Markdown itself is rendered in apps/core/markdown.py.
"""

import re
from itertools import pairwise

from apps.core import markdown
from apps.core.markdown import Block, Outline
from apps.core.masking import scrub
from apps.streaming import tails

# A line that begins like this may still become the next item of the list before it.
_MAY_CONTINUE = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)]?)?[ \t]*")
_LINE_START = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?")
_BLANK_LINE = re.compile(r"\n[ \t]*\r?\n")
_ENDS_ITSELF = frozenset({"Heading", "Rule"})


class StreamRenderer:
    """Render one answer while it grows; each frame costs what its open block costs, not the answer.

    Not safe for threads: one room owns it.
    """

    def __init__(self) -> None:
        self.settled: list[str] = []
        self._ranges: list[Block] = []
        self._source: list[str] = []  # all text, as it was fed
        self._fed: list[str] = []  # text that no frame has shown
        self._open = ""  # from the first block that is not settled
        self._open_at = 0
        self._unsure = True  # whether a block may have ended since the last look
        self._tail = tails.Tail()
        self._taken = 0

    def feed(self, text: str) -> None:
        """Take in the text that was added."""
        if text:
            self._source.append(text)
            self._fed.append(text)

    def frame(self) -> tuple[list[str], str]:
        """Give the blocks settled since the last frame, and the HTML of the open tail.

        Never raises for any text.
        """
        added = "".join(self._fed)
        self._fed.clear()
        if added.endswith("\r"):
            self._fed.append("\r")  # alone it ends a line, with what comes next it may be half of a line's end
            added = added[:-1]
        if added:
            self._take_in(scrub(added))
        return self._newly_settled(), self._tail.html

    def finish(self) -> tuple[list[str], str, bool]:
        """Settle everything; give the last blocks, the whole rendering, and whether it differs from all blocks.

        The whole is rendered again only where the blocks of the whole text are not those that were settled, or
        where link definitions reach across blocks: else the blocks together are the whole.
        """
        text = "".join(self._source)
        self._open += scrub("".join(self._fed))
        self._fed.clear()
        for block in markdown.split_blocks(self._open):
            self._settle(block)
        self._open = ""
        self._tail = tails.Tail()
        html = "".join(self.settled)
        if self._ranges != markdown.split_blocks(text) or markdown.defines_links(text):
            whole = str(markdown.render(text))
            return self._newly_settled(), whole, whole != html
        return self._newly_settled(), html, False

    def _newly_settled(self) -> list[str]:
        new = self.settled[self._taken :]
        self._taken = len(self.settled)
        return new

    def _take_in(self, added: str) -> None:
        self._open += added
        if "\n" in added:
            self._unsure = True
        if self._unsure and not self._tail.goes_on(self._open):
            self._look()
        else:
            self._unsure = self._unsure and self._line_may_continue()
        self._tail.draw(self._open)

    def _look(self) -> None:
        """Settle what is complete, and begin a new tail with the rest."""
        text = _certain(self._open)
        outline = markdown.outline(text)
        complete = _complete(text, outline)
        for block in outline.blocks[:complete]:
            self._settle(block)
        left = outline.blocks[complete:]
        if complete:
            cut = left[0].start if left else outline.blocks[-1].end
            self._open, self._open_at = self._open[cut:], self._open_at + cut
            outline.items = [start - cut for start in outline.items]
        known = len(left) == 1 and outline.held == len(text)
        self._tail = tails.begin(self._open, left[0].kind, outline) if known else tails.Tail()
        self._unsure = len(left) > 1 or self._line_may_continue()

    def _line_may_continue(self) -> bool:
        return _MAY_CONTINUE.fullmatch(self._open, self._open.rfind("\n") + 1) is not None

    def _settle(self, block: Block) -> None:
        self.settled.append(markdown.render_block(self._open[block.start : block.end]))
        self._ranges.append(Block(self._open_at + block.start, self._open_at + block.end, block.kind))


def _certain(text: str) -> str:
    """Give the text without what its last line may still become.

    A half-written line counts by its indentation and its list marker alone: the rest may yet close a code span or
    a formula that began lines above.
    """
    at = text.rfind("\n") + 1
    if at == len(text) or _MAY_CONTINUE.fullmatch(text, at):
        return text[:at]
    start = _LINE_START.match(text, at)
    return f"{text[: start.end() if start else at]}x"


def _complete(text: str, outline: Outline) -> int:
    """Count the blocks from the front that no later text can change."""
    blocks = outline.blocks
    for index, (block, following) in enumerate(pairwise(blocks)):
        if outline.held < following.start or not _is_apart(text, block, following):
            return index
    if not blocks or outline.held < blocks[-1].end or not _ends_itself(text, blocks[-1]):
        return max(0, len(blocks) - 1)
    return len(blocks)


def _is_apart(text: str, block: Block, following: Block) -> bool:
    """Tell whether the start of the following block is certain: its first line is, or a blank line parts the two."""
    if text.find("\n", following.start) >= 0 or _ends_itself(text, block):
        return True
    return _BLANK_LINE.search(text, block.end, following.start) is not None


def _ends_itself(text: str, block: Block) -> bool:
    """Tell whether a block is over with its own last line, and that line with its end."""
    rest = text.find("\n", block.end)
    if rest < 0 or text[block.end : rest].strip(" \t\r"):
        return False
    return block.kind in _ENDS_ITSELF or (
        block.kind == "CodeBlock" and tails.is_closed_fence(text[block.start : block.end])
    )
