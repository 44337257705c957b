"""What imports can't show: string foreign keys, the way to owned rows, markup in the wrong place, names that say nothing."""

import ast
from pathlib import Path

from django.apps import apps

ROOT = Path(__file__).resolve().parents[2]
ORDER = ["core", "accounts", "models", "conversations"]
OWNED = {"Conversation", "Message", "Generation", "ApiToken", "MessageRevision"}
DOORS = {
    "views",
    "api",
    "consumers.py",
    "tasks.py",
    "management",
    "presenters.py",
    "forms.py",
    "templatetags",
    "process.py",
    "admin.py",
}


def python_files():
    return [
        path
        for folder in ("apps", "config")
        for path in (ROOT / folder).rglob("*.py")
        if "migrations" not in path.parts
    ]


def test_no_foreign_key_points_upwards():
    seen = 0
    for model in apps.get_models():
        if model._meta.app_label not in ORDER:
            continue
        for field in model._meta.get_fields():
            target = getattr(field, "related_model", None)
            if field.auto_created or target is None or target._meta.app_label not in ORDER:
                continue
            seen += 1
            assert ORDER.index(target._meta.app_label) <= ORDER.index(model._meta.app_label), field
    assert seen > 10


def test_doors_reach_owned_rows_only_through_visible_to():
    """Outside models and services, `.objects` of an owned model is followed by `.visible_to` alone."""
    seen = 0
    for path in python_files():
        if not DOORS & set(path.relative_to(ROOT).parts):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Attribute):
                continue
            if node.value.attr == "objects" and getattr(node.value.value, "id", "") in OWNED:
                assert node.attr == "visible_to", f"{path}:{node.lineno}"
        seen += 1
    assert seen > 10


def test_markup_is_marked_safe_in_one_place_alone():
    marking = {
        path.relative_to(ROOT).as_posix()
        for path in python_files()
        if "mark_safe" in path.read_text() or "SafeString(" in path.read_text()
    }
    assert marking <= {"apps/core/markdown.py"}


def test_templates_carry_no_script_or_style_of_their_own():
    templates = list((ROOT / "templates").rglob("*.html"))
    assert len(templates) > 20
    for path in templates:
        text = path.read_text()
        assert "<style" not in text, path
        assert " style=" not in text, path
        assert "hx-on" not in text, path
        assert "javascript:" not in text, path
        assert "|safe" not in text, path
        for piece in text.split("<script")[1:]:
            assert " src=" in piece.split(">")[0], path


def test_no_module_has_a_name_that_says_nothing():
    assert not {path.stem for path in python_files()} & {"utils", "helpers", "common", "misc", "base_views", "manager"}
