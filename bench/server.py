"""The servers that are measured: the provider, a bare relay, and Bough as `manage.py up` starts it."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import ROOT, Process, free_port


@dataclass(frozen=True)
class Person:
    """Someone who reads: a token for the API, a session for pages."""

    email: str
    token: str
    session: str


class Provider:
    """The stamped provider on a free port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.process = Process(
            "provider", ["-m", "bench.upstream", "--port", str(self.port)], log=folder / "provider.log"
        )


class Relay:
    """The bare relay before a provider."""

    def __init__(self, folder: Path, provider: Provider) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/v1"
        arguments = ["-m", "bench.relay", "--port", str(port), "--upstream", str(provider.port)]
        self.process = Process("relay", arguments, log=folder / "relay.log")


class Bough:
    """Bough with a data folder and keys of its own, and the provider that was given; nothing of the caller's.

    With so many web processes, in the scaled shape: beside PostgreSQL, Redis and a runner, all in one tree of processes.
    """

    def __init__(self, folder: Path, provider: Provider, *, database_url: str = "", webs: int = 0) -> None:
        self.ports = [free_port() for _ in range(max(1, webs))]
        self.urls = [f"http://127.0.0.1:{port}" for port in self.ports]
        self.port, self.url = self.ports[0], self.urls[0]
        self.is_scaled = webs > 0
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        self.log = folder / "bough.log"
        self.env = {
            **{name: "" for name in os.environ if name.endswith(("_API_KEY", "_BASE_URL"))},
            "SECRET_KEY": secrets.token_urlsafe(48),
            "FIELD_KEY": secrets.token_urlsafe(32),
            "DEBUG": "0",
            "PORT": str(self.port),
            "SITE_URL": self.url,
            "DATABASE_URL": database_url or f"sqlite:///{self.data / 'bough.sqlite3'}",
            "REDIS_URL": "",
            "BOUGH_DATA_DIR": str(self.data),
            "BOUGH_GENERATIONS": "inline",
            "BOUGH_RATE_GENERATIONS": "1000000/1h",
            "BOUGH_CONCURRENT_GENERATIONS": "100000",
            "OPENAI_BASE_URL": provider.url,
            "OPENAI_API_KEY": "bench",
            "LOG_LEVEL": "WARNING",
        }
        if self.is_scaled:
            self.env |= {
                "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{free_port()}/bough",
                "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
                "BOUGH_GENERATIONS": "external",
                "CSRF_TRUSTED_ORIGINS": ",".join(self.urls),
            }
        self.process: Process | None = None

    async def start(self) -> float:
        """Start it and give the seconds until it was ready."""
        arguments = ["manage.py", "up", "--port", str(self.port)]
        if self.is_scaled:
            ports = ",".join(map(str, self.ports))
            arguments = ["-m", "bench.scaled", "--folder", str(self.folder), "--ports", ports]
        self.process = Process("Bough", arguments, env=self.env, log=self.log)
        return max([await self.process.answers(f"{url}/health/ready") for url in self.urls])

    def stop(self) -> None:
        """End it as an operator does."""
        if self.process is not None:
            self.process.end()

    def kill(self) -> None:
        """End it as a power cut does."""
        assert self.process is not None
        self.process.end(signal.SIGKILL)

    async def people(self, count: int) -> list[Person]:
        """Make people who may read."""
        found = json.loads(await self.run("-m", "bench.people", "--count", str(count)))
        return [Person(**person) for person in found]

    async def run(self, *arguments: str) -> str:
        """Run Python beside the server, in its environment, and give what it printed. Raises: RuntimeError."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=ROOT,
            env={**os.environ, **self.env},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, said = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {said.decode()[-1500:]}")
        return printed.decode()


@asynccontextmanager
async def running_provider(folder: Path) -> AsyncIterator[Provider]:
    """Run the provider while the block runs."""
    provider = Provider(folder)
    try:
        await provider.process.answers(f"{provider.url}/models")
        yield provider
    finally:
        provider.process.end()


@asynccontextmanager
async def running_relay(folder: Path, provider: Provider) -> AsyncIterator[Relay]:
    """Run a relay while the block runs."""
    relay = Relay(folder, provider)
    try:
        await relay.process.answers(f"{relay.url}/models")
        yield relay
    finally:
        relay.process.end()


@asynccontextmanager
async def running_bough(
    folder: Path, provider: Provider | None = None, *, database_url: str = "", webs: int = 0
) -> AsyncIterator[tuple[Bough, Provider]]:
    """Run Bough while the block runs, before a provider of its own if none is given."""
    if provider is None:
        given = {"database_url": database_url, "webs": webs}
        async with running_provider(folder) as own, running_bough(folder, own, **given) as both:
            yield both
        return
    bough = Bough(folder, provider, database_url=database_url, webs=webs)
    try:
        await bough.start()
        yield bough, provider
    finally:
        bough.stop()
