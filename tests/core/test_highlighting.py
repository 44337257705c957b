"""Code as coloured, escaped HTML."""

import pytest

from apps.core import highlighting


def test_known_languages_are_coloured() -> None:
    html = highlighting.highlight("def f():\n    return 'a' # b\n", language="python")
    assert '<span class="k">def </span><span class="nf">f</span>' in html


@pytest.mark.parametrize("language", ["", "klingon", "brainfuck", "text"])
def test_other_languages_are_escaped_only(language: str) -> None:
    assert highlighting.highlight("a < b & c\n", language=language) == "a &lt; b &amp; c\n"


@pytest.mark.parametrize("language", sorted(set(highlighting._LEXERS)))
def test_every_language_keeps_every_character(language: str) -> None:
    code = "# x <b> & \"s\" 'q'\n\n\tif a < 1: {}\n  -- // /* é */ $v @d 0x1F\n+added\n-gone\n"
    html = highlighting.highlight(code, language=language)
    bare = html
    for name in highlighting.CLASSES:
        bare = bare.replace(f'<span class="{name}">', "")
    bare = bare.replace("</span>", "")
    assert "<" not in bare
    assert bare.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == code


def test_long_code_is_not_coloured() -> None:
    code = "x = 1\n" * (highlighting.LONGEST // 6 + 1)
    assert highlighting.highlight(code, language="python") == code


@pytest.mark.parametrize(
    ("info", "language"),
    [
        ("python", "python"),
        ("  JS", "js"),
        ("c++ title", "c++"),
        ("{.rust}", "rust"),
        ("python:a.py", "python"),
        ("", ""),
        ("`", ""),
    ],
)
def test_the_language_is_the_first_word_after_the_fence(info: str, language: str) -> None:
    assert highlighting.language_of(info) == language
