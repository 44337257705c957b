"""One answer and those who read it, by event stream, socket and polling at once; what all of them must have seen at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from apps.core.markdown import render
from tests.fault_table import seconds
from tests.process.people import LOST, PATIENCE, Person, PollReader, Reader, Sent, SocketReader, StreamReader
from tests.upstream import texts

NAMES: dict[type[Reader], str] = {StreamReader: "event stream", SocketReader: "socket", PollReader: "polling"}


@dataclass
class Watched:
    """An answer under way, its readers, and the text that it is going to have."""

    person: Person
    sent: Sent
    readers: list[Reader]
    expected: str

    async def all_show(self, characters: int) -> None:
        """Wait until each reader shows so much."""
        await asyncio.gather(*(reader.until(lambda reader: len(reader.text) >= characters) for reader in self.readers))

    async def all_show_more(self, characters: int = 60) -> None:
        """Wait until each reader shows so much more than now."""
        await asyncio.gather(*(reader.more(characters) for reader in self.readers))

    async def any_end(self, *statuses: str) -> str:
        """Wait until the stream has told the end, and give its status, which is one of these."""
        status = await self.readers[0].ended()
        assert status in statuses
        return status

    async def all_end(self, status: str, patience: float = PATIENCE, *, may_lack: bool = False) -> str:
        """Wait for the end: all saw the status and the text of the row, which is what was said, or its beginning.

        `may_lack`: its writer was killed, so that the row may lack the last words that were shown.
        """
        statuses = await asyncio.gather(*(reader.ended(patience) for reader in self.readers))
        message = await self.person.message(self.sent)
        text = "".join(part["text"] for part in message["parts"])
        assert {message["status"], *statuses} == {status}, (message["status"], [*map(str, self.readers)])
        assert self.expected.startswith(text)
        assert text == self.expected or status != "complete"
        rendered = "".join(render(part["text"]) for part in message["parts"])
        for reader in self.readers:
            if isinstance(reader, StreamReader) and may_lack:
                # Text that was shown and not yet kept when its writer was killed: a page shows the row, a stream can't unsay.
                assert reader.text.startswith(text)
                assert self.expected.startswith(reader.text)
            else:
                assert reader.text == (text if isinstance(reader, StreamReader) else rendered), str(reader)
        return text

    def told(self) -> str:
        """Word what the readers went through."""
        return ", ".join(map(_told, self.readers))


def _told(reader: Reader) -> str:
    cut = f", cut {reader.cuts}×" if reader.cuts else ""
    refused = "".join(f", {status} {count}×" for status, count in sorted(reader.refused.items()))
    return f"{NAMES[type(reader)]} silent at most {reader.longest_silence:.1f} s{cut}{refused}"


@asynccontextmanager
async def watched(
    person: Person, canary: str, *, pieces: int, pause: int, chat: str = "", model: str = "openai/fake-canary"
) -> AsyncIterator[Watched]:
    """Have an answer of so many pieces begun and read in all three ways."""
    chat = chat or await person.begin()
    tab = SocketReader(person, Sent(chat, "", ""))
    sent = await person.send(chat, f"{canary} {pieces} pieces of {pause} ms", model=model)
    tab.sent = sent
    readers = [reader.start() for reader in (StreamReader(person, sent), tab, PollReader(person, sent))]
    try:
        yield Watched(person, sent, readers, "".join(texts.canary(canary, pieces)))
    finally:
        await asyncio.gather(*(reader.leave() for reader in readers))
        with suppress(*LOST):
            await person.call("POST", f"/chats/{chat}/stop", {})


async def answered(person: Person, canary: str, *, pieces: int = 3, status: str = "complete") -> StreamReader:
    """Send a message of its own, through any refusal, and read the answer to its end; all of it must come."""
    sent = await person.send_until_taken(await person.begin_until_taken(), f"{canary} {pieces} pieces of 25 ms")
    reader = StreamReader(person, sent).start()
    assert await reader.ended() == status
    assert reader.text == "".join(texts.canary(canary, pieces))
    return reader


async def until_live(person: Person) -> str:
    """Ask until an answer comes live again, piece by piece and not from rows; gives the seconds that took, in words."""
    began = time.monotonic()
    async with asyncio.timeout(PATIENCE):
        # 40 pieces in a second are some 20 flushes; a row is read once a second.
        while len((await answered(person, "canary-live", pieces=40)).silences) < 8:
            pass
    return seconds(began)
