"""CommonMark with tables, task lists and strikethrough: where its blocks are, and their HTML.

All text in that HTML is escaped, but only markdown.py may call it safe, after the sanitiser. ADR 0005 says why
the parser is pulldown-cmark (through pyromark) and why events are written out here.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

from pyromark import Markdown, Options

from apps.core import highlighting, masking, mathematics

# What is nested deeper than this is written without its tags: the sanitiser's time grows with the square of the
# depth, and 100,000 nested quotes are one line of text.
DEEPEST = 40
# The parser fills up short rows: 15 kB of table can stand for two million cells.
MOST_PIECES = 100_000

_OPTIONS = Options.ENABLE_TABLES | Options.ENABLE_TASKLISTS | Options.ENABLE_STRIKETHROUGH
_PARSER = Markdown(options=_OPTIONS)
_BREAK = re.compile(f"{masking.ANGLE}br ?/?>", re.IGNORECASE)
_PIECES = re.compile(f"({masking.START}[A-Za-z0-9]{{2}}{masking.FILL}*|{masking.ANGLE}br ?/?>)", re.IGNORECASE)
_WEB = re.compile(r"https?://([^/?#\s@]+@)?([^/?#\s@]+)", re.IGNORECASE)
_ALLOWED_ADDRESS = re.compile(r"(?:https?://|mailto:)[^\s]", re.IGNORECASE)

Definitions = Mapping[str, tuple[str, str]]


class Block(NamedTuple):
    """One top-level block: start and end in code points, and what it is ("Paragraph", "List", "CodeBlock" …)."""

    start: int
    end: int
    kind: str = "Paragraph"


@dataclass(slots=True)
class Outline:
    """The top level of a text.

    Shape: blocks in order, without overlap. held: from here on, what follows may still become one formula.
    items: where the direct items of the last block begin, if it is a list. loose: that list has paragraphs.
    """

    blocks: list[Block]
    held: int
    items: list[int]
    loose: bool


def outline(text: str) -> Outline:
    """Find the top-level blocks of a text that masking.scrub has seen."""
    hidden, held = _hide(masking.cover_html(text))
    found: list[tuple[int, int, str]] = []
    items: list[int] = []
    loose = False
    depth = 0
    for event, span in _PARSER.events_with_range(hidden, merge_text=True):
        if type(event) is str:
            if depth == 0:
                found.append((span["start"], span["end"], event))
        elif "Start" in event:
            tag = event["Start"]
            if depth == 0:
                found.append((span["start"], span["end"], tag if type(tag) is str else next(iter(tag))))
                items, loose = [], False
            elif depth == 1 and tag == "Item":
                items.append(span["start"])
            elif depth == 2 and tag == "Paragraph":
                loose = True
            depth += 1
        elif "End" in event:
            depth -= 1
    to_point = _points(hidden)
    blocks = [_block(text, to_point(start), to_point(end), kind) for start, end, kind in found]
    return Outline(blocks, held, [to_point(start) for start in items], loose)


def definitions_of(text: str) -> Definitions:
    """Collect the link reference definitions of a text, by folded label; the first of a label wins."""
    found: dict[str, tuple[str, str]] = {}
    for label, link in _PARSER.reference_definitions(masking.cover_html(text)).items():
        found.setdefault(_folded(label), (link["dest"], link["title"] or ""))
    return found


def write_html(text: str, *, definitions: Definitions | None = None, closed: bool = True) -> str:
    """Write a text that masking.scrub has seen as HTML, all of its text escaped.

    closed=False is for a block that still grows: code stays plain, a formula that is not closed shows its source.
    Raises: TooManyElements beyond MOST_PIECES tags and texts.
    """
    masked = _mask(text, cover_open=not closed)
    return _Writer(masked, closed=closed).write(_events(masked.text, definitions))


def _events(text: str, definitions: Definitions | None) -> Iterable[Any]:
    parser = _PARSER
    if definitions and "[" in text:

        def resolve(link: Any) -> tuple[str, str] | None:
            return definitions.get(_folded(link["reference"]))

        parser = Markdown(options=_OPTIONS, broken_link_callback=resolve)
    events: Iterable[Any] = parser.events(text)
    return events


def _folded(label: str) -> str:
    return " ".join(label.split()).casefold()


def _mask(text: str, *, cover_open: bool) -> masking.Masked:
    text = masking.cover_html(text)
    if not masking.may_hold_spans(text):
        return masking.Masked(text)
    return masking.cover_spans(text, code=_code_ranges(text), cover_open=cover_open)


def _hide(text: str) -> tuple[str, int]:
    """Hide formulas that look like blocks; give also the place of the first one that is still open."""
    if not masking.may_hold_displays(text):
        return text, len(text)
    code = _code_ranges(text)
    return masking.hide_displays(text, shown=code), masking.first_open(text, code=code)


def _code_ranges(text: str) -> list[tuple[int, int]]:
    if not ("`" in text or "~~~" in text or "    " in text or "\t" in text):
        return []
    hidden = masking.hide_displays(text)
    ranges, indented = _code_in(hidden)
    if any(masking.FILL in hidden[start:end] for start, end in indented):
        # Of a formula that begins in indented code, the first line is code: only the whole shows where that ends.
        ranges, _ = _code_in(masking.hide_displays(text, shown=indented))
    return ranges


def _code_in(text: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Find all code, and the indented blocks among it."""
    to_point = _points(text)
    code: list[tuple[int, int]] = []
    indented: list[tuple[int, int]] = []
    for event, span in _PARSER.events_with_range(text, merge_text=True):
        if type(event) is str or not ("Code" in event or ("Start" in event and "CodeBlock" in event["Start"])):
            continue
        code.append((to_point(span["start"]), to_point(span["end"])))
        if "Start" in event and event["Start"]["CodeBlock"] == "Indented":
            indented.append(code[-1])
    return code, indented


