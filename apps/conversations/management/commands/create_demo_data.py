"""Fill an account with made-up conversations, for a demonstration or a large test."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.accounts.models import User
from apps.conversations.services import bulk

# Conversations of one transaction, by messages: short enough not to hold up a running site.
TRANSACTION_MESSAGES = 5000
DEEP_NUMBER = -1


class Command(BaseCommand):
    help = "Make conversations for a user. The same arguments make the same ones, once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", metavar="EMAIL")
        parser.add_argument("--conversations", type=_between(0, 100_000), default=12, metavar="N", help="how many (12)")
        parser.add_argument("--messages", type=_between(1, 1_000_000), default=24, metavar="N", help="in each (24)")
        parser.add_argument(
            "--deep", type=_between(0, 1_000_000), default=0, metavar="N", help="and one path of N messages"
        )
        parser.add_argument("--seed", type=int, default=1, metavar="S", help="other seeds make others (1)")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")
        parser.add_argument("--dry-run", action="store_true", help="say what would be made")
        parser.add_argument("--no-input", action="store_true", help="accepted; nothing is ever asked")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(email__iexact=options["email"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['email']}.")
        result: dict[str, Any] = {"user": user.email, "created": 0, "skipped": 0, "messages": 0, "deep": None}
        for plans in _batches(_plans(user, options)):
            new = bulk.missing(plans) if options["dry_run"] else {row.pk for row in bulk.save_plans(plans)}
            result["created"] += len(new)
            result["skipped"] += len(plans) - len(new)
            result["messages"] += sum(plan.size for plan in plans if plan.conversation.pk in new)
            if options["deep"]:
                result["deep"] = str(plans[-1].conversation.pk)
            self.stderr.write(f"{result['created'] + result['skipped']} conversations")
        self.stdout.write(json.dumps(result) if options["json"] else _sentence(result))


def _plans(user: User, options: dict[str, Any]) -> Iterator[bulk.Plan]:
    """Plan what was asked for; the deep one last."""
    size, seed = options["messages"], options["seed"]
    for number in range(options["conversations"]):
        yield bulk.plan_conversation(user=user, messages=size, forks=size // 8, seed=seed, number=number)
    if options["deep"]:
        yield bulk.plan_conversation(user=user, messages=options["deep"], seed=seed, number=DEEP_NUMBER)


def _batches(plans: Iterator[bulk.Plan]) -> Iterator[list[bulk.Plan]]:
    """Gather plans into transactions."""
    for first in plans:
        rest = islice(plans, max(0, TRANSACTION_MESSAGES // first.size - 1))
        yield [first, *rest]


def _sentence(result: dict[str, Any]) -> str:
    noun = "conversation" if result["created"] == 1 else "conversations"
    return f"{result['created']} {noun} with {result['messages']} messages made, {result['skipped']} were there."


def _between(least: int, most: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not value.isdecimal() or not least <= int(value) <= most:
            raise argparse.ArgumentTypeError(f"a number from {least} to {most}")
        return int(value)

    return read
