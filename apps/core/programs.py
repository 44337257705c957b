"""Several programs run as one: their lines told apart, and all ended when one of them ends. Which they are is decided elsewhere."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path

# From SIGTERM to SIGKILL: longer than a drain with its last writes takes.
END_SECONDS = 40.0
# Ctrl-C is somebody waiting at a terminal: after so long comes the second signal, which waits for no answer.
HURRY_SECONDS = 2.0


def commands_of(procfile: Path, names: Collection[str]) -> dict[str, list[str]]:
    """Read the commands of some processes from a Procfile, to be run by this Python. Raises: KeyError for a name it hasn't."""
    lines = (line.partition(":") for line in procfile.read_text().splitlines())
    known = {name.strip(): shlex.split(command) for name, _, command in lines}
    starts = {"python": [sys.executable, "-u"], "celery": [sys.executable, "-u", "-m", "celery"]}
    return {name: [*starts[known[name][0]], *known[name][1:]] for name in names}


class Programs:
    """Run commands side by side until a signal, or until one of them ends; each in a session of its own.

    `say` gets their lines, with the name in front.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        *,
        folder: Path,
        say: Callable[[str], None],
        end_seconds: float = END_SECONDS,
        hurry_seconds: float = HURRY_SECONDS,
    ) -> None:
        self._commands = commands
        self._end_seconds, self._hurry_seconds = end_seconds, hurry_seconds
        self._folder = folder
        self._say = say
        self._width = max(map(len, commands))
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._ends: set[asyncio.Task[str]] = set()
        self._asked = asyncio.Event()
        # Those that were signalled: a second time means haste.
        self._told: set[str] = set()

    async def run(self, once_started: Callable[[], Awaitable[None]]) -> str:
        """Run to the end; `once_started` may wait for whatever it needs, beside them.

        Shape: the name of the program that ended by itself, with its status in words; empty after a signal.
        Raises: what `once_started` raised, after all were ended.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.end)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        telling = asyncio.ensure_future(self._tell(once_started))
        try:
            return await self._first_end()
        finally:
            telling.cancel()
            await self._end_all()
            await asyncio.wait([telling])
            if not telling.cancelled():
                telling.result()

    def end(self) -> None:
        """Ask all to end; asked again, to hurry."""
        self._asked.set()
        self._terminate(self._running)

    def _interrupt(self) -> None:
        self.end()
        asyncio.get_running_loop().call_later(self._hurry_seconds, self.end)

    def _terminate(self, names: Collection[str]) -> None:
        for name in names:
            if self._running[name].returncode is None:
                self._told.add(name)
                self._running[name].terminate()

    async def _tell(self, once_started: Callable[[], Awaitable[None]]) -> None:
        try:
            await once_started()
        except BaseException:
            self._asked.set()
            raise

    async def _first_end(self) -> str:
        for name, command in self._commands.items():
            process = self._running[name] = await asyncio.create_subprocess_exec(
                *command,
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                # A terminal's Ctrl-C comes to all of its group: here each is to hear of it from us alone.
                start_new_session=True,
            )
            self._ends.add(asyncio.ensure_future(self._watch(name, process)))
        asked = asyncio.ensure_future(self._asked.wait())
        done, _ = await asyncio.wait({asked, *self._ends}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        return "" if self._asked.is_set() else next(end.result() for end in self._ends & done)

    async def _watch(self, name: str, process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        async for line in process.stdout:
            self._say(f"{name:<{self._width}} | {line.decode(errors='replace').rstrip()}\n")
        return f"{name} ended with status {await process.wait()}"

    async def _end_all(self) -> None:
        if not self._ends:
            return
        self._terminate(self._running.keys() - self._told)
        await asyncio.wait(self._ends, timeout=self._end_seconds)
        for process in self._running.values():
            if process.returncode is None:
                process.kill()
        await asyncio.wait(self._ends)