def _points(text: str) -> Callable[[int], int]:
    """Give a function from byte offsets to code points; quickest when asked in rising order."""
    if text.isascii():
        return lambda offset: offset
    data = text.encode()
    byte = point = 0

    def to_point(offset: int) -> int:
        nonlocal byte, point
        if offset < byte:
            byte = point = 0
        point += len(data[byte:offset].decode())
        byte = offset
        return point

    return to_point


def _block(text: str, start: int, end: int, kind: str) -> Block:
    """Widen a block to the indentation of its first line, and take off the blank lines after it."""
    while start and text[start - 1] in " \t":
        start -= 1
    while end > start and text[end - 1] in " \t\r\n":
        end -= 1
    return Block(start, end, kind)


class TooManyElements(Exception):
    """A text stands for more HTML than it is worth."""


class _Writer:
    """Write parser events as HTML; one writer writes one text."""

    _TAGS = {
        "Paragraph": ("<p>", "</p>\n"),
        "Item": ("<li>", "</li>\n"),
        "BlockQuote": ("<blockquote>\n", "</blockquote>\n"),
        "Emphasis": ("<em>", "</em>"),
        "Strong": ("<strong>", "</strong>"),
        "Strikethrough": ("<del>", "</del>"),
        "TableHead": ("<thead><tr>", "</tr></thead>\n<tbody>\n"),
        "TableRow": ("<tr>", "</tr>\n"),
    }
    _ATOMS = {"SoftBreak": "\n", "HardBreak": "<br>\n", "Rule": "<hr>\n"}

    def __init__(self, masked: masking.Masked, *, closed: bool) -> None:
        self._masked = masked
        self._closed = closed
        self._out: list[str] = []
        self._ends: list[str] = []
        self._links = 0  # how many links enclose what is written now
        self._muted = 0  # how many elements of a replaced image enclose it
        self._code: list[str] | None = None
        self._language = ""
        self._aligned: tuple[str, ...] = ()
        self._column = 0
        self._cell = "td"

    def write(self, events: Iterable[Any]) -> str:
        """Write all events; nothing of an image that was replaced, and no tags below DEEPEST."""
        for event in events:
            if len(self._out) > MOST_PIECES:
                raise TooManyElements
            if type(event) is str:
                self._put(self._ATOMS.get(event, ""))
                continue
            for name, value in event.items():
                if name == "Text":
                    self._text(value)
                elif name == "Start":
                    self._start(value)
                elif name == "End":
                    self._end()
                elif name == "Code":
                    self._put(f"<code>{escape(self._masked.source(value), quote=False)}</code>")
                elif name == "TaskListMarker":
                    self._put(_TASK_DONE if value else _TASK_OPEN)
                else:
                    self._put(escape(self._masked.source(str(value)), quote=False))
        return "".join(self._out)

    def _put(self, html: str) -> None:
        if not self._muted:
            self._out.append(html)

    def _text(self, text: str) -> None:
        if self._code is not None:
            self._code.append(text)
        elif masking.START in text or masking.ANGLE in text:
            for piece in _PIECES.split(text):
                self._put(self._piece(piece))
        else:
            self._put(escape(text, quote=False))

    def _piece(self, piece: str) -> str:
        if piece[:1] == masking.START:
            return self._span(self._masked.spans[piece[1:3]])
        if _BREAK.fullmatch(piece):
            return "<br>"
        return escape(piece.replace(masking.ANGLE, "<"), quote=False)

    def _span(self, span: masking.Span) -> str:
        source = escape(span.source, quote=False)
        if span.kind == "address":
            return source if self._links else f'<a href="{escape(span.source)}">{source}</a>'
        if span.kind == "open":
            return f'<code class="math-open">{source}</code>'
        mathml = mathematics.to_mathml(span.inner, display=span.kind == "display")
        return mathml if mathml is not None else f'<code class="math-error">{source}</code>'

    def _start(self, tag: Any) -> None:
        if len(self._ends) >= DEEPEST:
            self._ends.append("")
            return
        if type(tag) is str:
            start, end = self._plain_tag(tag)
        else:
            for name, value in tag.items():
                start, end = self._tag(name, value)
        self._put(start)
        self._ends.append(end)
        if self._muted or end is _UNMUTE:
            self._muted += 1

    def _end(self) -> None:
        end = self._ends.pop()
        if self._muted:
            self._muted -= 1
        if self._code is not None:
            self._put(self._code_block())
        elif end is _END_LINK:
            self._links -= 1
        if end is not _UNMUTE:
            self._put(end)

    def _plain_tag(self, tag: str) -> tuple[str, str]:
        if tag == "TableCell":
            return self._table_cell()
        if tag in ("TableHead", "TableRow"):
            self._column = 0
            self._cell = "th" if tag == "TableHead" else "td"
        return self._TAGS.get(tag, ("", ""))

    def _tag(self, name: str, value: Any) -> tuple[str, str]:
        if name == "List":
            if value is None:
                return "<ul>\n", "</ul>\n"
            return ("<ol>\n" if value == 1 else f'<ol start="{int(value)}">\n'), "</ol>\n"
        if name == "Heading":
            level = min(6, int(value["level"][1:]) + 2)  # h1 and h2 belong to the page and to its messages
            return f"<h{level}>", f"</h{level}>\n"
        if name == "CodeBlock":
            self._code = []
            info = value["Fenced"] if type(value) is dict else ""
            self._language = highlighting.language_of(self._masked.source(info))
            return "", ""
        if name == "Link":
            return self._link(value)
        if name == "Image":
            return self._image(value)
        if name == "Table":
            self._aligned = value
            return _TABLE_START, "</tbody></table></div>\n"
        return self._TAGS.get(name, ("", ""))

    def _table_cell(self) -> tuple[str, str]:
        side = self._aligned[self._column] if self._column < len(self._aligned) else "None"
        self._column += 1
        css = f' class="{side.lower()}"' if side in ("Right", "Center") else ""
        return f"<{self._cell}{css}>", f"</{self._cell}>"

    def _link(self, link: Any) -> tuple[str, str]:
        address = self._masked.source(link["dest_url"])
        if link["link_type"] == "Email":
            address = f"mailto:{address}"
        if self._links or not _ALLOWED_ADDRESS.match(address):
            return "", ""
        self._links += 1
        title = f' title="{escape(self._masked.source(link["title"]))}"' if link["title"] else ""
        return f'<a href="{escape(address)}"{title}>', _END_LINK

    def _image(self, image: Any) -> tuple[str, str]:
        """Replace a remote image by a link: no picture loads unless somebody asks for it."""
        address = self._masked.source(image["dest_url"])
        host = _WEB.match(address)
        if host is None:
            return "", ""
        said, shown = f"Image from {escape(host[2])}", escape(address)
        if self._links:
            return f'<span class="remote-image" title="{shown}">{said}</span>', _UNMUTE
        return f'<a class="remote-image" href="{shown}" title="{shown}">{said} · Show</a>', _UNMUTE

    def _code_block(self) -> str:
        code = self._masked.source("".join(self._code or ())).rstrip("\n") + "\n"
        self._code = None
        code = highlighting.highlight(code, language=self._language) if self._closed else escape(code, quote=False)
        return _CODE.format(language=escape(self._language or "text"), code=code)


_UNMUTE = "<!--image-->"  # compared by identity, never written
_END_LINK = "</a>"
_TASK_OPEN = '<input type="checkbox" disabled aria-label="To do"> '
_TASK_DONE = '<input type="checkbox" disabled checked aria-label="Done"> '
_TABLE_START = '<div class="table" tabindex="0" role="region" aria-label="Table"><table>'
_CODE = (
    '<div class="code"><div class="code-head"><span class="code-lang">{language}</span></div>'
    '<pre tabindex="0"><code>{code}</code></pre></div>\n'
)
