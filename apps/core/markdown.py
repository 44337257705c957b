"""Markdown to sanitised HTML: the one renderer, and the one place that marks HTML safe.

Masks, parsing and HTML are in masking.py and commonmark.py, formulas in mathematics.py, colours in highlighting.py;
what they write is trusted only after the allow-list here. Incremental rendering is in apps/streaming/rendering.py.
"""

import re
from html import escape

import nh3
from django.utils.safestring import SafeString, mark_safe

from apps.core import commonmark, highlighting, masking, mathematics
from apps.core.commonmark import Block, Definitions, Outline
from apps.core.logs import get_logger
from apps.core.recent import Recent

__all__ = ["Block", "Outline", "outline", "render", "render_block", "render_plain", "split_blocks"]

log = get_logger(__name__)

# Longer text is shown as it is, in one <pre>. Answers end at 200,000 characters; what is longer is a pasted log.
LONGEST = 300_000
LONGEST_BLOCK = 100_000
# Messages never change, and a page shows thirty of them each time it is opened.
REMEMBERED = 8_000_000

_HAS_DEFINITION = re.compile(r"^[ >\t]*\[[^\]\n]++\]:", re.MULTILINE)
_SCHEMES = {"http", "https", "mailto"}
_TAGS = {
    *"a blockquote br code del div em h3 h4 h5 h6 hr input li ol p pre span strong".split(),  # noqa: SIM905
    *"table tbody td th thead tr ul".split(),  # noqa: SIM905
    *mathematics.ELEMENTS,
}
_ATTRIBUTES = {
    "a": {"href", "title"},
    "input": {"disabled", "checked"},
    "ol": {"start"},
    "span": {"title"},
    **{element: set(mathematics.ATTRIBUTES) for element in mathematics.ELEMENTS},
}
_VALUES = {
    "pre": {"tabindex": {"0"}},
    "div": {"tabindex": {"0"}, "role": {"region"}, "aria-label": {"Table"}},
    "input": {"type": {"checkbox"}, "aria-label": {"To do", "Done"}},
}
_CLASSES = {
    "a": {"remote-image"},
    "code": {"math-error", "math-open"},
    "div": {"code", "code-head", "table"},
    "pre": {"plain"},
    "p": {"not-formatted"},
    "span": {"code-lang", "remote-image", *highlighting.CLASSES},
    "td": {"right", "center"},
    "th": {"right", "center"},
    "mtable": set(mathematics.CLASSES),
    "mtd": set(mathematics.CLASSES),
}
recent = Recent(REMEMBERED)
# Built once: building costs as much as cleaning a long answer. It has no state and serves all threads.
_sanitiser = nh3.Cleaner(
    tags=_TAGS,
    clean_content_tags={"script", "style"},
    attributes=_ATTRIBUTES,
    tag_attribute_values=_VALUES,
    set_tag_attribute_values={"a": {"target": "_blank"}},
    allowed_classes=_CLASSES,
    url_schemes=_SCHEMES,
    url_relative="deny",
    link_rel="noopener nofollow ugc",
    generic_attribute_prefixes=None,
    strip_comments=True,
)


def render(text: str) -> SafeString:
    """Render a whole Markdown text as sanitised HTML.

    Shape: the renderings of its blocks, one after the other; "" for text without any.
    Effects: remembers the newest results, together at most REMEMBERED code points; safe to call from any thread.
    Never raises: what cannot be formatted is shown as escaped source under a sentence that says so.
    """
    known = recent.get(text)
    if known is None:
        known = _whole(text)
        if len(text) <= LONGEST_BLOCK:
            recent.put(text, known)
    return mark_safe(known)  # noqa: S308 each block has passed the sanitiser, or is escaped


def split_blocks(text: str) -> list[Block]:
    """Find the top-level blocks of a text; blank lines and link definitions between them belong to none.

    Shape: in order, without overlap. Units: code points.
    """
    return outline(text).blocks


def outline(text: str) -> Outline:
    """Find the top-level blocks, and what an incremental renderer must know about the last of them."""
    text = masking.scrub(text)
    if len(text) > LONGEST:
        return Outline([Block(0, len(text), "Source")], len(text), [], False)
    return commonmark.outline(text)


def render_block(text: str, *, closed: bool = True) -> str:
    """Render the source of one block as sanitised HTML; never raises.

    closed=False is for a block that still grows: its code is not highlighted.
    """
    try:
        return _render(masking.scrub(text), closed=closed)
    except _PASS_ON:
        raise
    except BaseException as error:  # noqa: BLE001 a panic of a native library is no Exception
        return _not_formatted(text, error)


def render_plain(text: str) -> SafeString:
    """Escape a text and keep its paragraphs, for what is not Markdown."""
    paragraphs = (part.strip("\n") for part in re.split(r"\n[ \t]*\n", masking.scrub(text)))
    html = "".join(f"<p>{escape(part).replace(chr(10), '<br>')}</p>\n" for part in paragraphs if part.strip())
    return mark_safe(html)  # noqa: S308 escaped


def defines_links(text: str) -> bool:
    """Tell whether a text may hold link reference definitions, which reach across blocks."""
    return "]:" in text and _HAS_DEFINITION.search(text) is not None


def _whole(text: str) -> str:
    try:
        text = masking.scrub(text)
        if len(text) > LONGEST:
            return _as_source(text)
        definitions = commonmark.definitions_of(text) if defines_links(text) else None
        blocks = commonmark.outline(text).blocks
        return "".join(_render(text[block.start : block.end], definitions=definitions) for block in blocks)
    except _PASS_ON:
        raise
    except BaseException as error:  # noqa: BLE001 a panic of a native library is no Exception
        return _not_formatted(text, error)


def _render(text: str, *, definitions: Definitions | None = None, closed: bool = True) -> str:
    if len(text) > LONGEST_BLOCK:
        return _as_source(text)
    try:
        return _sanitiser.clean(commonmark.write_html(text, definitions=definitions, closed=closed))
    except commonmark.TooManyElements:
        return _as_source(text)


def _as_source(text: str) -> str:
    return f'<pre class="plain" tabindex="0">{escape(text, quote=False)}</pre>\n'


def _not_formatted(text: str, error: BaseException) -> str:
    log.error("markdown-not-formatted", error=type(error).__name__, length=len(text))
    return f'<p class="not-formatted">Couldn\'t format this text.</p>\n{_as_source(text)}'


_PASS_ON = (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError)
