"""`manage.py up` in the scaled shape: everything at once, from the Procfile, and all of it ended together."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.browser.server import PATIENCE, ROOT, Server
from tests.servers import shared_redis  # noqa: F401  (a fixture)

pytestmark = pytest.mark.slow


class Up(Server):
    """`up`, with Redis and external runners."""

    def __init__(self, data, redis):
        super().__init__(data)
        self._environment |= {"REDIS_URL": redis.url, "BOUGH_GENERATIONS": "external", "LOG_LEVEL": "INFO"}
        self._log = data / "up.log"

    def begin(self):
        command = [sys.executable, "manage.py", "up", "--port", str(self.port)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)

    def wait_for(self, *words):
        until = time.monotonic() + PATIENCE
        while not all(word in self._log.read_text() for word in words):
            assert time.monotonic() < until, self._log.read_text()
            assert self._process.poll() is None, self._log.read_text()
            time.sleep(0.05)

    def wait(self):
        return self._process.wait(PATIENCE)


@pytest.fixture
def up(tmp_path, shared_redis):  # noqa: F811
    up = Up(tmp_path, shared_redis)
    yield up
    up.stop(signal.SIGTERM)


def test_up_runs_web_runner_worker_and_scheduler_and_ends_them_all(up):
    up.begin()
    up.wait_for("Ctrl-C stops it.", "generations | ", "worker      | ", "beat        | ", " ready.")
    with urllib.request.urlopen(f"{up.url}/health/ready", timeout=PATIENCE) as response:
        assert response.status == 200
    (link,) = re.findall(r"/sign-in/\S+", up._log.read_text())
    with urllib.request.urlopen(up.url + link, timeout=PATIENCE) as response:
        assert response.status == 200
    up._process.send_signal(signal.SIGINT)
    assert up.wait() == 0, up._log.read_text()
    assert "Traceback" not in up._log.read_text()
    assert up._answers() is False


def test_up_says_so_when_its_port_is_taken(up):
    with socket.create_server(("127.0.0.1", up.port)):
        up.begin()
        assert up.wait() == 1
    assert "Choose another port" in up._log.read_text()
