"""One answer and those who read it, by event stream, socket and polling at once; what all of them must have seen at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from apps.core.markdown import render
from tests.process.people import PATIENCE, Person, PollReader, Reader, Sent, SocketReader, StreamReader
from tests.upstream import texts


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

    async def all_end(self, status: str, patience: float = PATIENCE) -> str:
        """Wait for the end: all saw the status and the text of the row, which is what was said, or its beginning."""
        statuses = await asyncio.gather(*(reader.ended(patience) for reader in self.readers))
        message = await self.person.message(self.sent)
        text = "".join(part["text"] for part in message["parts"])
        assert {message["status"], *statuses} == {status}
        assert self.expected.startswith(text)
        assert text == self.expected or status != "complete"
        rendered = "".join(render(part["text"]) for part in message["parts"])
        for reader in self.readers:
            shown = reader.text
            assert shown == (text if isinstance(reader, StreamReader) else rendered), type(reader).__name__
        return text

    def told(self) -> str:
        """Word what the readers went through."""
        return ", ".join(
            f"{name} cut {reader.cuts}×, silent at most {reader.longest_silence:.1f} s"
            for name, reader in zip(("event stream", "socket", "polling"), self.readers, strict=False)
        )


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
