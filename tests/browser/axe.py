"""What keeps people out, as axe finds it. Not here: which pages are looked at (test_accessibility.py)."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

GRAVE = ("serious", "critical")


def findings(page: Page) -> list[str]:
    """List the serious and critical findings on a page as it stands, with the elements they are about."""
    # A transition that is half done has colours that nobody reads.
    page.evaluate(
        "Promise.all(document.getAnimations().filter(one => one.playState === 'running'"
        " && one.effect.getComputedTiming().iterations !== Infinity).map(one => one.finished))"
    )
    violations = Axe().run(page).response["violations"]
    return [
        f"{violation['id']} ({violation['impact']}): {node['html'][:200]} {_why(node)}"
        for violation in violations
        if violation["impact"] in GRAVE
        for node in violation["nodes"]
    ]


def _why(node: dict[str, list[dict[str, str]]]) -> str:
    return "; ".join(check["message"] for check in [*node["any"], *node["all"], *node["none"]])
