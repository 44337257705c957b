"""The runner: one loop that claims queued generations, keeps their leases, and has their answers written and flushed.

It lives in the web process or in a process of its own; what it does is the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any
from uuid import UUID

from django.db import OperationalError

from apps.conversations.models import Generation, GenerationState, Message, Purpose
from apps.conversations.runner.limits import Limits
from apps.conversations.runner.titles import write_title
from apps.conversations.runner.writer import BROKEN, RESTARTING, STOPPED, AnswerWriter, provider_for
from apps.conversations.services import generations, live
from apps.conversations.services.context import build_context
from apps.conversations.services.generations import Ending, Lease
from apps.core.db import in_db
from apps.providers.base import ChatMessage, ChatProvider, ChatRequest
from apps.providers.errors import ProviderError
from apps.streaming.bus import Bus

log = logging.getLogger(__name__)
CONTEXT_MESSAGES = 50
# A database that is away: how often and how long an ending is tried again before the sweeper has to take over.
FINISH_PAUSES = (0.1, 0.3, 1.0, 3.0, 5.0, 10.0)


class Runner:
    """Write the answers of this process. `start` it on a running loop, `drain` it before the process ends."""

    def __init__(self, bus: Bus, *, limits: Limits | None = None, concurrency: int = 1_000) -> None:
        self.bus = bus
        self.limits = limits or Limits.from_settings()
        self.concurrency = concurrency
        self.name = generations.runner_name()
        self._writers: dict[UUID, AnswerWriter] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loops: list[asyncio.Task[Any]] = []
        self._draining = False
        self._over = asyncio.Event()
        self._work = asyncio.Event()
        self._fresh: set[AnswerWriter] = set()
        self._flushed = asyncio.Event()
        self._keep_now = asyncio.Event()

    @property
    def active(self) -> int:
        """Count the generations in hand."""
        return len(self._tasks)

    async def start(self) -> None:
        """Begin: sweep what dead processes left, then claim and write until drained."""
        self._bells = await self.bus.subscribe(live.QUEUED, live.STOPS)
        await in_db(self._sweep_at_start)
        self._work.set()
        loops = (self._listen(), self._claim(), self._beat(), self._flush(), self._keep())
        self._loops = [asyncio.create_task(loop) for loop in loops]
        for loop in self._loops:
            loop.add_done_callback(_say_if_broken)

    async def drain(self, grace_seconds: float | None = None) -> None:
        """Take nothing new, let answers finish for the grace time, interrupt the rest with all text kept."""
        self._draining = True
        grace = self.limits.drain_seconds if grace_seconds is None else grace_seconds
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        self.interrupt_all()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=15)
        await self._bells.close()
        # Not cancelled: a statement of theirs that is under way would outlive them.
        self._over.set()
        for event in (self._work, self._keep_now, self._flushed):
            event.set()
        await asyncio.gather(*self._loops, return_exceptions=True)

    def interrupt_all(self) -> None:
        """End all answers now, with their text kept."""
        for writer in list(self._writers.values()):
            writer.end(RESTARTING)

    # --- loops ---------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Hear bells and stops; the heartbeat finds what is missed."""
        async for topic, event in self._bells:
            if topic == live.STOPS:
                self._stop(UUID(event["generation"]))
            else:
                self._work.set()

    def _stop(self, generation_id: UUID) -> None:
        if writer := self._writers.get(generation_id):
            writer.end(STOPPED)

    async def _claim(self) -> None:
        """Take queued work, woken by a bell or each second."""
        while not self._over.is_set():
            await _wait(self._work, self.limits.heartbeat_seconds)
            self._work.clear()
            free = self.concurrency - len(self._tasks)
            if self._draining or free <= 0:
                continue
            try:
                claimed = await in_db(_claim_with_paths, owner=self.name, limit=min(free, 50))
            except OperationalError:
                log.warning("claim-failed")
                continue
            if self._draining:
                for generation, _ in claimed:
                    await in_db(generations.hand_back, Lease(generation.pk, self.name, generation.attempt))
                continue
            for generation, path in claimed:
                self._begin(generation, path)
            if len(claimed) == 50:
                self._work.set()

    def _begin(self, generation: Generation, path: list[Message]) -> None:
        task = asyncio.create_task(self._run(generation, path))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_say_if_broken)

    async def _beat(self) -> None:
        """Renew leases, hear of stops that no note told, watch the clock, and sweep the dead now and then."""
        beats = 0
        while not self._over.is_set():
            await _wait(self._over, self.limits.heartbeat_seconds)
            beats += 1
            now = time.monotonic()
            for writer in list(self._writers.values()):
                writer.check_time(now)
            try:
                if self._tasks:
                    for generation_id in await in_db(generations.renew, owner=self.name):
                        self._stop(generation_id)
                if beats % 15 == 0:
                    await in_db(generations.sweep, keep_owner=self.name)
            except OperationalError:
                log.warning("heartbeat-failed")

    async def _flush(self) -> None:
        """Hand new text to the bus: the first delta at once, then at most 20 times a second, less when the loop lags."""
        interval = self.limits.flush_seconds
        while not self._over.is_set():
            await self._flushed.wait()
            self._flushed.clear()
            fresh, self._fresh = self._fresh, set()
            for writer in fresh:
                for delta in writer.live.take():
                    await self.bus.append(delta)
            before = time.monotonic()
            await asyncio.sleep(interval)
            lag = time.monotonic() - before - interval
            interval = min(self.limits.slow_flush_seconds, max(self.limits.flush_seconds, interval * 0.9 + lag))

    async def _keep(self) -> None:
        """Keep the text so far in the rows: at most once a second, a first delta at once."""
        while not self._over.is_set():
            await _wait(self._keep_now, 1.0)
            self._keep_now.clear()
            dirty = [writer for writer in self._writers.values() if writer.dirty]
            if not dirty:
                continue
            progress = [writer.progress() for writer in dirty]
            try:
                await in_db(generations.keep, progress)
            except OperationalError:
                log.warning("checkpoint-failed")
                for writer in dirty:
                    writer.dirty = True
            await asyncio.sleep(0.1)

    def _on_delta(self, writer: AnswerWriter) -> None:
        self._fresh.add(writer)
        self._flushed.set()

    async def _on_first(self, writer: AnswerWriter) -> None:
        """Show the first delta at once, whatever the others wait for, and have it kept."""
        self._keep_now.set()
        for delta in writer.live.take():
            await self.bus.append(delta)

    # --- one generation ------------------------------------------------------------------------------------------

    async def _run(self, generation: Generation, path: list[Message]) -> None:
        lease = Lease(generation.pk, self.name, generation.attempt)
        if generation.purpose == Purpose.TITLE:
            await write_title(generation, lease)
            return
        writer = AnswerWriter(generation, owner=self.name, limits=self.limits)
        self._writers[generation.pk] = writer
        if generation.stop_requested_at is not None:
            writer.end(STOPPED)
        try:
            await self.bus.open(writer.live.live, generation.attempt, writer.live.parts)
            ending = await self._write(generation, path, writer)
            for delta in writer.live.take():
                await self.bus.append(delta)
            await self._finish(ending, writer)
        finally:
            self._writers.pop(generation.pk, None)
            self._fresh.discard(writer)

    async def _write(self, generation: Generation, path: list[Message], writer: AnswerWriter) -> Ending:
        try:
            request, provider = _request(generation, path)
            return await writer.write(request, provider, on_delta=self._on_delta, on_first=self._on_first)
        except ProviderError as error:
            return writer.refused(error)
        except Exception:
            # Whatever broke, the reader gets a sentence and the text is kept; the trace goes to the log.
            log.exception("answer-broke", extra={"fields": {"generation": str(generation.pk)}})
            return writer.ended_by(BROKEN)

    async def _finish(self, ending: Ending, writer: AnswerWriter) -> None:
        """Write the ending, through a database that is away for a moment, then say so on the bus."""
        for pause in (*FINISH_PAUSES, None):
            try:
                done = await in_db(generations.finish, ending)
                break
            except OperationalError:
                log.warning("finish-failed", extra={"fields": {"generation": writer.live.live}})
                if pause is None:
                    return
                await asyncio.sleep(pause)
        if not done:
            log.warning("lease-lost", extra={"fields": {"generation": writer.live.live}})
            return
        await self.bus.drop(writer.live.live)
        status = generations.MESSAGE_STATUS[GenerationState(ending.state)]
        event = {"type": "ended", "status": str(status), "message": str(ending.message_id)}
        self.bus.publish(f"live:{writer.live.live}", event)

    def _sweep_at_start(self) -> None:
        """End at once what processes of this host left that are gone, and what is dead anyway."""
        if owners := generations.dead_owners_here(but=self.name):
            generations.sweep(owners=owners)
        generations.sweep(keep_owner=self.name)


def _claim_with_paths(*, owner: str, limit: int) -> list[tuple[Generation, list[Message]]]:
    """Claim queued generations and read what each one's model is to see, in one visit to the database."""
    claimed = generations.claim(owner=owner, limit=limit)
    above = [generation.message.parent_id if generation.message else None for generation in claimed]
    return [
        (generation, Message.objects.all().walk_up(parent_id, limit=CONTEXT_MESSAGES))
        for generation, parent_id in zip(claimed, above, strict=True)
    ]


def _request(generation: Generation, path: list[Message]) -> tuple[ChatRequest, ChatProvider]:
    """Build what the model is sent. Raises: ProviderError if its provider is gone."""
    message = generation.message
    assert message is not None
    provider, model = provider_for(generation.request["model"])
    messages = build_context(path)
    continuation = bool(generation.request.get("continuation")) and bool(message.text)
    if continuation:
        messages = (*messages, ChatMessage("assistant", message.text))
    return ChatRequest(model, messages, continuation=continuation), provider


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but no longer than some seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _say_if_broken(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("runner-task-broke", exc_info=error)
