"""Bough on several web processes behind nginx, as docs/scaling.md has it, with deploy/nginx.conf itself."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.browser.server import ROOT
from tests.process.installation import Installation
from tests.servers import PostgresServer, RedisServer, free_port, missing

PATIENCE = 120.0  # seconds; four processes start at once, on a machine that may have more to do
CONFIGURATION = ROOT / "deploy" / "nginx.conf"


def nginx_program() -> str:
    """Find nginx; skips the test where there is none."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") or missing("nginx")


class Nginx:
    """nginx with the configuration of the repository, on a port of its own and before given web processes."""

    def __init__(self, folder: Path, *, port: int, webs: Sequence[int]) -> None:
        self.folder = folder
        self._port = port
        self._program = nginx_program()
        text = CONFIGURATION.read_text().replace("listen 8080;", f"listen 127.0.0.1:{port};")
        for number, web in enumerate(webs, 1):
            text = text.replace(f"server web-{number}:8000", f"server 127.0.0.1:{web}")
        text = text.replace("root /data;", f"root {folder};")
        names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"    {name}_temp_path {folder / name};\n" for name in names)
        (folder / "nginx.conf").write_text(text.replace("http {\n", f"http {{\n{places}", 1))
        self._process: subprocess.Popen[bytes] | None = None

    def command(self, *words: str) -> list[str]:
        # Started as root it would give up its rights, and with them the way into our folder.
        user = "user root; " if os.geteuid() == 0 else ""
        settings = f"{user}daemon off; pid {self.folder / 'nginx.pid'};"
        paths = ["-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]
        return [self._program, *paths, "-e", "/dev/stderr", "-g", settings, *words]

    def check(self) -> str:
        """Have nginx look at the configuration; gives what it said. Raises: CalledProcessError."""
        return subprocess.run(self.command("-t"), capture_output=True, text=True, check=True).stderr

    def start(self) -> None:
        """Start it, unless it runs, and wait until it listens."""
        if self._process is not None and self._process.poll() is None:
            return
        self.check()
        with (self.folder / "nginx.log").open("wb") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        until = time.monotonic() + PATIENCE
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self._port)).close()
                return
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError((self.folder / "nginx.log").read_text())
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE)

    def statuses(self) -> dict[int, int]:
        """Count what was answered, by status, from the log."""
        found = [int(status) for status in re.findall(r'" (\d{3}) ', (self.folder / "nginx.log").read_text())]
        return {status: found.count(status) for status in sorted(set(found))}


class Fleet(Installation):
    """Several web processes behind nginx; `url` is nginx's."""

    def __init__(
        self,
        data: Path,
        *,
        upstream: str,
        postgres: PostgresServer,
        redis: RedisServer,
        webs: int = 2,
        runners: int = 2,
    ) -> None:
        super().__init__(
            data, upstream=upstream, postgres=postgres, redis=redis, runners=runners, TRUSTED_PROXIES="127.0.0.1"
        )
        self.ports = [free_port() for _ in range(webs)]
        self.nginx = Nginx(data, port=self.port, webs=self.ports)
        self._webs: list[subprocess.Popen[bytes] | None] = [None] * webs

    def start_all(self) -> None:
        """Start whatever of runners, web processes and nginx does not run."""
        for number, web in enumerate(self._webs):
            if web is None or web.poll() is not None:
                self._begin(number)
        while len(self.runners) < self.wanted_runners:
            self.start_runner()
        for number in range(len(self.ports)):
            self._wait_for(number)
        self.nginx.start()

    def restart(self, number: int) -> tuple[int, float, float]:
        """Restart one web process as an operator does; gives its exit status, and how long ending and starting took."""
        web = self._webs[number]
        assert web is not None
        began = time.monotonic()
        web.send_signal(signal.SIGTERM)
        status = web.wait(PATIENCE)
        ended = time.monotonic()
        self._begin(number)
        self._wait_for(number)
        return status, ended - began, time.monotonic() - ended

    def kill(self, number: int) -> None:
        """Kill one web process, and leave it dead."""
        web = self._webs[number]
        assert web is not None
        web.kill()
        web.wait(PATIENCE)

    def stop_all(self, how: int = signal.SIGTERM) -> None:
        """End everything."""
        self.nginx.stop()
        for web in self._webs:
            if web is not None:
                web.send_signal(how)
        for web in self._webs:
            if web is not None:
                web.wait(PATIENCE)
        super().stop_all(how)

    def _begin(self, number: int) -> None:
        command = [sys.executable, "manage.py", "run_web", "--port", str(self.ports[number])]
        with (self.data / f"web-{number + 1}.log").open("ab") as log:
            self._webs[number] = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)

    def _wait_for(self, number: int) -> None:
        until = time.monotonic() + PATIENCE
        while not _answers(self.ports[number]):
            web = self._webs[number]
            if time.monotonic() > until or web is None or web.poll() is not None:
                raise RuntimeError((self.data / f"web-{number + 1}.log").read_text())
            time.sleep(0.05)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
