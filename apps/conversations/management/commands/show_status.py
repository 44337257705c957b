"""`manage.py show_status`: how the installation is, in one look."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.conversations.services import status

PROBLEMS_EXIT = 3
Row = tuple[str, ...]


class Command(BaseCommand):
    help = "Show what Bough runs on, who works, what waits and what failed. Example: manage.py show_status --json"
    # It says itself what is wrong, also with the database.
    requires_system_checks: list[str] = []  # type: ignore[assignment]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print it as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        found = status.look()
        self.stdout.write(json.dumps(found) if options["json"] else _table(_rows(found)))
        if found["problems"]:
            raise CommandError("\n".join(found["problems"]), returncode=PROBLEMS_EXIT)


def _table(rows: Iterator[Row]) -> str:
    """Align the first two columns; a row without a name goes on with the one above."""
    filled = [(*row, "", "")[:3] for row in rows]
    width = max(len(second) for _, second, third in filled if third)
    return "\n".join(f"{first:<10}{second:<{width}}  {third}".rstrip() for first, second, third in filled)


def _rows(found: dict[str, Any]) -> Iterator[Row]:
    yield "Bough", found["version"], f"{found['shape']}, answers are written {_where(found['generations'])}"
    yield "database", *_database(found["database"])
    yield "redis", *_redis(found["redis"])
    yield from _named("runners", [_runner(one) for one in found["runners"] or ()])
    yield "queue", *_queue(found["queue"])
    yield from _named("models", [(slug, str(number)) for slug, number in found["models"].items()])
    yield "disk", *_disk(found["disk"])
    yield "failures", _failures(found["failures"])


def _named(name: str, rows: list[Row]) -> Iterator[Row]:
    for place, row in enumerate(rows or [("none",)]):
        yield "" if place else name, *row


def _where(host: str) -> str:
    return "in the web process" if host == "inline" else "by runners of their own"


def _database(found: dict[str, Any] | None) -> Row:
    return (f"{found['vendor']} {found['version']}", _size(found["bytes"])) if found else ("away",)


def _redis(found: dict[str, Any] | None) -> Row:
    if found is None:
        return ("none", "live text in memory")
    return (found["version"], f"{_size(found['bytes'])} in use") if found["connected"] else ("away",)


def _runner(one: dict[str, Any]) -> Row:
    word = "draining" if one["draining"] else "" if one["alive"] else "gone"
    load = f"{one['active']} of {one['concurrency']} answers"
    return one["name"], ", ".join(filter(None, (f"seen {_age(one['seconds_since_seen'])} ago", load, word)))


def _queue(found: dict[str, Any] | None) -> Row:
    if found is None:
        return ("unknown",)
    oldest = f"the first since {_age(found['oldest_seconds'])}" if found["queued"] else ""
    return f"{found['queued']} queued", ", ".join(filter(None, (f"{found['running']} running", oldest)))


def _disk(found: dict[str, Any] | None) -> Row:
    return (f"{_size(found['free_bytes'])} free", f"of {_size(found['bytes'])}") if found else ("unknown",)


def _failures(found: dict[str, Any] | None) -> str:
    if found is None:
        return "unknown"
    codes = ", ".join(f"{code or 'no code'} {number}" for code, number in found["codes"].items())
    return f"{found['number']} in the last hour" + (f": {codes}" if codes else "")


def _size(number: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit in ("bytes", "kB") else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
