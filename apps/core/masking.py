"""Cover what CommonMark must not read as markup: formulas, bare addresses and raw HTML.

A mask has as many code points as what it covers, so every position in the masked text is one in the text.
Parsing and HTML are in commonmark.py.
"""

import re
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
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
_DISPLAY = re.compile(
    rf"""
      {_LINE} \$\$ (?P<dollars>  (?: [^$\\\n]++ | \\[^\n]     | \\(?=\n) | \$(?!\$) | {_NEXT_LINE} )++ ) \$\$
    | {_LINE} \\\[ (?P<brackets> (?: [^\\\n]++  | \\[^\[\]\n] | \\(?=\n)            | {_NEXT_LINE} )++ ) \\\]
    """,
    re.VERBOSE | re.MULTILINE,
)
_OPENING = re.compile(rf"{_LINE}(\$\$|\\\[)", re.MULTILINE)
# Each alternative begins with a letter or sign of its own, which lets the engine leap from one to the next.
_TOKEN = re.compile(
    r"""
      \$\$ (?P<dollars>  (?: [^$\\\n]++ | \\[^\n] | \$(?!\$) )++ ) \$\$
    | \\\[ (?P<brackets> (?: [^\\\n]++  | \\[^\[\]\n] )++ ) \\\]
    | \\\( (?P<round>    (?: [^\\\n]++  | \\[^()\n] )++ ) \\\)
    | \$ (?<![A-Za-z0-9_$\\]\$) (?![\s$]) (?P<dollar> (?: [^$\\\n]++ | \\[^\n] )++ ) (?<!\s) \$ (?![A-Za-z0-9_$])
    | h (?<![A-Za-z0-9_/.-]h) ttps?:// (?P<address>
        [^\s<>"`|\\^{}\[\]\x00-\x1f\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef]++ )
    | \] (?: \( [ ]*+ <?+ [^()\s<>]*+ | : [ \t]*+ \S*+ )
    | < [^<>\s]++ >
    | \\.
    """,
    re.VERBOSE | re.DOTALL,
)
_INLINE = frozenset({"round", "dollar"})
_QUOTED_LINES = re.compile(r"\n[ \t]*>[ \t]?")


Ranges = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Span:
    """What one mask covers: kind is "formula", "display", "address" or "open" (a formula still being written)."""

    kind: str
    source: str
    inner: str


@dataclass(slots=True)
class Masked:
    """A text under its masks."""

    text: str
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


def may_hold_displays(text: str) -> bool:
    """Tell, for next to nothing, whether a formula may go over several lines."""
    return "$$" in text or "\\[" in text


def hide_displays(text: str, *, shown: Ranges = ()) -> str:
    """Make one dull line of each formula over several lines, so that nothing in it looks like a block.

    shown: ranges in order whose formulas stay as they are.
    """
    pieces: list[str] = []
    done = 0
    for match, at in _displays(text, shown):
        pieces += text[done:at], FILL * (match.end() - at)
        done = match.end()
    return "".join(pieces) + text[done:] if pieces else text


def first_open(text: str, *, code: Ranges) -> int:
    """Find the first formula outside code that may still be closed by what follows; len(text) if there is none."""
    closed = [(at, match.end()) for match, at in _displays(text, code)]
    last = max((match.start() for match in _BARRIER.finditer(text)), default=-1)
    for match in _OPENING.finditer(text, text.rfind("\n", 0, max(0, last)) + 1):
        at = match.start(1)
        if at > last and not _end_around(at, closed) and not _end_around(at, code):
            return at
    return len(text)


def cover_spans(text: str, *, code: Ranges, cover_open: bool) -> Masked:
    """Cover formulas and bare addresses outside code.

    code: ranges in order. cover_open also covers a display formula that is not closed yet, up to the end.
    """
    masked = Masked(text)
    end = first_open(text, code=code) if cover_open and may_hold_displays(text) else len(text)
    end = end if len(text) - end > 2 else len(text)
    pieces: list[str] = []
    done = 0
    for at, to, kind, inner in _spans(text, code, end):
        if len(masked.spans) == MOST_SPANS:
            break
        pieces += text[done:at], _add(masked, kind, text[at:to], inner)
        done = to
    if end < len(text):
        pieces += text[done:end], _add(masked, "open", text[end:], "")
        done = len(text)
    if pieces:
        masked.text = "".join(pieces) + text[done:]
    return masked


def _spans(text: str, code: Ranges, end: int) -> Iterator[tuple[int, int, str, str]]:
    """Find what to cover before the end, in order: start, end, kind, what stands inside."""
    displays = [(at, match.end(), match) for match, at in _displays(text, code) if at < end]
    taken = sorted([*displays, *((*span, None) for span in code if span[0] < end)], key=lambda item: item[:2])
    done = 0
    for start, to, display in [*taken, (end, end, None)]:
        for match in _TOKEN.finditer(text, done, start):
            kind = match.lastgroup
            if kind == "address":
                address = _trimmed(match[0])
                yield match.start(), match.start() + len(address), kind, address
            elif kind is not None:
                yield match.start(), match.end(), "formula" if kind in _INLINE else "display", match[kind]
        if display is not None:
            yield start, to, "display", display[display.lastgroup or 0]
        done = max(done, to)


def _displays(text: str, code: Ranges) -> list[tuple[re.Match[str], int]]:
    """Find the formulas that begin a line outside code, each with the place where it begins."""
    found: list[tuple[re.Match[str], int]] = []
    match = _DISPLAY.search(text) if may_hold_displays(text) else None
    while match:
        at = match.start(match.lastgroup or 0) - 2
        end = _end_around(at, code)
        if not end:
            found.append((match, at))
        # What begins in code ends nothing outside it: the search goes on where the code ends.
        match = _DISPLAY.search(text, end or match.end())
    return found


def _end_around(at: int, ranges: Ranges) -> int:
    """Give the end of the range around a place, or 0."""
    index = bisect_right(ranges, (at, sys.maxsize)) - 1
    return ranges[index][1] if index >= 0 and at < ranges[index][1] else 0


def _add(masked: Masked, kind: str, source: str, inner: str) -> str:
    number = len(masked.spans)
    name = _DIGITS[number // len(_DIGITS)] + _DIGITS[number % len(_DIGITS)]
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
