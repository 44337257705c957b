"""The scaled shape as one tree of processes: PostgreSQL, Redis, web processes and a runner, until SIGTERM.

Run as `python -m bench.scaled --ports 8001,8002` in the environment of the installation, whose addresses name the ports on
which PostgreSQL and Redis are to listen.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers import PostgresServer, RedisServer, postgres_programs, redis_program


def serve(folder: Path, ports: Sequence[int]) -> None:
    """Start everything, and end it all at the first signal."""
    folder.chmod(0o711)  # PostgreSQL doesn't run as root, and must come through to its own folder
    postgres, redis = _postgres(folder / "postgres"), _redis(folder / "redis")
    manage = [sys.executable, "manage.py"]
    started: list[subprocess.Popen[bytes]] = []
    try:
        subprocess.run([*manage, "migrate", "--no-input", "--verbosity", "0"], check=True)
        subprocess.run([*manage, "collectstatic", "--no-input", "--verbosity", "0"], check=True)
        commands = [["run_generations"], *(["run_web", "--port", str(port)] for port in ports)]
        started += [subprocess.Popen([*manage, *command]) for command in commands]
        signal.pause()
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(60)
        redis.stop()
        postgres.stop()


def _postgres(folder: Path) -> PostgresServer:
    programs = postgres_programs()
    assert programs is not None, "no PostgreSQL is installed"
    folder.mkdir()
    server = PostgresServer(programs, folder)
    address = urlsplit(os.environ["DATABASE_URL"])
    server.port = address.port or 5432
    server.make()
    server.start()
    server.query(f"CREATE DATABASE {address.path[1:]}")
    return server


def _redis(folder: Path) -> RedisServer:
    program = redis_program()
    assert program is not None, "no Redis is installed"
    folder.mkdir()
    server = RedisServer(program, folder, port=urlsplit(os.environ["REDIS_URL"]).port or 6379)
    server.start()
    return server


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--ports", type=lambda text: [int(port) for port in text.split(",")], required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    serve(options.folder, options.ports)
