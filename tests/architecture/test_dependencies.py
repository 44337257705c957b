"""docs/dependencies.md names every direct dependency, as it is locked and licensed, and the code uses no other."""

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| ([\w-]+) \| ([\w.]+) \| ([^|]+?) \| ([^|]+?) \|", re.MULTILINE)
KNOWN_LICENCES = {"MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "MPL-2.0", "LGPL-3.0-only"}
# Used through the library that brings it, or only named in settings.
BROUGHT = {"pydantic": "django-ninja", "pydantic_core": "django-ninja", "twisted": "daphne", "asgiref": "django"}
NAMED_IN_SETTINGS = {"psycopg", "django-htmx", "django-template-partials"}


def normal(name):
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower()


def declared():
    """Map base, test and dev to the names that pyproject.toml gives them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"base": project["dependencies"], **project["optional-dependencies"]}
    return {group: {normal(name) for name in names} for group, names in groups.items()}


def described():
    """Map base, test and dev to the rows of their sections: name → (release, licence)."""
    _, *sections = re.split(r"^## .+\n", (ROOT / "docs/dependencies.md").read_text(), flags=re.MULTILINE)
    tables = [{name: (release, licence) for name, release, licence, _ in ROW.findall(text)} for text in sections]
    rows = [{name: row for name, row in table.items() if name != "library"} for table in tables]
    return dict(zip(("base", "test", "dev"), rows, strict=True))


def locked():
    lines = (ROOT / "requirements/dev.txt").read_text()
    return {normal(name): version for name, version in re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==([\w.]+)", lines, re.M)}


DESCRIBED = [(name, *row) for table in described().values() for name, row in table.items()]


def imported():
    """Name what apps and config import that is neither ours nor Python's."""
    names = set()
    for folder in ("apps", "config"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    names |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names - {"apps", "config"}


def test_every_dependency_has_a_line_and_every_line_a_dependency():
    assert {group: set(rows) for group, rows in described().items()} == declared()
    assert len(DESCRIBED) > 30


def test_lines_name_the_locked_releases():
    versions = locked()
    assert {name: release for name, release, _ in DESCRIBED} == {name: versions[name] for name, *_ in DESCRIBED}


@pytest.mark.parametrize(("name", "release", "licence"), DESCRIBED)
def test_a_licence_is_the_one_that_the_package_states(name, release, licence):
    assert set(re.split(r" (?:AND|OR) ", licence)) <= KNOWN_LICENCES
    try:
        stated = metadata.metadata(name).get("License-Expression")
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed here.")
    assert stated in (None, licence)


def test_the_code_imports_what_is_declared_and_nothing_else():
    homes = metadata.packages_distributions()
    found = {normal(home) for name in imported() - set(BROUGHT) for home in homes[name]}
    assert found | NAMED_IN_SETTINGS == declared()["base"]
    assert set(BROUGHT.values()) <= declared()["base"]
