"""Cover what CommonMark must not read as markup: formulas, bare addresses and raw HTML.

A mask has as many code points as what it covers, so every position in the masked text is one in the text.
Parsing and HTML are in commonmark.py.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from string import ascii_letters, digits

# Marks of our own; scrub() takes them out of every text first, so none can be forged.
START, FILL, ANGLE = "\x01", "\x02", "\x03"
MASK = re.compile(f"{START}([A-Za-z0-9]{{2}}){FILL}*")
_FORBIDDEN = re.compile("[\x00-\x03\ud800-\udfff]")
_DIGITS = ascii_letters + digits
_LONE_RETURN = re.compile(r"\r(?!\n)")
MOST_SPANS = len(_DIGITS) ** 2

# Raw HTML is off: `<` that could open a tag is covered, except in <https://…>, <name@host> and [text](<address>).
_RAW_HTML = re.compile(
    r"(?<!\]\()<(?=[A-Za-z/!?])(?!(?:[A-Za-z][A-Za-z0-9+.-]{1,31}:[^\s<>]*+|[\w.+-]{1,64}@[\w.-]{1,255})>)"
)
_BARRIER = re.compile(r"\n[ \t>]*(?:\r?(?=\n)|```|~~~)")
# A formula over several lines begins its line, holds no blank line (TeX forbids one) and no fence. So whatever
# looks like a list, a heading or a quote inside it can be told from one without knowing what stands around it.
_LINE = r"^(?:[ \t>]|[-*+][ \t]|\d{1,9}[.)][ \t])*+"
_NEXT_LINE = r"\n(?![ \t>]*(?:\r?\n|```|~~~))"
_DISPLAY = rf"""
      {_LINE} \$\$ (?P<dollars>  (?: [^$\\\n]++ | \\[^\n]     | \\(?=\n) | \$(?!\$) | {_NEXT_LINE} )++ ) \$\$
    | {_LINE} \\\[ (?P<brackets> (?: [^\\\n]++  | \\[^\[\]\n] | \\(?=\n)            | {_NEXT_LINE} )++ ) \\\]
"""
_DISPLAY_BLOCK = re.compile(_DISPLAY, re.VERBOSE | re.MULTILINE)
_TOKEN = re.compile(
    rf"""{_DISPLAY}
    | {_LINE} (?P<open> \$\$ | \\\[ )
    | \$\$ (?P<inner_dollars>  (?: [^$\\\n]++ | \\[^\n] | \$(?!\$) )++ ) \$\$
    | \\\[ (?P<inner_brackets> (?: [^\\\n]++  | \\[^\[\]\n] )++ ) \\\]
    | \\\( (?P<round>          (?: [^\\\n]++  | \\[^()\n] )++ ) \\\)
    | (?<![A-Za-z0-9_$\\]) \$ (?![\s$]) (?P<dollar> (?: [^$\\\n]++ | \\[^\n] )++ ) (?<!\s) \$ (?![A-Za-z0-9_$])
    | (?<![A-Za-z0-9_/.-]) (?P<address> https?:// [^\s<>"`|\\^{{}}\[\]\x00-\x1f\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef]++ )
    | \]\( [ ]*+ <?+ [^()\s<>]*+
    | < [^<>\s]++ >
    | ^[ ]{{0,3}} \[ [^\]\n]++ \]: [ \t]*+ \S*+
    | \\.
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_INLINE = frozenset({"round", "dollar"})
_DELIMITER = {"address": 0, "dollar": 1}  # length of what stands before the named group, if not 2
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
    """Replace NUL, lone surrogates and our own marks by U+FFFD, and a lone carriage return by a line feed.

    Shape: one code point for one; a text without any of them is returned as it is.
    """
    if "\r" in text:
        text = _LONE_RETURN.sub("\n", text)
    if not text.isascii():
        try:
            text.encode()
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


def hide_displays(text: str, *, shown: Sequence[tuple[int, int]] = ()) -> str:
    """Make one dull line of each formula over several lines, to see where code is.

    shown: ranges in order whose formulas stay as they are.
    """
    if "$$" not in text and "\\[" not in text:
        return text
    starts = [start for start, _ in shown]

    def fill(match: re.Match[str]) -> str:
        index = bisect_right(starts, match.end()) - 1
        at = match.start(match.lastgroup or 0) - 2
        if index >= 0 and starts[index] <= at < shown[index][1]:
            return match[0]
        return text[match.start() : at] + FILL * (match.end() - at)

    return _DISPLAY_BLOCK.sub(fill, text)


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
                opened.append(match.start(kind))
                continue
            at, to = match.start(kind) - _DELIMITER.get(kind, 2), match.end()
            if kind == "address":
                to = at + len(_trimmed(match[kind]))
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
        kind = "formula" if kind in _INLINE else "display"
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
    """Find the first formula that is open and that nothing has ended yet."""
    if not opened:
        return len(text)
    last = max((match.start() for match in _BARRIER.finditer(text)), default=-1)
    index = bisect_right(opened, last)
    return opened[index] if index < len(opened) else len(text)
