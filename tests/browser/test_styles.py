"""The styles that are served are the styles that were written: making them small changes no selector."""

from pathlib import Path

import pytest
import rcssmin
from playwright.sync_api import Page

SHEETS = sorted((Path(__file__).resolve().parents[2] / "static" / "css").glob("*.css"))
READ = """text => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(text);
  const condition = (rule) => rule.conditionText?.replaceAll(": ", ":");
  const flat = (rules) => [...rules].flatMap((rule) =>
    [rule.selectorText ?? condition(rule) ?? rule.name ?? rule.nameList?.join() ?? "", ...flat(rule.cssRules ?? [])]);
  return flat(sheet.cssRules);
}"""


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.stem)
def test_a_smaller_sheet_has_the_same_selectors(page: Page, sheet: Path):
    """`.md :is(h3)` becomes `.md:is(h3)` within a layer, another selector; `.md *:is(h3)` stays what it is."""
    written = sheet.read_text()

    assert page.evaluate(READ, rcssmin.cssmin(written)) == page.evaluate(READ, written)
