"""The interface of the bus that carries live text and small events; its implementations live beside it.

Events on a live topic: `delta` {delta: Delta}, `resync` {}, `status` {word, text?, seconds?}, `ended` {status, message}, where
the writer knows them with `at` [attempt, part, offset], the end of the text, and `facts`, what else it has to say of it.
Other topics: "generations" (`queued`), "stop" (`stop` {generation}), `user_topic(id)` (frames for that user's sockets).
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from apps.streaming.answers import Delta, PartText, Snapshot

Event = Mapping[str, Any]

GENERATIONS = "generations"
STOP = "stop"


def live_topic(live: str) -> str:
    """Name the topic of one generation's live text."""
    return f"live:{live}"


def user_topic(user_id: str) -> str:
    """Name the topic that all sockets of one user hear."""
    return f"user:{user_id}"


def loggable(topic: str) -> str:
    """Name a topic for a log line: a user's without whose it is."""
    return "user" if topic.startswith("user:") else topic


class Subscription(Protocol):
    """Receive the events of some topics, in the order in which each topic had them.

    A reader that falls far behind may find a `resync` in place of a live topic's deltas. Iterating ends when it is closed.
    """

    def __aiter__(self) -> AsyncIterator[tuple[str, Event]]:
        """Iterate over (topic, event), one at a time."""

    async def take(self, within: float | None = None) -> list[tuple[str, Event]]:
        """Wait for events and give all that are there.

        Units: within in seconds; None waits for ever.
        Shape: empty when the time ran out or the subscription is closed.
        """

    async def add(self, *topics: str) -> None:
        """Listen to further topics; returns once that is confirmed."""

    async def remove(self, *topics: str) -> None:
        """Stop listening to some topics."""

    async def close(self) -> None:
        """Let go of all topics and end all waiting."""

    async def __aenter__(self) -> Self:
        """Give the subscription itself."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""


class Bus(Protocol):
    """Carry live text and events from writers to readers; may lose events, never reorders a writer's own."""

    @property
    def connected(self) -> bool:
        """Tell whether events get through at present; while they do not, readers read rows."""

    async def open(self, live: str, attempt: int, parts: Sequence[PartText] = ()) -> None:
        """Start an attempt's snapshot, or replace it.

        Effects: publishes `resync`; an attempt older than the one held is ignored.
        """

    async def append(self, delta: Delta) -> None:
        """Add a delta to the snapshot, then publish it.

        An older attempt than the one held is ignored. Whoever asks this bus for a snapshot or subscribes later finds
        the delta in the snapshot; that it has left the process by the return is not promised.
        Raises: ValueError if text before the delta is missing.
        """

    async def append_many(self, deltas: Iterable[Delta]) -> None:
        """Append the deltas of many answers, in order: what one flush carries.

        Raises: ValueError as `append` does, once all others are kept: one wrong answer costs no other its text.
        """

    async def snapshot(self, live: str) -> Snapshot | None:
        """Read an answer as it stands; None if nothing is held."""

    async def drop(self, live: str, attempt: int | None = None) -> None:
        """Mark the answer as ended and forget its snapshot some time later; nothing if a newer attempt than this is held.

        Call it before `ended` is published: who subscribes too late for the event then finds it in the snapshot.
        """

    def publish(self, topic: str, event: Event) -> None:
        """Send an event to whoever listens now; from any thread, at once, and never failing for want of listeners."""

    async def subscribe(self, *topics: str) -> Subscription:
        """Listen to topics; returns once that is confirmed."""
