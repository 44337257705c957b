"""Documents say what is there: links lead somewhere, commands and variables exist, tables agree with the code."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
READMES = ("README.md", "docs/operations.md")


def text_of(name):
    return (ROOT / name).read_text()


def options_of(command):
    app = get_commands()[command]
    parser = load_command_class(app, command).create_parser("manage.py", command)
    return {option for action in parser._actions for option in action.option_strings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_and_pictures_lead_to_files(path):
    text = path.read_text()
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r"(?:src|srcset)=\"([^\"]+)\"", text)
    local = [target for target in targets if not re.match(r"https?:|mailto:", target)]
    assert [target for target in local if not (path.parent / target).exists()] == []


def test_the_readme_is_short_and_its_pictures_are_light():
    assert len(text_of("README.md").splitlines()) <= 250
    pictures = list((ROOT / "docs/images").glob("*.png"))
    assert len(pictures) == 2
    assert [picture.name for picture in pictures if picture.stat().st_size > 150_000] == []


@pytest.mark.parametrize("name", READMES)
def test_variables_that_are_explained_exist(name):
    known = set(re.findall(r"^#([A-Z_]+)=", text_of(".env.example"), re.MULTILINE))
    rows = re.findall(r"^\| ((?:`[A-Z_]+`(?:, )?)+) \|", text_of(name), re.MULTILINE)
    named = {variable for row in rows for variable in re.findall(r"[A-Z_]+", row)}
    assert named
    assert named <= known


def test_the_readme_has_every_command_of_ours_with_options_that_exist():
    rows = dict(re.findall(r"^\| `(\w+)([^`]*)` \|", text_of("README.md"), re.MULTILINE))
    ours = {name for name, app in get_commands().items() if str(app).startswith("apps.")}
    assert ours
    assert ours <= set(rows)
    for command in ours:
        assert set(re.findall(r"--[\w-]+", rows[command])) <= options_of(command), command


def test_the_readme_has_every_shortcut():
    listed = text_of("README.md").split("## Keyboard")[1].split("## ")[0]
    arrows = {"ArrowLeft": "←", "ArrowRight": "→", "Mod": "Ctrl", "Escape": "Esc"}
    source = (ROOT / "static/js/shortcuts.js").read_text()
    # What needs something that no page has yet is not offered to readers either.
    keys = re.findall(r"\{ keys: \"([^\"]+)\"(?![^\n]*needs:)", source)
    assert len(keys) > 5
    for combination in keys:
        spelled = "+".join(arrows.get(key, key) for key in combination.split("+"))
        assert spelled in listed, combination


def test_the_api_guide_names_every_operation():
    from apps.conversations.api import api

    guide = re.sub(r"\{\w+\}", "{id}", text_of("docs/api.md"))
    for path in api.get_openapi_schema()["paths"]:
        short = re.sub(r"\{\w+\}", "{id}", path).removeprefix("/api/chats/{id}/messages/{id}")
        assert short in guide, path
