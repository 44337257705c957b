"""manage.py create_token: make an API token for a user."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.accounts.services import tokens, users
from apps.core.errors import InvalidField


class Command(BaseCommand):
    help = "Make an API token and print it, this once. Example: manage.py create_token ada@example.org --scopes read"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", metavar="EMAIL")
        parser.add_argument("--scopes", default=",".join(tokens.SCOPES), help="what it may: read,write")
        parser.add_argument("--name", default="", help="what will use it")
        parser.add_argument("--json", action="store_true", help="print id, token and scopes as JSON")
        parser.add_argument("--dry-run", action="store_true", help="check what was asked for, and make nothing")
        parser.add_argument("--no-input", action="store_true", help="there are no questions; taken for scripts' sake")

    def handle(self, **options: Any) -> None:
        try:
            scopes = tokens.clean_scopes(options["scopes"].split(","))
        except InvalidField as error:
            raise CommandError(error.text, returncode=2) from None
        user = users.find_by_email(email=options["email"])
        if user is None or not user.is_active:
            raise CommandError(f"There is no active user with the address {options['email']}.")
        if options["dry_run"]:
            self.stderr.write("Dry run: nothing was written.")
            return
        try:
            row, plain = tokens.make_token(user=user, name=options["name"], scopes=scopes)
        except InvalidField as error:
            raise CommandError(error.text, returncode=2) from None
        self.stdout.write(
            json.dumps({"id": str(row.pk), "token": plain, "scopes": row.scopes}) if options["json"] else plain
        )
