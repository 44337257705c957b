"""manage.py create_user: make a user without a sign-up page."""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from apps.accounts.services import users
from apps.core.errors import DomainError


class Command(BaseCommand):
    help = "Make a user; prints the id. Example: manage.py create_user ada@example.org --staff --superuser"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", metavar="EMAIL")
        parser.add_argument(
            "--password-stdin", action="store_true", help="read the password from the first line of stdin"
        )
        parser.add_argument("--staff", action="store_true", help="may open /admin/")
        parser.add_argument("--superuser", action="store_true", help="may do everything there; staff as well")
        parser.add_argument("--json", action="store_true", help="print id, email and name as JSON")
        parser.add_argument("--dry-run", action="store_true", help="say what would be made, and make nothing")
        parser.add_argument("--no-input", action="store_true", help="there are no questions; taken for scripts' sake")

    def handle(self, **options: Any) -> None:
        password = self.read_password() if options["password_stdin"] else None
        try:
            with transaction.atomic():
                user = users.create_user(
                    email=options["email"], password=password, staff=options["staff"], superuser=options["superuser"]
                )
                transaction.set_rollback(options["dry_run"])
        except DomainError as error:
            raise CommandError(error.text) from None
        data = {"id": str(user.pk), "email": user.email, "username": user.username, "superuser": user.is_superuser}
        self.stdout.write(json.dumps(data) if options["json"] else str(user.pk))
        if password is None:
            self.stderr.write("No password was set: print a way in with manage.py sign_in_link.")
        if options["dry_run"]:
            self.stderr.write("Dry run: nothing was written.")

    def read_password(self) -> str:
        """Read one line; a weak password is the operator's choice, so it is only remarked upon."""
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise CommandError("No password came on stdin.", returncode=2)
        try:
            validate_password(password)
        except ValidationError as weak:
            self.stderr.write(f"Careful: {' '.join(weak.messages)}")
        return password
