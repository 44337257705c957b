"""The recorded answer on a running Bough, standing still after some delta until the provider is released; and its readers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import UUID

from apps.core.markdown import render
from tests.process.installation import Installation
from tests.process.lines import Line
from tests.process.people import Person, PollReader, Reader, Sent, SocketReader, StreamReader
from tests.streaming.test_cut_pages import views_of
from tests.streaming.writing import Writing
from tests.upstream.fixtures import RunningUpstream

MODEL = "openai/fake-recorded"
RECORDED = Writing(None)


def parts_at(place: int) -> list[tuple[str, str]]:
    """Give what an answer has after so many deltas."""
    return [(part.kind, part.text) for part in RECORDED.parts[place]]


@dataclass
class Held:
    """One answer that waits after some delta, and its readers, each with a line of its own."""

    place: int
    sent: Sent
    readers: list[Reader]
    lines: list[Line]

    async def all_have_it(self) -> None:
        """Wait until each reader has every delta before the place."""
        for reader in self.readers:
            await reader.until(lambda reader: has(reader, self.place))


def has(reader: Reader, place: int) -> bool:
    """Tell whether a reader has what was said up to a place, and nothing else."""
    parts = RECORDED.parts[place]
    if isinstance(reader, StreamReader):
        return reader.last != "" and reader.parts == {index: part.text for index, part in enumerate(parts)}
    if isinstance(reader, SocketReader):
        *_, shown = views_of((part.kind, part.text) for part in parts)
        return reader.sent.message in reader.page.parts and reader.text == shown
    return reader.polls > 0 and reader.text == "".join(render(part.text) for part in parts)


async def reader_through(
    stack: AsyncExitStack,
    installation: Installation,
    line: Line,
    kind: type[Reader],
    sent: Sent,
    *,
    who: int = 0,
    **fields: str,
) -> Reader:
    """Have one of the people begin to read an answer over a line; fields of the reader are set first."""
    person = await stack.enter_async_context(installation.person(who))
    person.url = (await stack.enter_async_context(line)).url
    reader = kind(person, sent)
    vars(reader).update(fields)
    stack.push_async_callback(reader.leave)
    return reader.start()


async def held_at(
    stack: AsyncExitStack,
    installation: Installation,
    person: Person,
    place: int,
    kinds: Sequence[type[Reader]] = (StreamReader, SocketReader, PollReader),
    model: str = MODEL,
) -> Held:
    """Have an answer begun that waits after so many deltas, and read in these ways."""
    sent = await person.send(await person.begin(), f"hold {place}", model=model)
    lines = [Line(installation.port) for _ in kinds]
    readers = [
        await reader_through(stack, installation, line, kind, sent) for line, kind in zip(lines, kinds, strict=True)
    ]
    return Held(place, sent, readers, lines)


async def all_wait(provider: RunningUpstream, asked: int, places: Iterable[int]) -> None:
    """Wait until the provider waits at these places, in the answers that it was asked for since there were so many."""
    # One more, for it begins with a word of who speaks.
    waiting = sorted(place + 1 for place in places)
    await provider.eventually(lambda: sorted(stream.chunks for stream in provider.streams[asked:]) == waiting)


@dataclass(frozen=True)
class Stored:
    """An answer as the database holds it, and its newest generation."""

    status: str
    error: str
    parts: list[tuple[str, str]]
    state: str
    attempt: int


def stored(installation: Installation, sent: Sent) -> Stored:
    """Read an answer from the database itself."""
    message = sent.message if installation.postgres else UUID(sent.message).hex
    [(status, error, parts, state, attempt)] = installation.ask(
        "SELECT message.status, message.error_code, message.parts, generation.state, generation.attempt "
        "FROM conversations_message message JOIN conversations_generation generation "
        f"ON generation.message_id = message.id WHERE message.id = '{message}' ORDER BY generation.id DESC LIMIT 1"
    )
    parts = json.loads(parts) if isinstance(parts, str) else parts
    return Stored(status, error, [(part["type"], part["text"]) for part in parts], state, attempt)
