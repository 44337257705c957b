"""`manage.py run_generations`: an external runner; as many of them as wanted, beside any number of web processes."""

from __future__ import annotations

import asyncio
import signal
from argparse import ArgumentParser
from contextlib import ExitStack
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.conversations.runner.runner import Runner
from apps.conversations.services import live
from apps.core import metrics
from apps.providers import litellm_chat, registry


class Command(BaseCommand):
    help = "Write answers, for web processes with BOUGH_GENERATIONS=external. Example: manage.py run_generations"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--concurrency", type=int, default=100, help="answers at once (100)")
        parser.add_argument("--metrics-port", type=int, metavar="N", help="serve figures for Prometheus on this port")
        parser.add_argument(
            "--metrics-host", default="127.0.0.1", help="and on this address (127.0.0.1); no token is asked"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # What costs seconds of CPU is imported before answers run, never beside them.
        if any(isinstance(provider, litellm_chat.LiteLLMChat) for provider in registry.current().values()):
            litellm_chat.load_litellm()
        with ExitStack() as stack:
            if options["metrics_port"] is not None:
                self._serve_figures(stack, options["metrics_host"], options["metrics_port"])
            asyncio.run(self._run(max(1, options["concurrency"])))

    def _serve_figures(self, stack: ExitStack, host: str, port: int) -> None:
        try:
            port = stack.enter_context(metrics.served(host, port))
        except OSError as error:
            raise CommandError(f"Figures can't be served on {host}:{port}: {error}") from None
        self.stderr.write(f"Figures at http://{host}:{port}/metrics\n")

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
