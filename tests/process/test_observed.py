"""A runner process as operators see it: its figures on a port of its own, its word in the database, its end."""

import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from urllib.request import urlopen

import pytest

from tests.browser.server import PATIENCE, ROOT, Server

pytestmark = pytest.mark.slow
RUNNERS = "SELECT name, concurrency FROM conversations_runnerprocess"


@pytest.fixture
def installation(tmp_path):
    installation = Server(tmp_path)
    installation.manage("migrate", "--verbosity", "0")
    return installation


def test_a_runner_shows_its_figures_and_says_that_it_lives(installation):
    command = [sys.executable, "manage.py", "run_generations", "--concurrency", "5", "--metrics-port", "0"]
    with subprocess.Popen(
        command, cwd=ROOT, env=installation._environment, stderr=subprocess.PIPE, text=True
    ) as runner:
        try:
            address = re.search(r"http://127\.0\.0\.1:\d+/metrics", runner.stderr.readline())[0]
            assert runner.stderr.readline() == "Writing answers, at most 5 at once.\n"
            with urlopen(address, timeout=PATIENCE) as reply:
                figures = reply.read().decode()
            assert "bough_answers_active 0.0\n" in figures
            name, concurrency = heard_of(installation)
            assert (name.split(":")[1], concurrency) == (str(runner.pid), 5)
        finally:
            runner.send_signal(signal.SIGTERM)
            runner.wait(PATIENCE)
    assert runner.returncode == 0
    with closing(sqlite3.connect(installation.data / "bough.sqlite3")) as database:
        assert database.execute(RUNNERS).fetchall() == []


def heard_of(installation):
    """Wait for the first word of a runner."""
    until = time.monotonic() + PATIENCE
    with closing(sqlite3.connect(installation.data / "bough.sqlite3")) as database:
        while (row := database.execute(RUNNERS).fetchone()) is None:
            assert time.monotonic() < until
            time.sleep(0.05)
    return row
