"""`manage.py sweep`: end what is dead, remove what has run out. The scheduler runs it; so may cron."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.conversations.services import upkeep
from apps.core.locks import LOCKED_EXIT, Locked


class Command(BaseCommand):
    help = "End answers that nobody writes, and remove what was deleted or ran out. Example: manage.py sweep --dry-run"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the counts as JSON")
        parser.add_argument("--dry-run", action="store_true", help="say the same counts, and change nothing")
        parser.add_argument("--no-input", action="store_true", help="there are no questions; taken for scripts' sake")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            counts = upkeep.run(dry_run=options["dry_run"])
        except Locked:
            raise CommandError("Another sweep is running.", returncode=LOCKED_EXIT) from None
        self.stdout.write(json.dumps(counts) if options["json"] else _table(counts))
        if options["dry_run"]:
            self.stderr.write("Dry run: nothing was changed.")


def _table(counts: dict[str, int]) -> str:
    width = max(len(name) for name in counts)
    return "\n".join(f"{name.replace('_', ' '):<{width}}  {count:>6}" for name, count in counts.items())
