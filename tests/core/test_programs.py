"""Programs run as one: their lines, their ends, and the signals that all of them get."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from apps.core.programs import Programs, commands_of

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0
# Says that it is there, and how it was asked to end.
PATIENT = """
import signal, sys, time
def end(number, frame):
    print("asked", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("here", flush=True)
time.sleep(60)
"""
# Ends upon the second signal alone.
STUBBORN = """
import signal, sys, time
asked = []
def end(number, frame):
    asked.append(number)
    print(f"asked {len(asked)}", flush=True)
    if len(asked) == 2:
        sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("here", flush=True)
time.sleep(60)
"""


class Said:
    """What programs said, to be waited for."""

    def __init__(self):
        self.lines = []
        self._changed = asyncio.Event()

    def __call__(self, line):
        self.lines.append(line)
        self._changed.set()

    async def until(self, *lines):
        async with asyncio.timeout(PATIENCE):
            while not set(lines) <= set(self.lines):
                self._changed.clear()
                await self._changed.wait()


def python(program):
    return [sys.executable, "-u", "-c", program]


async def nothing():
    return


async def run(said, once_started=nothing, *, patience=PATIENCE, hurry=PATIENCE, **commands):
    async with asyncio.timeout(PATIENCE):
        running = Programs(commands, folder=ROOT, say=said, end_seconds=patience, hurry_seconds=hurry)
        return await running.run(once_started)


async def test_a_signal_ends_all_and_lines_say_whose_they_are():
    said = Said()

    async def end():
        await said.until("one   | here\n", "three | here\n")
        os.kill(os.getpid(), signal.SIGTERM)

    assert await run(said, end, one=python(PATIENT), three=python(PATIENT)) == ""
    assert sorted(said.lines) == ["one   | asked\n", "one   | here\n", "three | asked\n", "three | here\n"]


async def test_when_one_ends_by_itself_the_others_are_ended_and_its_name_is_given():
    said = Said()
    ended = await run(said, fails=python("print('no'); raise SystemExit(3)"), stays=python(PATIENT))
    assert ended == "fails ended with status 3"
    assert "fails | no\n" in said.lines


async def test_ctrl_c_hurries_what_takes_long():
    said = Said()

    async def interrupt():
        await said.until("slow | here\n")
        os.kill(os.getpid(), signal.SIGINT)

    assert await run(said, interrupt, hurry=0.1, slow=python(STUBBORN)) == ""
    assert said.lines == ["slow | here\n", "slow | asked 1\n", "slow | asked 2\n"]


async def test_what_does_not_end_is_killed():
    said = Said()

    async def end():
        await said.until("deaf | here\n")
        os.kill(os.getpid(), signal.SIGTERM)

    assert await run(said, end, patience=0.2, deaf=python(STUBBORN)) == ""
    assert said.lines == ["deaf | here\n", "deaf | asked 1\n"]


async def test_a_fault_of_who_waits_for_them_ends_all_and_is_told():
    said = Said()

    async def fail():
        await said.until("one | here\n")
        raise ValueError("no table")

    with pytest.raises(ValueError, match="no table"):
        await run(said, fail, one=python(PATIENT))
    assert said.lines[-1] == "one | asked\n"


def test_commands_are_read_from_the_procfile():
    found = commands_of(ROOT / "Procfile", ["web", "worker"])
    assert found["web"] == [sys.executable, "-u", "manage.py", "run_web"]
    assert found["worker"][:4] == [sys.executable, "-u", "-m", "celery"]
    with pytest.raises(KeyError):
        commands_of(ROOT / "Procfile", ["nobody"])
