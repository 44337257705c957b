"""Rules of the JavaScript, and its unit tests where Node is there: Node is never needed to run or build anything."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "static" / "js").rglob("*.js"))
# Where the server's own sanitised HTML, and nothing else, becomes elements.
MAKES_ELEMENTS = {"page.js", "painting.js", "messages.js"}
# Before these versions Node does not see by itself that a file is a module.
OLDEST_NODE = (20, 19)


def _names(text: str) -> set[str]:
    return set(re.findall(r'from "bough/([\w/]+)"', text))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_modules_are_short_checked_and_say_what_they_are_for(module: Path):
    lines = module.read_text().splitlines()

    assert len(lines) <= 150
    assert lines[0] == "// @ts-check"
    assert lines[1].startswith("/** ")


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_only_three_modules_make_elements_out_of_text(module: Path):
    text = module.read_text()

    assert not re.search(r"\beval\(|new Function|document\.write|outerHTML\s*=[^=]|DOMParser", text)
    if module.name not in MAKES_ELEMENTS:
        assert not re.search(r"innerHTML\s*=|insertAdjacentHTML|createContextualFragment", text)


def test_every_import_names_a_module_and_every_module_is_used():
    texts = {module.stem: module.read_text() for module in MODULES}
    used = set().union(*(_names(text) for text in texts.values()))

    assert used <= set(texts)
    assert set(texts) - used == {"main"}


def test_modules_know_each_other_by_the_import_map_alone():
    for module in MODULES:
        assert not re.search(r'^\s*(import|export) .*from "(?!bough/)', module.read_text(), re.MULTILINE), module.name


def test_the_pure_modules_do_what_they_promise():
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed; it is needed for these tests alone.")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(map(int, version.strip("v\n").split(".")[:2])) < OLDEST_NODE:
        pytest.skip(f"Node {version.strip()} is too old for these tests.")

    done = subprocess.run([node, "--test", "tests/js/"], cwd=ROOT, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stdout
