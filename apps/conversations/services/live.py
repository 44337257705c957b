"""The way out of services to whoever is watching: events leave on commit, through the process's bus.

Which bus that is, the process decides at its start; text itself is written by the runner, not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from apps.conversations.models import Conversation, Generation
from apps.streaming.answers import Snapshot
from apps.streaming.bus import Bus
from apps.streaming.memory import MemoryBus

QUEUED = "generations"
STOPS = "stop"

_bus: Bus = MemoryBus()


def bus() -> Bus:
    """Give the bus of this process."""
    return _bus


def install_bus(new: Bus) -> None:
    """Make another bus the process's own; called once at start."""
    global _bus
    _bus = new


async def start_bus() -> None:
    """Connect this process to the bus that settings name; without one it stays the bus in memory."""
    if settings.REDIS_URL:
        from apps.streaming.redis_bus import RedisBus  # noqa: PLC0415  (the embedded shape needs none of it)

        bus = RedisBus(settings.REDIS_URL)
        await bus.start()
        install_bus(bus)


def start_bus_in_thread() -> None:
    """As `start_bus`, for a process without a loop; it ends with the process."""
    if settings.REDIS_URL:
        from apps.streaming.redis_bus import RedisBus  # noqa: PLC0415  (the embedded shape needs none of it)

        bus = RedisBus(settings.REDIS_URL)
        bus.start_in_thread()
        install_bus(bus)


async def stop_bus() -> None:
    """Send what is queued and let go of the connections."""
    stop = getattr(_bus, "stop", None)
    if stop is not None:
        await stop()


def held_text(generation_id: UUID) -> Snapshot | None:
    """Read what Redis holds of an answer whose writer is gone; None without Redis: memory went with the writer.

    From any thread and in any process. Effects: one round trip, at most a second where Redis is away.
    """
    if not settings.REDIS_URL:
        return None
    from apps.streaming.redis_reading import read_snapshot  # noqa: PLC0415  (the embedded shape needs none of it)

    return read_snapshot(settings.REDIS_URL, str(generation_id))


def publish(topic: str, event: Mapping[str, Any]) -> None:
    """Publish once the transaction is committed, or at once where none is open."""
    transaction.on_commit(lambda: _bus.publish(topic, event))


def user_topic(user_id: UUID) -> str:
    return f"user:{user_id}"


def publish_conversation(conversation: Conversation, *, what: str) -> None:
    """Tell the owner's tabs that a row of the list changed; `what` is created, changed, deleted or restored."""
    publish(
        user_topic(conversation.owner_id),
        {
            "type": "conversation",
            "conversation": str(conversation.pk),
            "what": what,
            "title": conversation.display_title,
        },
    )


def publish_messages(
    conversation: Conversation, ids: Iterable[UUID] = (), *, generations: Iterable[Generation] = ()
) -> None:
    """Tell the owner's tabs that messages came or went, and which answers can be followed."""
    publish(
        user_topic(conversation.owner_id),
        {
            "type": "messages",
            "conversation": str(conversation.pk),
            "leaf": str(conversation.active_leaf_id) if conversation.active_leaf_id else None,
            "ids": [str(pk) for pk in ids],
            "answers": [_answer(generation) for generation in generations],
        },
    )


def _answer(generation: Generation) -> dict[str, Any]:
    """Name an answer that begins; a `new` one has no text yet that readers would have to look up."""
    is_new = not generation.request.get("continuation")
    return {"generation": str(generation.pk), "message": str(generation.message_id), "new": is_new}


def ring(generation: Generation) -> None:
    """Ring the doorbell of the runners."""
    publish(QUEUED, {"type": "queued", "generation": str(generation.pk)})


def note_stop(generation_id: UUID) -> None:
    """Hurry the runner that holds a generation; the row says the same, only later."""
    publish(STOPS, {"type": "stop", "generation": str(generation_id)})
