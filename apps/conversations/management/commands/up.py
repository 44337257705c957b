"""`manage.py up`: what `make up` runs once things are installed. Migrates, collects static files, serves, prints a link."""

from __future__ import annotations

import hashlib
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from apps.accounts.models import User
from apps.accounts.services import links, users
from apps.models.services import catalogue

FIRST_ADMINISTRATOR = "admin@example.com"


class Command(BaseCommand):
    help = "Start Bough: migrate, collect static files, serve, and print where. Example: manage.py up --port 8001"
    # The database may not be there yet, and system checks of it would say so in a trace.
    requires_system_checks: list[str] = []  # type: ignore[assignment]

    def add_arguments(self, parser: ArgumentParser) -> None:
        # manage.py gives the port to settings, from which address and origins follow.
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument("--host", default=settings.HOST)
        parser.add_argument("--no-worker", action="store_true", help="serve alone; kept for scripts")

    def handle(self, *args: Any, **options: Any) -> None:
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
        try:
            call_command("migrate", interactive=False, verbosity=0)
        except OperationalError as error:
            raise CommandError(f"The database can't be reached: {error}") from None
        collect_static()
        call_command("run_web", host=options["host"], port=options["port"], announce=self._announce)

    def _announce(self) -> None:
        """Say where Bough is, and how the first administrator gets in."""
        site = settings.SITE_URL
        administrator = User.objects.filter(is_superuser=True, is_active=True).order_by("date_joined").first()
        if administrator is None:
            administrator = users.create_user(email=FIRST_ADMINISTRATOR, superuser=True)
        _, secret = links.make_link(user=administrator)
        first = catalogue.available()[0]
        self.stdout.write(f"\n  Bough is at {site}  ·  {first.name} answers\n")
        self.stdout.write(f"  Sign in once as {administrator.email}:  {site}/sign-in/{secret}/\n")
        self.stdout.write("  Ctrl-C stops it.\n\n")
        self.stdout.flush()


def collect_static() -> None:
    """Collect static files, unless they are those of the last time."""
    if settings.DEBUG:
        return
    mark = settings.STATIC_ROOT / ".collected"
    state = _state_of_static()
    if mark.exists() and mark.read_text() == state:
        return
    sys.stderr.write("Collecting static files…\n")
    call_command("collectstatic", interactive=False, verbosity=0, clear=False)
    mark.write_text(state)


def _state_of_static() -> str:
    """Sum up names, sizes and times of all static files."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list([]):
            file = Path(storage.path(name)).stat()
            digest.update(f"{name} {file.st_size} {file.st_mtime_ns}\n".encode())
    return digest.hexdigest()
