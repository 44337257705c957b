"""Growing Markdown: what settles, when, and that it adds up to the whole."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.markdown import render, render_block
from apps.streaming import tails
from apps.streaming.rendering import StreamRenderer

PIECES = [
    *["para\n", "word ", "and so on ", "x\n", "\n", "\n\n", " ", "  ", "    ", "\t", "\r\n", "\r"],
    *[
        "a *b* **c** `d`\n",
        "**",
        "*",
        "_",
        "`",
        "``",
        "~~",
        "\\",
        "\\\\",
        "|",
        "[",
        "]",
        "(",
        ")",
        "!",
        "<",
        ">",
        "#",
        "=",
    ],
    *[
        "- a\n",
        "- b\n\n",
        "  - c\n",
        "    d\n",
        "1. x\n",
        "2. y\n",
        "10) z\n",
        "* s\n",
        "+ p",
        "-\n",
        "- \n",
        "1.\n",
        "1.",
        "-",
        "+ ",
    ],
    *["> q\n", "> ```\n> $a$\n> ```\n", ">\n", "lazy\n", "# h\n", "## h2", "===\n", "---\n", "***\n"],
    *[
        "```py\nx = 1\n",
        "```\n",
        "````\n",
        "~~~\n",
        "``` `\n",
        "~~~ js\nfoo\n~~~\n",
        "- ```\n  code\n  ```\n",
        "    ind\n",
        "\tind\n",
    ],
    *["| a | b |\n", "|---|---|\n", "| 1 | $x|y$ |\n"],
    *[
        "$$\n",
        "$$ a $$",
        "\\[\n",
        "\\]\n",
        "\\(a\\)",
        "$x$",
        "$5 and $6",
        "$$x\n- y\n$$\n",
        "\\[\na\n+ b\n\\]\n",
        "- $$\n  x\n  $$\n",
        "> $$\n> x\n> $$\n",
    ],
    *[
        "<div>\n",
        "<b>x</b>",
        "<!--",
        "-->\n",
        "<script>alert(1)</script>\n",
        "<br>",
        "https://a.b/c?d=1&e=2.",
        "<https://x.y>",
    ],
    *[
        "[l](http://a.b)",
        "[l](javascript:x)",
        "![i](http://e.v/i.png)",
        "![i](data:x)",
        "[r]",
        "[r][x]",
        "- [ ] t\n",
        "- [x] t\n",
    ],
    *["é", "中文，", "😀", "\x00", "\x01ab", "\x03", "\ud800", "\u2028", "\u00a0", "&amp;", "&#0;", "&lt;"],
]
DEFINITIONS = ["[r]: http://a.example\n", "[x]: /y 'T'\n", "\n\n[l]:\nhttp://b.example\n"]


def stream(text: str, cuts: list[int]) -> tuple[list[str], str, bool]:
    """Feed a text in pieces whose lengths repeat, with a frame after each; give all blocks and the end."""
    renderer = StreamRenderer()
    settled: list[str] = []
    at = turn = 0
    while at < len(text):
        to = at + cuts[turn % len(cuts)]
        renderer.feed(text[at:to])
        new, tail = renderer.frame()
        assert "Couldn" not in tail
        settled += new
        at, turn = to, turn + 1
    last, whole, differs = renderer.finish()
    return settled + last, whole, differs


CUTS = st.lists(st.integers(min_value=1, max_value=30), min_size=1, max_size=8)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(PIECES), max_size=16), CUTS)
def test_all_settled_blocks_together_are_the_whole_rendering(pieces: list[str], cuts: list[int]) -> None:
    text = "".join(pieces)
    settled, whole, differs = stream(text, cuts)
    assert "".join(settled) == whole == render(text)
    assert not differs


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(PIECES + DEFINITIONS * 8), max_size=16), CUTS)
def test_where_link_definitions_reach_back_the_end_says_so(pieces: list[str], cuts: list[int]) -> None:
    text = "".join(pieces)
    settled, whole, differs = stream(text, cuts)
    assert whole == render(text)
    assert differs == ("".join(settled) != whole)


def test_a_definition_at_the_end_makes_the_whole_differ() -> None:
    settled, whole, differs = stream("See [it][a].\n\nmore\n\n[a]: https://a.example\n", [5])
    assert settled == ["<p>See [it][a].</p>\n", "<p>more</p>\n"]
    assert differs
    assert 'href="https://a.example"' in whole


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(max_size=120), CUTS)
def test_any_text_at_all_can_be_streamed(text: str, cuts: list[int]) -> None:
    _, whole, _ = stream(text, cuts)
    assert whole == render(text)


def settles(text: str) -> list[str]:
    renderer = StreamRenderer()
    renderer.feed(text)
    return renderer.frame()[0]


@pytest.mark.parametrize(
    ("before", "decides"),
    [
        ("# title", "\n"),
        ("one\ntwo\n---", "\n"),
        ("para\n\n", "n"),
        ("para", "\n\n# t"),
        ("```py\nx\n```", "\n"),
        ("- a\n- b\n\n", "T"),
        ("- a\n\n", "**"),
        ("1. a\n\n", "20"[:0] + "x"),
        ("| a |\n|---|\n| 1 |\n\n", "n"),
        ("> q\n\n", "> "),
        ("***", "\n"),
        ("    code\n\n", "x"),
    ],
)
def test_a_block_settles_as_soon_as_nothing_can_change_it(before: str, decides: str) -> None:
    assert settles(before) == []
    assert settles(before + decides) == [render(before)]


@pytest.mark.parametrize(
    "text",
    [
        "para\nmore",
        "para\n-",
        "- a\n\n-",
        "- a\n\n1",
        "- a\n\n  b",
        "1. a\n\n2. b",
        "```py\nx\n``",
        "```py\nx\n\n\ny\n",
        "> q\n> r\n",
        "    code\n\n    more",
        "$$\na\n- b\n+ c\n",
        "\\[\n# a\n\ttext\n",
        "| a |\n|---|\n| 1 |\n| 2",
    ],
)
def test_what_may_still_change_stays_open(text: str) -> None:
    assert settles(text) == []


def test_a_blank_line_ends_the_wait_for_a_formula() -> None:
    assert settles("$$\na\n- b\n\nnext\n") == ["<p>$$\na</p>\n", "<ul>\n<li>b</li>\n</ul>\n"]


def tail_of(text: str, *, cut: int = 3) -> str:
    renderer = StreamRenderer()
    for at in range(0, len(text), cut):
        renderer.feed(text[at : at + cut])
        tail = renderer.frame()[1]
    return tail


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("some **bold wor", "<p>some <strong>bold wor</strong></p>\n"),
        ("some **bold word*", "<p>some <strong>bold word</strong></p>\n"),
        ("some **bold word**", "<p>some <strong>bold word</strong></p>\n"),
        ("some **bold *and it", "<p>some <strong>bold <em>and it</em></strong></p>\n"),
        ("some **", "<p>some</p>\n"),
        ("some `code wi", "<p>some <code>code wi</code></p>\n"),
        ("some `", "<p>some</p>\n"),
        ("some `a` and ``b ` c", "<p>some <code>a</code> and <code>b ` c</code></p>\n"),
        ("some ~~old", "<p>some <del>old</del></p>\n"),
        ("5*x and a_b", "<p>5*x and a_b</p>\n"),
        ("see [the notes](https://exa", "<p>see the notes</p>\n"),
        ("see ![a picture](https://exa", "<p>see</p>\n"),
        ("text\n-", "<p>text</p>\n"),
        ("text\n---", "<p>text</p>\n"),
        ("text\n```py", "<p>text</p>\n"),
        ("text\n2.", "<p>text</p>\n"),
        ("text\n\n| a | b |\n|--", ""),
        ("a $$\\frac{a", "<p>a $$\\frac{a</p>\n"),
        ("$$\n\\frac{a", '<p><code class="math-open">$$\n\\frac{a</code></p>\n'),
        ("- one\n- **tw", "<ul>\n<li>one</li>\n<li><strong>tw</strong></li>\n</ul>\n"),
        ("- ```py\n  x = **a", "<li>"),
    ],
)
def test_a_tail_shows_no_half_written_markup(text: str, shown: str) -> None:
    assert shown in tail_of(text).replace("</li><li>", "</li>\n<li>") + ("" if shown else "|")


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"{i}. **Item {i}** with `code`\n   - nested *one*\n   - nested two\n" for i in range(1, 9)),
        "".join(f"- item {i}\n\n  more of it\n\n" for i in range(6)) + "- last",
        "- a\n- b\n- c\n\n- d\n- e\n",
        "* [ ] a\n* [x] b $x_1$\n* c https://a.example\n",
        "- a\n  ```py\n  x = 1\n  ```\n- b\n",
        "5) a\n6) b\n",
        "- a\n  - b\n - c\n   - d\n\n  - e\n",
        "  - a\n  - b\n\n  - c\n  - d",
        "| a | b |\n|--:|---|\n" + "".join(f"| {i} | `x` **y** |\n" for i in range(9)),
        "```python\nfor i in range(3):\n    print(i < 2)\n\nx = 1\n",
        "~~~~ text\n```\n~~~\n",
    ],
)
@pytest.mark.parametrize("cut", [1, 4, 50])
def test_the_tail_of_a_long_block_is_that_block_as_it_stands(text: str, cut: int) -> None:
    bare = render_block(text.rstrip("\n"), closed=False)
    got = tail_of(text, cut=cut)
    highlighted_at_the_end = render_block(text.rstrip("\n"))
    assert got.replace("\n", "") in (bare.replace("\n", ""), highlighted_at_the_end.replace("\n", ""))


@pytest.mark.parametrize(
    "unit",
    [
        "word **bold** `code` and more of it ",
        "line of code = 'x' < 3\n",
        "- an item of **some** length\n",
        "1. an item\n\n   with more\n",
        "| a cell | and **another** |\n",
        "> a quoted line\n",
    ],
)
@pytest.mark.parametrize("opening", ["", "```python\n", "| a | b |\n|---|---|\n"])
def test_a_long_open_block_costs_bounded_time_per_frame(opening: str, unit: str) -> None:
    renderer = StreamRenderer()
    renderer.feed(opening + unit * (60_000 // len(unit)))
    renderer.frame()
    began = time.thread_time()
    for _ in range(20):
        renderer.feed(unit)
        renderer.frame()
    assert time.thread_time() - began < 2


@pytest.mark.parametrize(
    "piece",
    ["[", "> ", "- ", "$$ a\n", "\\[ a\n", "**a ", "`a ", "```\n", "|a", "<a ", "![a](", "\r", "\n", " ", "1. "],
)
def test_hostile_streams_take_bounded_time(piece: str) -> None:
    renderer = StreamRenderer()
    began = time.thread_time()
    for _ in range(50):
        renderer.feed(piece * 120)
        renderer.frame()
    renderer.finish()
    assert time.thread_time() - began < 3


@pytest.mark.parametrize(
    "text",
    [
        "| a |\r|---|\r| 1 |\r| 2 |",
        "| a |\r|---|\r| 1 |\n| 2 |",
        "- a\r- b\r\r- c",
        "```\rx\r```\rpara",
        "# a\r\r\nb\r",
    ],
)
def test_lone_carriage_returns_end_lines_too(text: str) -> None:
    settled, whole, differs = stream(text, [1])
    assert "".join(settled) == whole == render(text)
    assert not differs


def test_an_item_that_grew_too_long_is_plain_until_it_settles() -> None:
    renderer = StreamRenderer()
    renderer.feed("- a\n- **b** <c> ")
    assert "<strong>b</strong>" in renderer.frame()[1]
    renderer.feed("word " * (tails.LONGEST // 5))
    assert renderer.frame()[1].startswith("<p>- a<br>- **b** &lt;c&gt;")


def test_an_answer_longer_than_markdown_goes_is_shown_as_it_is() -> None:
    _, whole, differs = stream("para and more of it\n\n" * 16_000, [90_000])
    assert whole.startswith('<pre class="plain"')
    assert differs


def test_a_tail_that_grew_too_long_is_plain_until_it_settles() -> None:
    renderer = StreamRenderer()
    renderer.feed("**a** <b> " * (tails.LONGEST // 10 + 1))
    assert renderer.frame()[1].startswith("<p>**a** &lt;b&gt; ")
    settled, _, _ = renderer.finish()
    assert settled[0].startswith("<p><strong>a</strong> &lt;b&gt; ")


def test_frames_without_new_text_repeat_the_tail() -> None:
    renderer = StreamRenderer()
    assert renderer.frame() == ([], "")
    renderer.feed("")
    renderer.feed("# a\n\nb")
    assert renderer.frame() == (["<h3>a</h3>\n"], "<p>b</p>\n")
    assert renderer.frame() == ([], "<p>b</p>\n")
    assert renderer.finish() == (["<p>b</p>\n"], "<h3>a</h3>\n<p>b</p>\n", False)


def test_an_answer_without_text_ends_empty() -> None:
    assert StreamRenderer().finish() == ([], "", False)
