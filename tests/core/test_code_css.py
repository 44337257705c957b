"""The colours of code: every pair readable on every surface that code can stand on."""

import re
from pathlib import Path

import pytest

from apps.core import highlighting, mathematics

SHEETS = Path(__file__).parents[2] / "static" / "css"
CSS = (SHEETS / "code.css").read_text()
PAIR = re.compile(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)")
TOKENS = {name: (light, dark) for name, light, dark in PAIR.findall((SHEETS / "tokens.css").read_text())}
PAIRS = {name: (light, dark) for name, light, dark in PAIR.findall(CSS)}
SURFACES = ("bg", "surface", "sidebar", "tint")


def luminance(colour: str) -> float:
    def linear(value: float) -> float:
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("name", sorted(name for name in PAIRS if "surface" not in name))
@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_each_colour_of_code_is_readable_on_each_surface(name: str, scheme: int) -> None:
    for surface in SURFACES:
        assert contrast(PAIRS[name][scheme], TOKENS[surface][scheme]) >= 4.5, surface


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_changed_lines_are_readable_on_their_own_surface(scheme: int) -> None:
    assert contrast(PAIRS["code-tag"][scheme], PAIRS["code-deleted-surface"][scheme]) >= 4.5
    assert contrast(PAIRS["code-string"][scheme], PAIRS["code-inserted-surface"][scheme]) >= 4.5


def test_every_class_that_is_written_has_a_rule_and_every_rule_a_class() -> None:
    assert {f".{name}" for name in highlighting.CLASSES} == set(re.findall(r"\.code (\.\w+)", CSS))
    assert set(mathematics.CLASSES) == set(re.findall(r"\.(tex-[\w-]+)", CSS))
    assert len(PAIRS) > 10
