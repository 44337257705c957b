"""The open block of a growing answer as HTML, at the cost of what is new in it.

A tail is only ever shown until its block settles, so it may guess: it closes what is not closed yet, and leaves out
a last line that could still become anything. What is settled, and when, is decided in rendering.py.
"""

import re
from html import escape

from apps.core import markdown
from apps.core.markdown import Outline

# A longer tail that is neither code nor list nor table is shown as plain paragraphs until it settles.
LONGEST = 20_000
_LONGEST_CLOSED = 4_000

_FENCE = re.compile(r"(`{3,}|~{3,})[^\n]*\n")
_FENCE_LINE = re.compile(r"^[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*+(?:```|~~~)", re.MULTILINE)
_CLOSING_LINE = re.compile(r"[ \t>]*(?:`*|~*)")
_UNDECIDED_LINE = re.compile(r"(?:\A|\n)(?:[-=*_+#~`|:> \t]+|[ \t>]*\d{1,9}[.)]?[ \t]*|[ \t>]*(?:`{3,}|~{3,})[^\n]*)\Z")
_TABLE_HEAD = re.compile(r"(?:\A|\n)[ \t]*\|[^\n]*(?:\n[-|: \t]*)?\Z")
_OPEN_LINK = re.compile(r"!?\[([^\[\]\n]*)\](?:\([^()\s]*)?\Z")
_INLINE_START = re.compile(r"\n[ \t>]*(?:\n|(?:[-*+]|\d{1,9}[.)])[ \t]|#{1,6}[ \t])")
_MARKS = re.compile(r"\\.|(`+)(?:(?!`).*?(?<!`)\1(?!`))?|(\*+|_+|~~)", re.DOTALL)


class Tail:
    """Draw a tail afresh each time; the tails of long blocks below remember what does not change."""

    def __init__(self) -> None:
        self.html = ""

    def goes_on(self, source: str) -> bool:
        """Tell whether the source is still this one block, so that there is nothing to settle."""
        return False

    def draw(self, source: str) -> None:
        """Bring html up to the source."""
        if len(source) > LONGEST:
            self.html = str(markdown.render_plain(source))
        else:
            self.html = markdown.render_block(tidy(source), closed=False)


def begin(source: str, kind: str, outline: Outline) -> Tail:
    """Choose how to draw a source that is one open block."""
    try:
        if kind == "CodeBlock" and (fence := _FENCE.match(source)):
            return _FenceTail(fence)
        if kind == "List" and outline.items:
            return _ListTail(source, outline)
        if kind == "Table":
            return _TableTail(source)
    except ValueError:
        pass  # not of the shape it promised: drawing it whole is always right
    return Tail()


def is_closed_fence(source: str) -> bool:
    """Tell whether a code block that ends here ends with its closing fence."""
    opened = re.match(r" {0,3}(`{3,}|~{3,})", source)
    if opened is None or "\n" not in source:
        return False
    last = source[source.rfind("\n") + 1 :].strip(" \t\r")
    return len(last) >= len(opened[1]) and set(last) == {opened[1][0]}


class _FenceTail(Tail):
    """An open code block: what was shown stays, what is new is escaped and added."""

    def __init__(self, opened: re.Match[str]) -> None:
        super().__init__()
        mark = opened[1]
        self._close = re.compile(rf"\n {{0,3}}{re.escape(mark)}{mark[0]}*[ \t]*\r?(?:\n|\Z)")
        self._closing = re.compile(rf"\n {{0,3}}{mark[0]}*\Z")
        empty = markdown.render_block(f"{opened[0]}\n{mark}", closed=False)
        cut = empty.index("</code>")
        self._head, self._foot = empty[:cut].rstrip("\n"), "\n" + empty[cut:]
        self._done = opened.end()
        self._body = ""

    def goes_on(self, source: str) -> bool:
        return self._close.search(source, max(0, self._done - 100)) is None

    def draw(self, source: str) -> None:
        closing = self._closing.search(source, max(0, len(source) - 100))
        end = max(self._done, closing.start() if closing else len(source))
        self._body += escape(source[self._done : end], quote=False)
        self._done = end
        self.html = f"{self._head}{self._body}{self._foot}"


