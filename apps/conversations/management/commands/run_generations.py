"""`manage.py run_generations`: an external runner; as many of them as wanted, beside any number of web processes."""

from __future__ import annotations

import asyncio
import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from apps.conversations.runner.runner import Runner
from apps.conversations.services import live
from apps.providers import litellm_chat, registry


class Command(BaseCommand):
    help = "Write answers, for web processes with BOUGH_GENERATIONS=external. Example: manage.py run_generations"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--concurrency", type=int, default=100, help="answers at once (100)")

    def handle(self, *args: Any, **options: Any) -> None:
        # What costs seconds of CPU is imported before answers run, never beside them.
        if any(isinstance(provider, litellm_chat.LiteLLMChat) for provider in registry.current().values()):
            litellm_chat.load_litellm()
        asyncio.run(self._run(max(1, options["concurrency"])))

    async def _run(self, concurrency: int) -> None:
        """Write answers until a signal; the second one stops waiting for those that run."""
        over = asyncio.Event()
        await live.start_bus()
        runner = Runner(live.bus(), concurrency=concurrency)

        def end() -> None:
            if over.is_set():
                runner.interrupt_all()
            over.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, end)
        await runner.start()
        self.stderr.write(f"Writing answers, at most {concurrency} at once.\n")
        await over.wait()
        await runner.drain()
        for provider in registry.current().values():
            await provider.aclose()
        await live.stop_bus()
