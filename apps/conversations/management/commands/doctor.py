"""`manage.py doctor`: does the database keep its rules? And with --fix: make it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.conversations.services import invariants, repairs
from apps.conversations.services.invariants import Problem
from apps.core.locks import LOCKED_EXIT, Locked, only_one

FOUND_EXIT = 3


class Command(BaseCommand):
    help = "Check all rules of the database while Bough serves. Example: manage.py doctor --fix"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--fix", action="store_true", help="repair what can be; no text is ever removed")
        parser.add_argument("--json", action="store_true", help="print what was found as JSON")
        parser.add_argument("--no-input", action="store_true", help="there are no questions; taken for scripts' sake")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with only_one("doctor"):
                repaired, left = self._examine(fix=options["fix"])
        except Locked:
            raise CommandError("Another doctor is running.", returncode=LOCKED_EXIT) from None
        self.stdout.write(json.dumps(_as_json(repaired, left)) if options["json"] else _as_text(repaired, left))
        if left:
            advice = "What can be repaired, is with --fix." if not options["fix"] else "These are left."
            raise CommandError(f"The database breaks {len(left)} of its rules. {advice}", returncode=FOUND_EXIT)

    def _examine(self, *, fix: bool) -> tuple[dict[str, int], list[Problem]]:
        if not fix:
            return {}, invariants.find_problems(progress=self._say)
        done = repairs.repair_problems(progress=self._say)
        return {name: count for name, count in done.repaired.items() if count}, done.left

    def _say(self, table: str, rows: int) -> None:
        """Say how far it is: after the first rows, and every fifty thousand."""
        if rows % 50_000 == 0:
            self.stderr.write(f"{table}: {rows:,}")


def _as_json(repaired: dict[str, int], left: Iterable[Problem]) -> dict[str, Any]:
    problems = [
        {
            "rule": problem.rule.name,
            "sentence": problem.rule.sentence,
            "count": problem.count,
            "ids": [str(pk) for pk in problem.ids],
            "advice": problem.rule.advice,
        }
        for problem in left
    ]
    return {"ok": not problems, "rules": len(invariants.RULES), "repaired": repaired, "problems": problems}


def _as_text(repaired: dict[str, int], left: Iterable[Problem]) -> str:
    lines = [f"repaired  {name}: {count}" for name, count in repaired.items()]
    for problem in left:
        rule = problem.rule
        lines.append(f"{rule.name}: {problem.count}  ({rule.sentence})")
        lines += [f"    {pk}" for pk in problem.ids]
        if problem.count > len(problem.ids):
            lines.append(f"    … and {problem.count - len(problem.ids)} more")
        if rule.advice:
            lines.append(f"    {rule.advice}")
    return "\n".join(lines) if left else "\n".join([*lines, f"All {len(invariants.RULES)} rules hold."])
