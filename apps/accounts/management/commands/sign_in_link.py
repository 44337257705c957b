"""manage.py sign_in_link: print a link that signs a user in once."""

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from apps.accounts.services import links, users
from apps.core.errors import DomainError


class Command(BaseCommand):
    help = "Print a link that signs a user in once, within 15 minutes. Example: manage.py sign_in_link ada@example.org"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", metavar="EMAIL")
        parser.add_argument("--json", action="store_true", help="print the link and when it runs out as JSON")
        parser.add_argument("--no-input", action="store_true", help="there are no questions; taken for scripts' sake")

    def handle(self, **options: Any) -> None:
        user = users.find_by_email(email=options["email"])
        if user is None:
            raise CommandError(f"There is no user with the address {options['email']}.")
        try:
            row, secret = links.make_link(user=user)
        except DomainError as error:
            raise CommandError(error.text) from None
        link = settings.SITE_URL + reverse("accounts:sign_in_link", args=[secret])
        self.stdout.write(
            json.dumps({"link": link, "expiresAt": row.expires_at.isoformat()}) if options["json"] else link
        )
