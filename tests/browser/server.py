"""A real server for the browser: `manage.py run_web` in a process of its own, with a data folder of its own.

Not here: the browser (conftest.py).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 40.0  # seconds; only a failing start waits that long


class Server:
    """One installation: made, migrated, started, stopped and started again.

    Shape: `url` ends without a slash. `upstream` is the address of an OpenAI-compatible provider, or empty.
    """

    def __init__(self, data: Path, *, upstream: str = "") -> None:
        self.data = data
        self.port = _free_port()
        self.url = f"http://localhost:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        known = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_BASE_URL"))}
        self._environment = known | {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "SECRET_KEY": "a-key-for-browser-tests-alone-0123456789-abcdefgh",
            "FIELD_KEY": "a-field-key-for-browser-tests-alone",
            "DEBUG": "0",
            "SITE_URL": self.url,
            "PORT": str(self.port),
            "HOST": "127.0.0.1",
            "BOUGH_DATA_DIR": str(data),
            "DATABASE_URL": f"sqlite:///{data / 'bough.sqlite3'}",
            "OPENAI_BASE_URL": upstream,
            "BOUGH_DEFAULT_MODEL": "demo/bough",
            "BOUGH_RATE_GENERATIONS": "10000/1h",
            "LOG_LEVEL": "WARNING",
        }

    def manage(self, *words: str) -> str:
        """Run a management command; gives what it printed. Raises: CalledProcessError."""
        command = [sys.executable, "manage.py", *words]
        done = subprocess.run(command, cwd=ROOT, env=self._environment, capture_output=True, check=True, text=True)
        return done.stdout.strip()

    def prepare(self) -> None:
        """Make the database and the hashed static files."""
        self.manage("migrate", "--verbosity", "0")
        self.manage("collectstatic", "--no-input", "--verbosity", "0")

    def start(self) -> None:
        """Start and wait until it answers."""
        self.launch()
        self.until_serving()

    def launch(self) -> None:
        """Start without waiting."""
        log = (self.data / "server.log").open("ab")
        command = [sys.executable, "manage.py", "run_web", "--port", str(self.port)]
        self._process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)
        log.close()

    def until_serving(self) -> None:
        """Wait until it answers. Raises: RuntimeError if it ended, or takes too long."""
        assert self._process is not None
        until = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"The server did not start:\n{self.log()}")
            time.sleep(0.1)

    def stop(self, how: int = signal.SIGTERM) -> None:
        """Stop it and wait for its end."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def is_serving(self) -> bool:
        return self._process is not None and self._process.poll() is None and self._answers()

    def log(self) -> str:
        """Give what the server wrote."""
        return (self.data / "server.log").read_text(errors="replace")

    def sign_in_link(self, email: str) -> str:
        """Give a link that signs a user in, once; the user is made if there is none."""
        try:
            return self.manage("sign_in_link", email)
        except subprocess.CalledProcessError:
            self.manage("create_user", email)
            return self.manage("sign_in_link", email)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/live", timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
