"""Cover what CommonMark must not read as markup: formulas, bare addresses and raw HTML.

A mask has as many code points as what it covers, so every position in the masked text is one in the text.
Parsing and HTML are in commonmark.py.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from string import ascii_letters, digits

# Marks of our own; scrub() takes them out of every text first, so none can be forged.
START, FILL, ANGLE = "\x01", "\x02", "\x03"
MASK = re.compile(f"{START}([A-Za-z0-9]{{2}}){FILL}*")
_FORBIDDEN = re.compile("[\x00-\x03\ud800-\udfff]")
_DIGITS = ascii_letters + digits
MOST_SPANS = len(_DIGITS) ** 2

# Raw HTML is off: `<` that could open a tag is covered, except in <https://…>, <name@host> and [text](<address>).
_RAW_HTML = re.compile(
    r"(?<!\]\()<(?=[A-Za-z/!?])(?!(?:[A-Za-z][A-Za-z0-9+.-]{1,31}:[^\s<>]*+|[\w.+-]{1,64}@[\w.-]{1,255})>)"
)
_BLANK_LINE = re.compile(r"\n[ \t>]*\r?(?=\n)")
_TOKEN = re.compile(
    r"""
      \$\$ (?P<dollars>  (?: [^$\\\n]++ | \\[^\n] | \\(?=\n) | \$(?!\$)   | \n(?![ \t>]*\r?\n) )++ ) \$\$
    | \\\[ (?P<brackets> (?: [^\\\n]++  | \\[^\[\]\n] | \\(?=\n)          | \n(?![ \t>]*\r?\n) )++ ) \\\]
    | \\\( (?P<round>    (?: [^\\\n]++  | \\[^()\n] )++ ) \\\)
    | (?<![\w$\\]) \$ (?![\s$]) (?P<dollar> (?: [^$\\\n]++ | \\[^\n] )++ ) (?<!\s) \$ (?![\w$])
    | (?P<open> \$\$ | \\\[ )
    | (?P<address> (?<![\w/.-]) https?:// [^\s<>"`|\\^{}\[\]\x00-\x1f\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef]++ )
    | \]\( [ ]*+ <?+ [^()\s<>]*+
    | < [^<>\s]++ >
    | ^[ ]{0,3} \[ [^\]\n]++ \]: [ \t]*+ \S*+
    | \\.
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_DISPLAY = frozenset({"dollars", "brackets"})
_QUOTED_LINES = re.compile(r"\n[ \t]*>[ \t]?")


@dataclass(frozen=True, slots=True)
class Span:
    """What one mask covers: kind is "formula", "display", "address" or "open" (a formula still being written)."""

    kind: str
    source: str
    inner: str


@dataclass(slots=True)
class Masked:
    """A text under its masks.

    held: from here to the end the text may still become part of one formula; len(text) where nothing may.
    """

    text: str
    held: int
    spans: dict[str, Span] = field(default_factory=dict)

    def source(self, masked: str) -> str:
        """Give back the source of any piece of the masked text."""
        if START in masked:
            masked = MASK.sub(lambda match: self.spans[match[1]].source, masked)
        return masked.replace(ANGLE, "<")


def scrub(text: str) -> str:
    """Replace NUL, lone surrogates and our own marks by U+FFFD, one for one."""
    try:
        text.isascii() or text.encode()  # a lone surrogate has no encoding; this is cheaper than looking for one
    except UnicodeEncodeError:
        return _FORBIDDEN.sub("\ufffd", text)
    if "\x00" in text or START in text or FILL in text or ANGLE in text:
        return _FORBIDDEN.sub("\ufffd", text)
    return text


def cover_html(text: str) -> str:
    """Cover each `<` that CommonMark could read as the start of raw HTML."""
    return _RAW_HTML.sub(ANGLE, text) if "<" in text else text


def may_hold_spans(text: str) -> bool:
    """Tell, for next to nothing, whether cover_spans could find anything."""
    return "$" in text or "://" in text or "\\(" in text or "\\[" in text


def cover_spans(text: str, *, code: Iterable[tuple[int, int]], cover_open: bool) -> Masked:
    """Cover formulas and bare addresses outside code.

    code: ranges in order. cover_open also covers a display formula that is not closed yet, up to the end.
    """
    masked = Masked(text, len(text))
    pieces: list[str] = []
    done = 0
    opened: list[int] = []
    for start, end in _outside(code, len(text)):
        for match in _TOKEN.finditer(text, start, end):
            kind = match.lastgroup
            if kind is None or len(masked.spans) >= MOST_SPANS:
                continue
            if kind == "open":
                opened.append(match.start())
                continue
            at, to = match.span()
            if kind == "address":
                to = at + len(_trimmed(match[0]))
            pieces += text[done:at], _add(masked, kind, text[at:to], match[kind])
            done = to
    masked.held = _first_open(text, opened)
    if cover_open and masked.held < len(text) and masked.held >= done and len(text) - masked.held > 2:
        pieces += text[done : masked.held], _add(masked, "open", text[masked.held :], "")
        done = len(text)
    if pieces:
        masked.text = "".join(pieces) + text[done:]
    return masked


def _outside(code: Iterable[tuple[int, int]], length: int) -> Iterable[tuple[int, int]]:
    done = 0
    for start, end in code:
        yield done, start
        done = max(done, end)
    yield done, length


def _add(masked: Masked, kind: str, source: str, inner: str) -> str:
    number = len(masked.spans)
    name = _DIGITS[number // len(_DIGITS)] + _DIGITS[number % len(_DIGITS)]
    if kind not in ("address", "open"):
        kind = "display" if kind in _DISPLAY else "formula"
    masked.spans[name] = Span(kind, source.replace(ANGLE, "<"), _unquoted(inner).replace(ANGLE, "<"))
    return START + name + FILL * (len(source) - 3)


def _unquoted(tex: str) -> str:
    """Drop the `>` that each line of a formula in a block quote begins with."""
    lines = tex.count("\n")
    return _QUOTED_LINES.sub("\n", tex) if lines and len(_QUOTED_LINES.findall(tex)) == lines else tex


def _trimmed(address: str) -> str:
    """Leave out the punctuation of the sentence around an address, as GitHub does."""
    while True:
        shorter = address.rstrip("?!.,:;*_~'\"")
        if shorter.endswith(")") and shorter.count(")") > shorter.count("("):
            shorter = shorter[:-1]
        if shorter == address:
            return address
        address = shorter


def _first_open(text: str, opened: list[int]) -> int:
    """Find the first formula that is open and that no blank line has ended."""
    if not opened:
        return len(text)
    last_blank = max((match.start() for match in _BLANK_LINE.finditer(text)), default=-1)
    index = bisect_right(opened, last_blank)
    return opened[index] if index < len(opened) else len(text)
