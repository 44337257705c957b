"""Markdown to sanitised HTML: what it looks like, what never gets through, and how long the worst takes."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from django.utils.safestring import SafeString
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core import markdown, mathematics
from apps.core.markdown import render, render_block, render_plain, split_blocks

LINK = 'target="_blank" rel="noopener nofollow ugc"'


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_ordinary_markdown_is_rendered() -> None:
    html = render("# A *title*\n\nText with **bold**, `x < y` and ~~old~~ words.\n\n> quoted\n\n***\n")
    assert html == (
        "<h3>A <em>title</em></h3>\n"
        "<p>Text with <strong>bold</strong>, <code>x &lt; y</code> and <del>old</del> words.</p>\n"
        "<blockquote>\n<p>quoted</p>\n</blockquote>\n<hr>\n"
    )
    assert isinstance(html, SafeString)


def test_headings_start_below_those_of_the_page() -> None:
    assert re.findall(r"<h(\d)>", render("# a\n## b\n### c\n#### d\n##### e\n###### f\n")) == list("345666")


def test_lists_keep_their_numbers_and_their_boxes() -> None:
    assert render("3. a\n4. b\n") == '<ol start="3">\n<li>a</li>\n<li>b</li>\n</ol>\n'
    assert render("- [ ] a\n- [x] b\n") == (
        '<ul>\n<li><input type="checkbox" disabled="" aria-label="To do"> a</li>\n'
        '<li><input type="checkbox" disabled="" checked="" aria-label="Done"> b</li>\n</ul>\n'
    )


def test_tables_scroll_by_themselves_and_keep_their_alignment() -> None:
    assert render("| a | b |\n|---|--:|\n| 1 | `x` |\n") == (
        '<div class="table" tabindex="0" role="region" aria-label="Table"><table>'
        '<thead><tr><th>a</th><th class="right">b</th></tr></thead>\n<tbody>\n'
        '<tr><td>1</td><td class="right"><code>x</code></td></tr>\n</tbody></table></div>\n'
    )


def test_code_blocks_name_their_language_and_are_coloured() -> None:
    assert render("```python\nreturn 1\n```\n") == (
        '<div class="code"><div class="code-head"><span class="code-lang">python</span></div>'
        '<pre tabindex="0"><code><span class="k">return </span><span class="m">1\n</span></code></pre></div>\n'
    )
    assert '<span class="code-lang">text</span>' in render("    a <b>\n")


def test_an_open_code_block_is_escaped_only() -> None:
    assert '<code>return "&lt;"\n</code>' in render_block('```python\nreturn "<"', closed=False)


@pytest.mark.parametrize(
    ("source", "display"),
    [
        ("$x^2$", False),
        (r"\(x^2\)", False),
        ("$$x^2$$", True),
        (r"\[x^2\]", True),
        ("$$\nx^2\n$$", True),
        ("中$x^2$文", False),
        ("\\[\nx^2\n\\]", True),
    ],
)
def test_formulas_become_mathml(source: str, display: bool) -> None:
    assert mathematics.to_mathml("x^2", display=display) in render(f"a\n{source}\nb")


def test_a_formula_may_look_like_any_markup() -> None:
    source = "Let\n\n$$\na_1 * b_2\n- c\n+ d\n= e\n> f\n$$\n\nand | $a|b$ | $x_1$ and $y_1$.\n"
    html = render(source)
    assert html.count("<math") == 4
    assert "<li>" not in html
    assert "<em>" not in html


@pytest.mark.parametrize(
    "source", ["$5 and $6", "US$5, US$6", "a $ b $ c", r"\$x\$", "$x\ny$", "$$\n\nx\n\n$$", "$", "$$", r"\(", r"a \[ b"]
)
def test_money_and_half_a_formula_stay_text(source: str) -> None:
    assert "<math" not in render(source)


def test_what_is_not_tex_shows_its_source() -> None:
    assert render(r"$\unknown{<b>}$") == r'<p><code class="math-error">$\unknown{&lt;b&gt;}$</code></p>' + "\n"


@pytest.mark.parametrize("code", ["`$x$ https://a.b <b>`", "```\n$x$ https://a.b <b>\n```", "    $x$ https://a.b <b>"])
def test_nothing_is_found_inside_code(code: str) -> None:
    html = render(f"$y$\n\n{code}\n")
    assert html.count("<math") == 1
    assert "$x$ https://a.b &lt;b&gt;" in html


def test_a_formula_in_a_quote_loses_the_marks_of_the_quote() -> None:
    assert mathematics.to_mathml("\na\n- b\n", display=True) in render("> $$\n> a\n> - b\n> $$\n")


def test_addresses_become_links_without_the_punctuation_around_them() -> None:
    html = render(
        "See https://a.example/b_c_d?x=1&y=2, (https://b.example/(x)). **https://c.example** 看https://d.example。好"
    )
    assert re.findall(r'href="([^"]*)"', html) == [
        "https://a.example/b_c_d?x=1&amp;y=2",
        "https://b.example/(x)",
        "https://c.example",
        "https://d.example",
    ]
    assert html.count(LINK) == 4


def test_an_address_inside_a_link_is_not_a_second_link() -> None:
    assert render("[https://a.example](https://b.example)") == (
        f'<p><a href="https://b.example" {LINK}>https://a.example</a></p>\n'
    )


def test_link_definitions_reach_all_blocks() -> None:
    html = render("[one][A b] and [a  B]\n\n- [two]\n\n[a b]: https://a.example 'T'\n[two]: https://b.example\n")
    assert html.count(f'<a href="https://a.example" title="T" {LINK}>') == 2
    assert f'<a href="https://b.example" {LINK}>two</a>' in html


def test_mail_addresses_are_links_and_titles_keep_their_source() -> None:
    assert render("<a@b.example>") == f'<p><a href="mailto:a@b.example" {LINK}>a@b.example</a></p>\n'
    assert 'title="a $x$ &lt;b&gt;"' in render('[a](https://a.example "a $x$ <b>")')


def test_of_a_formula_that_begins_in_indented_code_only_that_line_is_code() -> None:
    html = render("***\n\n    - $$\nx\n$$\n* s\n")
    assert "<code>- $$\n</code>" in html
    assert "<li>s</li>" in html


def test_raw_html_is_shown_as_text_and_markdown_in_it_still_counts() -> None:
    assert render("<div>\n**x**\n</div>") == "<p>&lt;div&gt;\n<strong>x</strong>\n&lt;/div&gt;</p>\n"
    assert render("](<b>x") == "<p>](&lt;b&gt;x</p>\n"
    assert render("<!-- a --> <?php ?> <![CDATA[x]]>") == "<p>&lt;!-- a --&gt; &lt;?php ?&gt; &lt;![CDATA[x]]&gt;</p>\n"


def test_a_line_break_is_the_one_tag_that_counts() -> None:
    assert render("a<br>b<br/>c<BR />d `<br>`") == "<p>a<br>b<br>c<br>d <code>&lt;br&gt;</code></p>\n"


def test_a_remote_image_is_a_link_that_shows_the_whole_address() -> None:
    address = "https://user@evil.example:8080/x.png?q=secret"
    html = render(f"![alt]({address})")
    assert html == (
        f'<p><a class="remote-image" href="{address}" title="{address}" {LINK}>Image from evil.example:8080 · Show</a></p>\n'
    )


def test_a_remote_image_inside_a_link_leaves_the_link_whole() -> None:
    html = render("[![alt](https://a.example/i.png)](https://b.example)")
    assert [attributes.get("href") for tag, attributes in Tags(html).found if tag == "a"] == ["https://b.example"]
    assert "Image from a.example" in html


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<math><mtext></math><img src=x onerror=alert(1)></mtext>",
    "<style>@import 'http://evil.example'</style>",
    '<div hx-get="/x" hx-trigger="load" data-hx-post="/y" ws-connect="/z" sse-connect="/z">x</div>',
    "<form action=/logout id=x name=y><input type=submit autofocus onfocus=alert(1)></form>",
    "<base href=//evil.example><meta http-equiv=refresh content=0><link rel=stylesheet href=//evil.example>",
    "[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1)) [c](java\tscript:alert(1)) [d](&#106;avascript:alert(1))",
    "[a](data:text/html,<script>alert(1)</script>) [b](vbscript:x) [c](file:///etc/passwd) [d](blob:x)",
    "<javascript:alert(1)> <data:text/html,x>",
    "[a]: javascript:alert(1)\n\n[a]",
    "[a](//evil.example) [b](/logout) [c](#x) [d](?x) [e](\\\\evil.example)",
    "![a](//evil.example/x.png) ![b](data:image/svg+xml,<svg/onload=alert(1)>) ![c](/files/1) ![d](http://evil.example/x.png)",
    "![a][r]\n\n[r]: http://evil.example/x.png",
    '[a](https://a.example "x\\" onmouseover=alert(1) y=\\"")',
    '[a](https://a.example/"onmouseover="alert(1))',
    "https://a.example/\"onmouseover=alert(1) https://a.example/'x https://a.example/<script>",
    '```"><script>alert(1)</script>\n</code></pre><script>alert(1)</script>\n```',
    "```python onload=alert(1)\n'</span><script>alert(1)</script>'\n```",
    "~~~ html\n<script>alert(1)</script>\n~~~",
    "$\\href{javascript:alert(1)}{x}$ $\\htmlData{hx-get=/x}{y}$ $\\text{<img src=x onerror=alert(1)>}$ $\\class{x}{y}$",
    "$$<script>alert(1)</script>$$ \\(<b id=x>\\) \\[\\style{color:red}{x}\\]",
    "$\\label{x}\\ref{x}$ $$\\begin{align}a\\label{hx}\\end{align}\\eqref{hx}$$",
    "# a {#id .class onclick=x}",
    "| <script>alert(1)</script> | a |\n|---|---|\n| <img src=x onerror=alert(1)> | `<b>` |",
    "\x01aa\x02\x02<script>\x03script>alert(1)\x03/script>\x00\ud800",
    "<!--><script>alert(1)</script>--><![CDATA[<script>alert(1)</script>]]><?x <script>?>",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x onerror=alert(1)&#62;",
    '<a href="https://a.example" id=x name=x style=x class=modal>x</a>',
    "[x](https://a.example){hx-get=/x} ![x](https://a.example/i.png){onerror=alert(1)}",
    "<br onclick=alert(1)> <br/onload=x>",
    "[a](<javascript:alert(1)>) [b](<https://a.example/ onmouseover=x>)",
    "\u2028<script>\u2028alert(1)</script> ＜script＞ <\u0000script>",
]
TAGS = set(markdown._TAGS)
ATTRIBUTES = {
    *("href title target rel class tabindex role aria-label start type disabled checked".split()),  # noqa: SIM905
    *mathematics.ATTRIBUTES,
}


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    markdown.recent.clear()


def assert_harmless(html: str) -> None:
    for tag, attributes in Tags(html).found:
        assert tag in TAGS, html
        assert set(attributes) <= ATTRIBUTES, html
        for address in (attributes.get("href"),):
            assert address is None or re.match(r"(https?://|mailto:)", address, re.IGNORECASE), html
        if tag == "a":
            assert attributes["rel"] == "noopener nofollow ugc"
            assert attributes["target"] == "_blank"


@pytest.mark.parametrize("source", HOSTILE)
@pytest.mark.parametrize(
    "around", ["{}", "> {}", "- {}", "**{}", "[{}](https://a.example)", "| a |\n|---|\n| {} |", "a\n{}\n\n{}"]
)
def test_nothing_hostile_survives(source: str, around: str) -> None:
    source = around.replace("{}", source)
    html = render(source)
    assert_harmless(html)
    assert_harmless(render_block(source, closed=False))
    assert "Couldn" not in html
    assert markdown._sanitiser.clean(html) == html


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(
        st.sampled_from(
            [*HOSTILE, "\n", "\n\n", "`", "```\n", "**", "$", "$$", "[", "](", ")", "<", ">", "- ", "    ", "|"]
        ),
        max_size=12,
    )
)
def test_no_mixture_of_hostile_pieces_survives(pieces: list[str]) -> None:
    html = render("".join(pieces))
    assert_harmless(html)
    assert "Couldn" not in html


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=200))
def test_any_text_at_all_is_rendered(text: str) -> None:
    assert "Couldn" not in render(text)
    assert_harmless(render_plain(text))


def test_the_sanitiser_holds_even_where_the_writer_would_not() -> None:
    html = markdown._sanitiser.clean(
        '<div id="a" name="b" style="c" onclick="d" hx-get="e" data-hx-post="f" data-x="g" class="modal code">'
        '<img src="http://evil.example"><form><button formaction="javascript:x">h</button></form><svg><script>i</script></svg></div>'
    )
    assert html == '<div class="code">h</div>'


def test_blocks_are_found_in_order_with_their_indentation() -> None:
    source = "# ä\n\npara\nmore  \n\n   - a\n\n     b\n\n\n    code\n\n[x]: /y\n\n```\n😀\n```\ntext"
    assert [(source[start:end], kind) for start, end, kind in split_blocks(source)] == [
        ("# ä", "Heading"),
        ("para\nmore", "Paragraph"),
        ("   - a\n\n     b", "List"),
        ("    code", "CodeBlock"),
        ("```\n😀\n```", "CodeBlock"),
        ("text", "Paragraph"),
    ]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(alphabet="ab \n-*#>`$|[]()<!\\~=1.:é😀\t\r\x01\ud800", max_size=80))
def test_blocks_rendered_one_by_one_are_the_whole(source: str) -> None:
    blocks = split_blocks(source)
    assert all(before.end <= after.start for before, after in pairwise(blocks))
    if not markdown.defines_links(source):
        assert "".join(render_block(source[block.start : block.end]) for block in blocks) == render(source)


def test_nothing_to_say_is_nothing() -> None:
    assert render("") == render(" \n\n\t\n") == ""


class Broken(str):
    """A text that fails when it is read, as a native library could."""

    failure: type[BaseException] = RuntimeError

    def isascii(self) -> bool:
        raise self.failure


@pytest.mark.parametrize("failure", [RuntimeError, RecursionError, type("PanicException", (BaseException,), {})])
def test_a_failure_shows_the_escaped_source_and_says_so(failure: type[BaseException]) -> None:
    text = Broken("**a** <b>")
    text.failure = failure
    shown = '<p class="not-formatted">Couldn\'t format this text.</p>\n<pre class="plain" tabindex="0">**a** &lt;b&gt;</pre>\n'
    assert render(text) == shown
    assert render_block(text) == shown


def test_an_interrupt_is_no_failure_of_the_text() -> None:
    text = Broken("a")
    text.failure = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        render(text)
    with pytest.raises(KeyboardInterrupt):
        render_block(text)


def test_plain_text_keeps_its_lines_and_paragraphs() -> None:
    assert render_plain("a <b>\nc\n\n\n *d*\n") == "<p>a &lt;b&gt;<br>c</p>\n<p> *d*</p>\n"


N = 100_000
ENDLESS = {
    "5 MB of words": "word " * 1_000_000,
    "5 MB in one line": "x" * 5_000_000,
    "nested quotes": ">" * N + "a",
    "spaced quotes": "> " * N + "a",
    "nested lists in one line": "- " * N + "a",
    "nested lists": "\n".join(" " * (2 * i) + "- a" for i in range(400)),
    "brackets": "[" * N + "a" + "]" * N,
    "links": "[a](" * (N // 2),
    "images": "![" * N,
    "emphasis": "*a **a " * (N // 4),
    "strong inside strong": "**a " * 20_000 + "a** " * 20_000,
    "backticks": "".join("e" + "`" * i for i in range(700)),
    "a wide table": "|a" * 700 + "|\n" + "|-" * 700 + "|\n" + "|b\n" * 700,
    "tags": "<a " * N,
    "comments": "<!--" * (N // 2),
    "addresses": "http://a." * (N // 4),
    "one long address": "https://a.example/" + "x)" * N,
    "dollars": "$" * N,
    "dollar words": "$a " * N,
    "double dollars": "$$a " * (N // 2),
    "double dollars on lines": "$$ a\n" * (N // 4),
    "formula openers": "\\[" * N,
    "formula openers on lines": "\\[ a\n" * (N // 4),
    "inline formula openers": "\\(a" * N,
    "many formulas": "$x_1$ " * (N // 7),
    "many lines of formulas": "$$\nx\n- y\n$$\n" * (N // 8),
    "indented code with dollars": "    $$\nx\n\n" * (N // 40),
    "definitions": "".join(f"[{i}]: /u\n" for i in range(9_000)) + "[1] " * 20_000,
    "definition starts": "[a]:" * (N // 2),
    "long definitions": ("[" + "a" * 900 + "]: x\n") * 300,
    "paragraphs": "a\n\n" * (N // 8),
    "rules": "***\n" * (N // 8),
    "blank lines": "\n" * N + " " * N + "a",
    "spaces before a newline": ("a" + " " * 500 + "\n") * 500,
    "code": "```python\n" + "x = '\\\n" * 2_000 + "```\n",
    "entities": "&" * N,
    "carriage returns": "\r" * N,
    "nul": "a\0b" * (N // 2),
}


@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS.keys())
def test_the_worst_text_takes_bounded_time(source: str) -> None:
    began = time.thread_time()
    html = render(source)
    assert time.thread_time() - began < 3
    assert "Couldn" not in html


def test_long_text_is_shown_as_it_is() -> None:
    assert [block.end for block in split_blocks("a\n\n" * markdown.LONGEST)] == [3 * markdown.LONGEST]
    assert render("**a** <b>" + " x" * markdown.LONGEST).startswith('<pre class="plain" tabindex="0">**a** &lt;b&gt; x')
    long_block = "**a** " * (markdown.LONGEST_BLOCK // 6 + 1)
    html = render(f"*one*\n\n{long_block}\n\n*two*\n")
    assert html.startswith('<p><em>one</em></p>\n<pre class="plain" tabindex="0">**a** ')
    assert html.endswith("</pre>\n<p><em>two</em></p>\n")


def test_a_block_that_stands_for_too_much_html_is_shown_as_it_is() -> None:
    table = "|a" * 1_000 + "|\n" + "|-" * 1_000 + "|\n" + "|b\n" * 1_000
    assert render(f"# a\n\n{table}").startswith('<h3>a</h3>\n<pre class="plain" tabindex="0">|a|a')


def test_threads_share_one_renderer() -> None:
    sources = [f"# {i}\n\n$x_{i}$ `{i}` https://a.example/{i}\n\n```python\nx = {i}\n```\n" for i in range(40)]
    expected = [render(source) for source in sources]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(render, sources * 5)) == expected * 5
