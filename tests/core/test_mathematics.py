"""Formulas as MathML, and the bounds that keep hostile ones out."""

import subprocess
import sys
import textwrap

import pytest

from apps.core.mathematics import to_mathml


@pytest.mark.parametrize(
    "tex",
    [
        r"\frac{a}{b}",
        r"\begin{aligned} a &= b \\ - c &= d \end{aligned}",
        r"\begin{split} a &= b \end{split}",
        r"\left\{ x \in [0, 1) \right\}",
        r"f(x) = \sum_{i=0}^n \binom{n}{i} \hat{x}_i",
        r"x \tag{1}",
        r"]a, b[ \cup (c, d]",
    ],
)
def test_ordinary_formulas_become_mathml(tex: str) -> None:
    mathml = to_mathml(tex, display=True)
    assert mathml is not None
    assert mathml.startswith('<math display="block">')
    assert " style=" not in mathml


def test_alignment_becomes_classes() -> None:
    assert 'class="tex-right tex-flush-right"' in (
        to_mathml(r"\begin{aligned} a &= b \end{aligned}", display=True) or ""
    )


@pytest.mark.parametrize(
    "tex",
    [
        r"\unknown",
        r"\frac{a",
        r"a & b",
        r"\href{javascript:alert(1)}{x}",
        r"\htmlData{a=b}{x}",
        r"\includegraphics{x}",
        r"\newcommand{\a}{\a\a}\a",
        r"\def\a{b}\a",
        r"\renewcommand{\sum}{x}\sum",
        "x" * 3_001,
        "{" * 40 + "}" * 40,
        r"\alpha " * 301,
        r"\left(" * 31 + r"\right)" * 31,
        "((((((",
        r"\lbrace \langle ( [ \{ ⟨",
    ],
)
def test_what_is_not_a_safe_formula_is_refused(tex: str) -> None:
    assert to_mathml(tex, display=True) is None


HOSTILE = [
    r'"{" * 1500 + "x" + "}" * 1499',
    r'"\\frac{" * 400',
    r'"\\frac1" * 498',
    r'"\\hat" * 600 + " x"',
    r'"\\sqrt" * 500 + " x"',
    r'"\\left(" * 300 + "x" + "\\right)" * 200',
    r'"\\begin{matrix}" * 200',
    r'"\\color{red}" * 250 + "x"',
    r'"\\lim\\limits" * 240',
    r'"x^{" * 700 + "y" + "}" * 700',
    r'"(" * 40',
    r'"[" * 1000 + "x" + "]" * 1000',
    r'"(x^2)(" * 60',
    r'"{(}" * 60',
    r'"\\langle " * 60',
    r'"\\lVert " * 60',
    r'"⟨" * 60',
    r'"\\begin{matrix}" + "( & " * 60 + r"\\end{matrix}"',
    r'"\\\\[" * 60',
]


@pytest.mark.parametrize("tex", HOSTILE)
def test_a_hostile_formula_neither_ends_the_process_nor_holds_it_up(tex: str) -> None:
    # In a process of its own, on a small stack: where the bounds fail there is nothing left to assert with.
    program = f"""
        import threading
        from apps.core.mathematics import to_mathml
        threading.stack_size(2 * 1024 * 1024)
        thread = threading.Thread(target=lambda: to_mathml({tex}, display=True))
        thread.start()
        thread.join()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=20, check=False)
    assert done.returncode == 0
