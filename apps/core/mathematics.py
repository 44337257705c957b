"""TeX to MathML, with the bounds that make it safe for hostile input.

Finding formulas in Markdown is the work of commonmark.py; what leaves here is sanitised by markdown.py.
"""

import re
from functools import lru_cache

from math_core import LatexError, LatexToMathML

# math-core 0.9 descends its own stack once per nested construct, and tries every bracket that is never closed
# twice. Both end the process or hang it, and no `except` helps, so a formula is measured before it goes in.
# Measured with a thread stack of 2 MB: 300 commands in one chain and 30 groups inside each other pass with room.
LONGEST = 3_000
MOST_COMMANDS = 300
DEEPEST = 30
MOST_UNCLOSED = 5

_TOKEN = re.compile(r"\\(?:[A-Za-z]+|.)|[{}()\[\]&^_]|[⟨⌊⌈⟦⟩⌋⌉⟧]", re.DOTALL)
_MACRO = re.compile(
    r"\\(?:re|provide)?newcommand|\\(?:[egx]?def|let|DeclareMathOperator|DeclarePairedDelimiter)(?![A-Za-z])"
)
_OPENS = frozenset("([⟨⌊⌈⟦") | {"\\{", "\\lang", "\\ulcorner"}
_CLOSES = frozenset(")]⟩⌋⌉⟧") | {"\\}", "\\rang", "\\urcorner"}
_LEFT_WORD = re.compile(
    r"\\l(?:angle|brace|brack|Brace|ceil|floor|group|moustache|paren|vert|Vert|brbrak|Angle)\Z|\\llbracket\Z"
)
_RIGHT_WORD = re.compile(
    r"\\r(?:angle|brace|brack|Brace|ceil|floor|group|moustache|paren|vert|Vert|brbrak|Angle)\Z|\\rrbracket\Z"
)
_SIZED = frozenset({"\\left", "\\right", "\\middle"})

# The page's policy forbids inline styles, so each declaration that math-core writes becomes a class of code.css.
_STYLE = re.compile(r' style="([^"]*)"')
_CLASS_OF = {
    "text-align: right": "tex-right",
    "text-align: left": "tex-left",
    "padding-left: 0": "tex-flush-left",
    "padding-right: 0": "tex-flush-right",
    "padding-left:1em": "tex-gap-left",
    "border-left: 0.05em solid currentcolor": "tex-line-left",
    "border-right: 0.05em solid currentcolor": "tex-line-right",
    "border-top: 0.05em solid currentcolor": "tex-line-top",
    "border-bottom: 0.05em solid currentcolor": "tex-line-bottom",
    "width: 100%": "tex-wide",
    "width: 50%": "tex-half",
}
CLASSES = frozenset(_CLASS_OF.values())
_ELEMENTS = (
    "math menclose mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow ms mspace msqrt mstyle "
    "msub msubsup msup mtable mtd mtext mtr munder munderover"
)
_ATTRIBUTES = (
    "accent accentunder columnspan depth display displaystyle fence form height largeop linethickness lspace "
    "mathvariant maxsize minsize movablelimits notation rowspan rspace scriptlevel separator stretchy symmetric "
    "voffset width"
)
ELEMENTS = frozenset(_ELEMENTS.split())
ATTRIBUTES = frozenset(_ATTRIBUTES.split())

_converter = LatexToMathML(fancy_error=False, max_expansions=1)


def to_mathml(tex: str, *, display: bool) -> str | None:
    """Convert one formula, or return None where it cannot be shown as mathematics.

    None means: not valid TeX, a command that is not known, or more nesting than is safe. Show the source then.
    Effects: remembers short formulas; safe to call from any thread.
    """
    if len(tex) > LONGEST:
        return None
    return _remembered(tex, display) if len(tex) <= 200 else _convert(tex, display)


def _convert(tex: str, display: bool) -> str | None:
    tex = tex.replace("{split}", "{aligned}")
    if not _is_bounded(tex):
        return None
    if display and "\\tag" in tex and "\\begin{" not in tex:
        tex = f"\\begin{{equation}}{tex}\\end{{equation}}"
    try:
        mathml = _converter.convert_with_local_state(tex, displaystyle=display)
    except LatexError:
        return None
    return _STYLE.sub(_classes, mathml)


_remembered = lru_cache(maxsize=1024)(_convert)


def _classes(match: re.Match[str]) -> str:
    names = [_CLASS_OF[part.strip()] for part in match[1].split(";") if part.strip() in _CLASS_OF]
    return f' class="{" ".join(names)}"' if names else ""


def _is_bounded(tex: str) -> bool:
    """Tell whether the formula is small in every measure that costs math-core stack or time.

    A bracket counts as closed only by a bracket of the same group and cell: that is where math-core looks for it.
    """
    if _MACRO.search(tex):
        return False
    commands = depth = unclosed = 0
    groups = [0]  # brackets open in each enclosing group
    sized = False
    for token in _TOKEN.findall(tex):
        commands += token[0] == "\\"
        if sized:
            sized = False
        elif token in _SIZED:
            depth += {"\\left": 1, "\\right": -1, "\\middle": 0}[token]
            sized = True
        elif token in ("{", "\\begin"):
            groups.append(0)
        elif token in ("}", "\\end"):
            unclosed += groups.pop() if len(groups) > 1 else 0
        elif token in ("&", "\\\\"):
            unclosed += groups[-1]
            groups[-1] = 0
        elif token in _OPENS or _LEFT_WORD.match(token):
            groups[-1] += 1
        elif token in _CLOSES or _RIGHT_WORD.match(token):
            groups[-1] = max(0, groups[-1] - 1)
        nested = len(groups) + max(depth, 0) + groups[-1]
        if nested > DEEPEST or commands > MOST_COMMANDS:
            return False
    return unclosed + sum(groups) <= MOST_UNCLOSED
