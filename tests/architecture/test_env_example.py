"""`.env.example` names exactly the variables that settings read."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def variables_read():
    source = (ROOT / "config/settings.py").read_text()
    return set(re.findall(r"\b(?:env(?:\.\w+)?|secret)\(\s*\"([A-Z_]+)\"", source))


def variables_documented():
    return set(re.findall(r"^#([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))


def test_the_example_names_every_variable_and_no_other():
    assert variables_read() == variables_documented()
    assert len(variables_read()) > 15


# Setting a variable is not reading one: Django's own name, and litellm's switch against the network.
SETTERS = {"config/asgi.py", "config/celery.py", "apps/providers/litellm_chat.py"}


def test_only_settings_read_the_environment():
    readers = {
        path.relative_to(ROOT).as_posix()
        for folder in ("apps", "config")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"os\.environ|os\.getenv", path.read_text())
    }
    assert readers <= SETTERS
