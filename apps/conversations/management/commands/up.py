"""`manage.py up`: what `make up` runs once things are installed. Migrates, collects static files, serves, prints a link."""

from __future__ import annotations

import asyncio
import hashlib
import socket
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
from apps.core.db import in_db
from apps.core.programs import Programs, commands_of
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
        parser.add_argument("--no-worker", action="store_true", help="start neither Celery's worker nor its scheduler")

    def handle(self, *args: Any, **options: Any) -> None:
        is_external = settings.GENERATIONS_HOST == "external"
        if is_external:
            refuse_taken(options["host"], options["port"])
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
        try:
            call_command("migrate", interactive=False, verbosity=0)
        except OperationalError as error:
            raise CommandError(f"The database can't be reached: {error}") from None
        collect_static()
        if is_external:
            asyncio.run(self._run_all(options["host"], options["port"], has_worker=not options["no_worker"]))
        else:
            call_command("run_web", host=options["host"], port=options["port"], announce=self._announce)

    async def _run_all(self, host: str, port: int, *, has_worker: bool) -> None:
        """Run the processes of the scaled shape, one of each; the embedded one is a single process, this one.

        Raises: CommandError when one of them ended, after all others were.
        """
        names = ["web", "generations", *(["worker", "beat"] if has_worker and settings.REDIS_URL else [])]
        commands = commands_of(settings.BASE_DIR / "Procfile", names)
        commands["web"] += ["--host", host, "--port", str(port)]

        async def announce() -> None:
            await until_serving(host, port)
            await in_db(self._announce)

        ended = await Programs(commands, folder=settings.BASE_DIR, say=self.stderr.write).run(announce)
        if ended:
            raise CommandError(f"{ended}; all others were stopped.")

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


def refuse_taken(host: str, port: int) -> None:
    """Look whether a port is free, before somebody else's server is taken for ours. Raises: CommandError."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise CommandError(f"Bough can't listen here: {error}. Choose another port with --port.") from None


async def until_serving(host: str, port: int) -> None:
    """Wait until somebody listens."""
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return


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
