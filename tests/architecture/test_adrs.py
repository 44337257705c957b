"""Records of decisions: numbered without gaps, and each says what, why, what was measured and what was rejected."""

import re
from pathlib import Path

import pytest

ADRS = sorted((Path(__file__).resolve().parents[2] / "docs/adr").glob("*.md"))
SECTIONS = ("What", "Why", "What was rejected")


def sections_of(text):
    """Map each heading of the second level to what stands below it."""
    _, *pieces = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(pieces[::2], pieces[1::2], strict=True))


def test_numbers_are_unique_and_without_gaps():
    numbers = [int(path.name[:4]) for path in ADRS]
    assert numbers == list(range(1, len(ADRS) + 1))
    assert len(ADRS) > 5


@pytest.mark.parametrize("path", ADRS, ids=lambda path: path.stem)
def test_a_record_says_what_why_and_what_was_rejected(path):
    text = path.read_text()
    assert re.match(rf"# {path.name[:4]} – \S.*\n\nStatus: accepted, \w+ \d{{4}}\.\n", text)
    sections = sections_of(text)
    assert [name for name in SECTIONS if not sections.get(name, "").strip()] == []
    assert list(sections).index("What") < list(sections).index("Why") < list(sections).index("What was rejected")


@pytest.mark.parametrize("path", ADRS, ids=lambda path: path.stem)
def test_a_record_has_figures(path):
    sections = sections_of(path.read_text())
    told = sections.get("What was measured", sections.get("Why", ""))
    assert re.search(r"\d\s?(µs|ms|s|kB|MB|%)\b", told)


@pytest.mark.parametrize("path", ADRS, ids=lambda path: path.stem)
def test_a_record_refers_to_files_and_records_that_exist(path):
    root = path.parents[2]
    text = path.read_text()
    named = {name for name in re.findall(r"`([\w./-]+)`", text) if re.match(r"(apps|config|docs|static|tests)/", name)}
    assert [name for name in named if not (root / name).exists()] == []
    numbers = {path.name[:4] for path in ADRS}
    assert set(re.findall(r"ADR-(\d{4})", text)) <= numbers


def test_records_that_the_code_refers_to_exist():
    root = ADRS[0].parents[2]
    files = [file for folder in ("apps", "config") for file in (root / folder).rglob("*.py")]
    named = {number for file in files for number in re.findall(r"ADR-(\d{4})", file.read_text())}
    assert named
    assert named <= {path.name[:4] for path in ADRS}
