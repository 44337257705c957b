"""docker-compose.yml as tests read it, and as they run it: each command as it stands, on this machine, with ports of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service.get("image") == "bough"]


def procfile() -> dict[str, str]:
    """Read the Procfile: names and commands."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {name: command.strip() for name, command in (line.split(":", 1) for line in lines)}


def in_words(service: str, key: str = "command") -> list[str]:
    """Give the command of a service, or that of its health check, as words."""
    if key == "command":
        return shlex.split(SERVICES[service]["command"])
    kind, *words = SERVICES[service]["healthcheck"]["test"]
    assert kind == "CMD"
    return [str(word) for word in words]


def made_secrets(folder: Path) -> Path:
    """Have make-secrets.sh make its files in a folder; gives the folder of the secrets."""
    shutil.copy(ROOT / "deploy" / "make-secrets.sh", folder)
    subprocess.run(["sh", str(folder / "make-secrets.sh")], check=True, capture_output=True)
    return folder / "secrets"


def settings_in(folder: Path) -> dict[str, str]:
    """Read the settings that make-secrets.sh wrote."""
    lines = (folder / "bough.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


class Container:
    """A service of ours, run as a process: its command and environment with other addresses in place of the network's."""

    def __init__(self, service: str, folder: Path, changes: Mapping[str, str], places: Mapping[str, str]) -> None:
        self.service = service
        self._places = places
        self._log = folder / f"{service}.log"
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {name: self._placed(str(value)) for name, value in SERVICES[service]["environment"].items()}
        self.environment = {"PATH": path, "HOME": str(folder), **settings_in(folder), **own, **changes}
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, *words: str) -> str:
        """Run a command in the container and give what it printed. Raises: RuntimeError."""
        done = subprocess.run(words, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{self.service}: {' '.join(words)}: {done.stdout[-1000:]}{done.stderr[-3000:]}")
        return done.stdout.strip()

    def run_command(self) -> str:
        """Run the service's own command to its end."""
        return self.run(*self._command())

    def start(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(), cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def is_healthy(self) -> bool:
        """Run the service's health check once. Raises: AssertionError if the service is gone."""
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        words = [self._placed(word) for word in in_words(self.service, "healthcheck")]
        return subprocess.run(words, cwd=ROOT, env=self.environment, capture_output=True, check=False).returncode == 0

    def ask_to_end(self) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()

    def ended(self, seconds: float) -> int:
        """Wait for the end; gives the exit status. Raises: TimeoutExpired."""
        assert self._process is not None
        return self._process.wait(seconds)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _command(self) -> list[str]:
        return [self._placed(word) for word in in_words(self.service)]

    def _placed(self, text: str) -> str:
        for name, place in self._places.items():
            text = text.replace(name, place)
        return text
