"""`manage.py run_web`: daphne with our start and drain, since daphne knows no lifespan and drops sockets on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import threading
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    # What `up` says once the server listens; not an argument of the command line.
    stealth_options = ("announce",)
    help = "Serve pages, API and sockets, and write answers. Example: manage.py run_web --port 8000"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.HOST)
        parser.add_argument("--port", type=int, default=settings.PORT)

    def handle(self, *args: Any, **options: Any) -> None:
        # The reactor must be asyncio's before anything else of Twisted is imported.
        from twisted.internet import asyncioreactor  # noqa: PLC0415

        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        asyncioreactor.install(loop)
        from apps.conversations.launcher import serve  # noqa: PLC0415

        take_all_files()
        threading.Thread(target=_know_models, name="models-first", daemon=True).start()
        _load_libraries()
        gc.collect()
        gc.freeze()
        serve(loop, host=options["host"], port=options["port"], announce=options.get("announce"))


def take_all_files() -> None:
    """Raise the soft limit of open files, often 1,024, to the hard one: each socket is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some systems name a hard limit that they don't grant.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _load_libraries() -> None:
    """Import what costs seconds of CPU before answers run, never beside them."""
    from apps.providers import litellm_chat, registry  # noqa: PLC0415

    if any(isinstance(provider, litellm_chat.LiteLLMChat) for provider in registry.current().values()):
        litellm_chat.load_litellm()


def _know_models() -> None:
    """Ask the providers what they serve before the first page needs it."""
    from apps.models.services import catalogue  # noqa: PLC0415

    catalogue.refresh()
