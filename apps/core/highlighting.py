"""Source code as escaped HTML with short classes. Which text is code is decided by commonmark.py."""

import re
from html import escape
from typing import Any

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES, Token

from apps.core.recent import Recent

# Pygments costs 1.3 ms a kilobyte; a longer block would hold up every other answer of the process.
LONGEST = 16_000
REMEMBERED = 4_000_000

# An allow-list: each lexer costs milliseconds to load, and each is one more set of regular expressions that
# hostile text can run against. All others are shown plain, with their name above.
_LEXERS = {
    alias: name
    for name, aliases in {
        "bash": "bash sh shell zsh",
        "c": "c h",
        "clojure": "clojure clj",
        "console": "console shell-session",
        "cpp": "cpp c++ cc hpp",
        "csharp": "csharp c# cs",
        "css": "css",
        "dart": "dart",
        "diff": "diff patch udiff",
        "django": "django jinja jinja2 html+jinja",
        "docker": "docker dockerfile",
        "elixir": "elixir ex exs",
        "elm": "elm",
        "erlang": "erlang erl",
        "fortran": "fortran f90",
        "fsharp": "fsharp f#",
        "go": "go golang",
        "graphql": "graphql gql",
        "groovy": "groovy gradle",
        "haskell": "haskell hs",
        "html": "html htm vue svelte",
        "http": "http",
        "ini": "ini cfg conf dosini properties",
        "java": "java",
        "javascript": "javascript js mjs cjs",
        "json": "json jsonc json5 jsonl",
        "jsx": "jsx",
        "julia": "julia jl",
        "kotlin": "kotlin kt",
        "latex": "latex tex",
        "common-lisp": "lisp common-lisp elisp",
        "lua": "lua",
        "make": "make makefile",
        "markdown": "markdown md",
        "matlab": "matlab octave",
        "nginx": "nginx",
        "nix": "nix",
        "objective-c": "objective-c objectivec objc",
        "ocaml": "ocaml ml",
        "perl": "perl pl",
        "php": "php",
        "powershell": "powershell ps1 pwsh",
        "protobuf": "protobuf proto",
        "python": "python py python3 py3 pyi",
        "pycon": "pycon",
        "r": "r",
        "ruby": "ruby rb",
        "rust": "rust rs",
        "scala": "scala",
        "scheme": "scheme racket",
        "scss": "scss sass",
        "sql": "sql mysql plsql sqlite",
        "postgresql": "postgresql postgres psql",
        "swift": "swift",
        "terraform": "terraform hcl tf",
        "toml": "toml",
        "tsx": "tsx",
        "typescript": "typescript ts",
        "verilog": "verilog",
        "vim": "vim viml",
        "xml": "xml svg xsl rss",
        "yaml": "yaml yml",
        "zig": "zig",
    }.items()
    for alias in aliases.split()
}

# Pygments knows a hundred kinds of token; a reader tells a dozen colours apart, and each class costs bytes.
CLASSES = frozenset("k kt c s se m nf nc nb nd na nt nv o gd gi gh err".split())  # noqa: SIM905 a table of words
_PLAIN = ""
_CLASS_BY_ROOT = {
    Token.Keyword: "k",
    Token.Keyword.Type: "kt",
    Token.Keyword.Constant: "m",
    Token.Comment: "c",
    Token.Comment.Preproc: "nd",
    Token.String: "s",
    Token.String.Escape: "se",
    Token.String.Interpol: "se",
    Token.Literal: "s",
    Token.Number: "m",
    Token.Name.Function: "nf",
    Token.Name.Class: "nc",
    Token.Name.Exception: "nc",
    Token.Name.Namespace: "nc",
    Token.Name.Builtin: "nb",
    Token.Name.Decorator: "nd",
    Token.Name.Attribute: "na",
    Token.Name.Property: "na",
    Token.Name.Tag: "nt",
    Token.Name.Variable: "nv",
    Token.Name.Constant: "m",
    Token.Operator.Word: "k",
    Token.Generic.Deleted: "gd",
    Token.Generic.Inserted: "gi",
    Token.Generic.Heading: "gh",
    Token.Generic.Subheading: "gh",
    Token.Generic.Prompt: "o",
    Token.Generic.Output: "c",
    Token.Generic.Error: "err",
}
recent = Recent(REMEMBERED)
_LANGUAGE = re.compile(r"[\w+#.-]{1,30}")


def _class_of(kind: Any) -> str:
    while kind is not None:
        if kind in _CLASS_BY_ROOT:
            return _CLASS_BY_ROOT[kind]
        kind = kind.parent
    return _PLAIN


_CLASSES_BY_KIND = {kind: _class_of(kind) for kind in STANDARD_TYPES}


def language_of(info: str) -> str:
    """Name the language of a code block from the words after its fence; empty when there is none."""
    match = _LANGUAGE.search(info)
    return match[0].lower().lstrip(".") if match and info.lstrip(" {").startswith(match[0]) else ""


def highlight(code: str, *, language: str) -> str:
    """Escape code and colour it where the language is known and the block is not too long.

    Effects: remembers the newest results, together at most REMEMBERED characters; safe to call from any thread.
    """
    if language not in _LEXERS or len(code) > LONGEST:
        return escape(code, quote=False)
    name = _LEXERS[language]
    key = f"{name}\n{code}"
    found = recent.get(key)
    if found is None:
        found = _coloured(code, get_lexer_by_name(name, stripnl=False, ensurenl=False))
        recent.put(key, found)
    return found


def _coloured(code: str, lexer: Lexer) -> str:
    out: list[str] = []
    run: list[str] = []
    current = _PLAIN
    for kind, value in lexer.get_tokens(code):
        css = _CLASSES_BY_KIND.get(kind)
        if css is None:
            css = _class_of(kind)
        # White space has no colour: it joins whatever stands before it, which saves a third of the spans.
        if css != current and not value.isspace():
            _close_run(out, run, current)
            current = css
        run.append(value)
    _close_run(out, run, current)
    return "".join(out)


def _close_run(out: list[str], run: list[str], css: str) -> None:
    if run:
        text = escape("".join(run), quote=False)
        out.append(f'<span class="{css}">{text}</span>' if css else text)
        run.clear()
