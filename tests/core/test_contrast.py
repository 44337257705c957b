"""Colours: each pair that stands on one another is measured by WCAG's formula, in the light and in the dark."""

import re
from pathlib import Path

import pytest

TOKENS = Path(__file__).parents[2] / "static/css/tokens.css"
PAIR = re.compile(r"--([\w-]+):\s*light-dark\((#[0-9A-Fa-f]{6}),\s*(#[0-9A-Fa-f]{6})\)")

GROUNDS = ("bg", "surface", "sidebar", "tint", "hover", "accent-soft")
# Text needs 4.5, the outline of a control and the ring of focus 3 (WCAG 2.2, 1.4.3 and 1.4.11).
TEXT = [(ink, ground) for ink in ("text", "muted") for ground in GROUNDS]
TEXT += [(ink, ground) for ink in ("accent", "danger", "warning", "info") for ground in ("bg", "surface", "tint")]
TEXT += [("on-accent", "accent"), ("on-accent", "accent-strong"), ("accent", "hover")]
TEXT += [("danger", "danger-soft"), ("warning", "warning-soft"), ("danger", "hover")]
SHAPES = [("control", "bg"), ("control", "surface"), ("control", "sidebar")]
SHAPES += [("accent", ground) for ground in GROUNDS]


def read_tokens():
    return {name: pair for name, *pair in PAIR.findall(TOKENS.read_text())}


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_formula_knows_black_on_white():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("ink", "ground"), TEXT, ids="-on-".join)
def test_text_can_be_read(ink, ground, theme):
    tokens = read_tokens()
    assert contrast(tokens[ink][theme], tokens[ground][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("shape", "ground"), SHAPES, ids="-on-".join)
def test_controls_and_focus_can_be_seen(shape, ground, theme):
    tokens = read_tokens()
    assert contrast(tokens[shape][theme], tokens[ground][theme]) >= 3
