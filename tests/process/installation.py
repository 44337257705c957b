"""A whole Bough in processes of its own, in either shape: any of them may be killed, paused and started again."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.browser.server import PATIENCE, ROOT, Server
from tests.process.people import Person
from tests.servers import PostgresServer, RedisServer

PEOPLE = 24


class Installation(Server):
    """One web process, and in the scaled shape runners, PostgreSQL and Redis beside it.

    Shape: without `postgres` it is embedded: SQLite, text and runner in the web process.
    """

    def __init__(
        self,
        data: Path,
        *,
        upstream: str = "",
        postgres: PostgresServer | None = None,
        redis: RedisServer | None = None,
        runners: int = 1,
        **environment: str,
    ) -> None:
        super().__init__(data, upstream=upstream)
        self.url = f"http://127.0.0.1:{self.port}"
        self.postgres, self.redis, self.wanted_runners = postgres, redis, runners if postgres else 0
        self.database = f"bough_{self.port}"
        self.people: list[dict[str, str]] = []
        self.runners: list[subprocess.Popen[bytes]] = []
        if postgres is not None and redis is not None:
            self._environment |= {"REDIS_URL": redis.url, "BOUGH_GENERATIONS": "external"}
            self._environment["DATABASE_URL"] = postgres.url(self.database)
        # Else a killed runner's answers end half a minute later, and that with every test.
        self._environment |= {"BOUGH_LEASE_SECONDS": "4"} | environment

    @property
    def shape(self) -> str:
        return "scaled" if self.postgres else "embedded"

    def make_database(self, people: int = PEOPLE) -> None:
        """Make the database, static files and people; once for all installations of a run (see `copied_from`)."""
        if self.postgres is not None:
            self.postgres.query(f"CREATE DATABASE {self.database}")
        printed = self._python("-m", "tests.process.make_database", str(people))
        (self.data / "people.json").write_text(printed)
        self.people = json.loads(printed)

    def copied_from(self, made: Installation) -> None:
        """Take everything from an installation that was made, in place of making it again."""
        self.people = made.people
        shutil.copytree(made.data, self.data, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sqlite3*", "*.log"))
        if self.postgres is not None:
            self.postgres.query(f"CREATE DATABASE {self.database} TEMPLATE {made.database}")
        else:
            # It may be in use, and half of it in its log.
            with made.sqlite() as theirs, self.sqlite() as ours:
                theirs.backup(ours)

    def person(self, number: int = 0) -> Person:
        """Give one of the people, to be used as an async context."""
        known = self.people[number]
        return Person(self.url, token=known["token"], session=known["session"])

    def start_all(self) -> None:
        """Start what does not run."""
        for server in (self.postgres, self.redis):
            if server is not None and not server.is_running():
                server.start()
        while len(self.runners) < self.wanted_runners:
            self.start_runner()
        if not self.is_serving():
            self._process = None
            self.start()

    def stop_all(self, how: int = signal.SIGTERM) -> None:
        """End web and runners."""
        self.stop(how)
        while self.runners:
            self.stop_runner(how)

    def start_runner(self) -> None:
        log = (self.data / "runner.log").open("ab")
        command = [sys.executable, "manage.py", "run_generations"]
        self.runners.append(subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log))
        log.close()

    def stop_runner(self, how: int = signal.SIGTERM) -> None:
        """End the oldest runner and wait for it."""
        runner = self.runners.pop(0)
        runner.send_signal(how)
        try:
            runner.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            runner.kill()
            runner.wait()

    def processes(self) -> dict[str, int]:
        """Name our processes that run, with their numbers."""
        found = {f"runner {number}": runner.pid for number, runner in enumerate(self.runners)}
        return found | ({"web": self._process.pid} if self._process is not None else {})

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one reading statement on the database, beside everything that runs."""
        if self.postgres is not None:
            return self.postgres.query(statement, self.database)
        with self.sqlite() as connection:
            return connection.execute(statement).fetchall()

    def sqlite(self) -> contextlib.closing[sqlite3.Connection]:
        """Open the database as another process does."""
        path = self.data / "bough.sqlite3"
        return contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False))

    def until_idle(self, patience: float = PATIENCE) -> float:
        """Wait until no generation is queued or running; gives the seconds."""
        began = time.monotonic()
        active = "SELECT count(*) FROM conversations_generation WHERE state IN ('queued', 'running')"
        while self.ask(active) != [(0,)]:
            assert time.monotonic() < began + patience, self.ask("SELECT id, state FROM conversations_generation")
            time.sleep(0.1)
        return time.monotonic() - began

    def problems(self) -> list[str]:
        """Give what breaks the invariants of the database."""
        found: list[str] = json.loads(self._python("-m", "tests.process.invariants"))
        return found

    def logged(self, word: str) -> int:
        """Count the lines of all logs that hold a word."""
        logs = (path.read_text(errors="replace") for path in self.data.glob("*.log"))
        return sum(word in line for log in logs for line in log.splitlines())

    def _python(self, *words: str) -> str:
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr[-3000:]}")
        return done.stdout