class _ListTail(Tail):
    """An open list: finished items are rendered once, the last one each time.

    An item stands alone as a list of one item, except that one blank line anywhere makes paragraphs of all items.
    """

    def __init__(self, source: str, outline: Outline) -> None:
        super().__init__()
        self._starts = list(outline.items)
        self._loose = outline.loose
        first = _item(source[: self._end(0, source)], beside="", closed=False)
        self._head, self._foot = first[0], first[2]
        self._done, self._shown = 0, ""

    def _end(self, index: int, source: str) -> int:
        return self._starts[index + 1] if index + 1 < len(self._starts) else len(source)

    def goes_on(self, source: str) -> bool:
        last = self._starts[-1]
        outline = markdown.outline(source[last:])
        if len(outline.blocks) != 1 or not outline.items or outline.held != len(source) - last:
            return False
        self._starts += [last + start for start in outline.items[1:]]
        if outline.loose and not self._loose:
            self._loose = True
            self._done, self._shown = 0, ""
        return True

    def draw(self, source: str) -> None:
        try:
            while self._done < len(self._starts) - 1:
                item = source[self._starts[self._done] : self._end(self._done, source)]
                self._shown += _item(item, beside=item if self._loose else "", closed=True)[1]
                self._done += 1
            if len(source) - self._starts[-1] > LONGEST:
                raise ValueError
            item = source[self._starts[-1] :]
            tidied = tidy(item)
            shown = _item(tidied, beside=item if self._loose else "", closed=False)[1] if tidied else ""
            self.html = f"{self._head}{self._shown}{shown}{self._foot}"
        except ValueError:
            super().draw(source)


def _item(source: str, *, beside: str, closed: bool) -> tuple[str, str, str]:
    """Render a list of one item: what stands before the item, the item, what stands after it.

    beside: an item of a loose list; an empty one like it, after a blank line, makes this one loose too.
    """
    if beside:
        source = f"{source.rstrip()}\n\n{beside.split(maxsplit=1)[0]}"
    html = markdown.render_block(source, closed=closed)
    start, end = html.index("<li>"), html.rindex("</li>") + len("</li>")
    return html[:start], html[start : html.rindex("<li>") if beside else end], html[end:]


class _TableTail(Tail):
    """An open table: finished rows are rendered once, the last one each time."""

    def __init__(self, source: str) -> None:
        super().__init__()
        lines = source.split("\n", 2)
        self._columns = f"{lines[0]}\n{lines[1]}\n"
        self._done = len(self._columns)
        self._rows = ""
        empty = markdown.render_block(self._columns)
        cut = empty.index("<tbody>") + len("<tbody>\n")
        self._head, self._foot = empty[:cut], empty[cut:]

    def goes_on(self, source: str) -> bool:
        outline = markdown.outline(self._columns + source[self._done :])
        return len(outline.blocks) == 1 and outline.held == len(self._columns) + len(source) - self._done

    def draw(self, source: str) -> None:
        end = source.rfind("\n") + 1
        if end > self._done:
            self._rows += self._rendered(source[self._done : end])
            self._done = end
        last = source[self._done :]
        shown = self._rendered(tidy(last, cells=True)) if last.strip(" \t|") else ""
        self.html = f"{self._head}{self._rows}{shown}{self._foot}"

    def _rendered(self, rows: str) -> str:
        html = markdown.render_block(self._columns + rows)
        return html[html.index("<tbody>") + len("<tbody>\n") : html.rindex("</tbody>")]


def tidy(source: str, *, cells: bool = False) -> str:
    """Make a source that stops anywhere fit to be shown: no half-written markup at its end.

    cells: the source is a row of a table.
    """
    if not cells:
        last = source.rfind("\n") + 1
        if len(_FENCE_LINE.findall(source, 0, last)) % 2:
            return source[:last] if _CLOSING_LINE.fullmatch(source, last) else source
        for undecided in (_UNDECIDED_LINE, _TABLE_HEAD):
            cut = undecided.search(source, max(0, len(source) - 1_000))
            if cut:
                source = source[: cut.start()]
    link = _OPEN_LINK.search(source, max(0, len(source) - 3_000))
    if link and (link[0].endswith("]") is False or link[0][0] == "!"):
        source = source[: link.start()] + ("" if link[0][0] == "!" else link[1])
    start = source.rfind("|") + 1 if cells else _inline_start(source)
    if len(source) - start > _LONGEST_CLOSED:
        return source
    return _closed(source, start)


def _inline_start(source: str) -> int:
    """Find where the last run of inline markup begins: nothing opened before it can close after it."""
    start = 0
    for match in _INLINE_START.finditer(source, max(0, len(source) - 2 * _LONGEST_CLOSED)):
        start = match.end()
    return start or max(0, len(source) - 2 * _LONGEST_CLOSED)


def _closed(source: str, start: int) -> str:
    """Close emphasis and code that are open at the end."""
    opened: list[str] = []
    for match in _MARKS.finditer(source, start):
        code, mark = match[1], match[2]
        if code is not None and match.end() == match.end(1):
            return source + code if match.end() < len(source) else source[: match.start()].rstrip()
        if mark is None:
            continue
        before, after = source[match.start() - 1 : match.start()], source[match.end() : match.end() + 1]
        if opened and opened[-1][0] == mark[0] and not before.isspace():
            if len(mark) >= len(opened[-1]) or after:
                opened.pop()
            else:
                source = source[: match.start()]  # half of a closing mark: the whole is added below
        elif not after:
            source = source[: match.start()]
        elif not after.isspace() and not (before.isalnum() and mark in ("*", "_", "__")):
            opened.append(mark)
    return source.rstrip() + "".join(reversed(opened)) if opened else source
