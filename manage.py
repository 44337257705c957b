#!/usr/bin/env python
"""Django's entry point, and nothing else but one step before it: `up` makes the keys that settings need."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Run one management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if sys.argv[1:2] in (["up"], ["run_web"]) and (port := _given_port(sys.argv)):
        os.environ["PORT"] = port  # address and origins follow from it
    if sys.argv[1:2] == ["up"]:
        from config.dotenv import ensure_env_file  # noqa: PLC0415  (before settings can be read)

        ensure_env_file(Path(__file__).resolve().parent / ".env")
    from django.core.management import execute_from_command_line  # noqa: PLC0415  (reads settings)

    execute_from_command_line(sys.argv)


def _given_port(arguments: list[str]) -> str:
    """Find the value of --port."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument == "--port":
            return following
        if argument.startswith("--port="):
            return argument.removeprefix("--port=")
    return ""


if __name__ == "__main__":
    main()
