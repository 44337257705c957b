"""The runner: loops that claim queued generations, keep their leases, and have their answers written and flushed.

It lives in the web process or in a process of its own; what it does is the same.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from django.utils import timezone

from apps.conversations.models import Generation, GenerationState, Message, Purpose
from apps.conversations.runner.limits import Limits
from apps.conversations.runner.outlet import AWAY, Outlet, wait
from apps.conversations.runner.titles import write_title
from apps.conversations.runner.writer import BROKEN, RESTARTING, STOPPED, AnswerWriter, provider_for
from apps.conversations.services import generations, leases, live, observation, runners
from apps.conversations.services.context import build_context
from apps.conversations.services.endings import MESSAGE_STATUS, Ending, Lease
from apps.core.db import in_db
from apps.core.logs import get_logger
from apps.providers.base import ChatMessage, ChatProvider, ChatRequest
from apps.providers.errors import ProviderError
from apps.streaming.bus import Bus

log = get_logger(__name__)
CONTEXT_MESSAGES = 50
CLAIM_AT_ONCE = 50
SWEEP_EVERY_BEATS = 15
# A database that is away: the pause before an ending is tried again doubles up to this.
LONGEST_PAUSE_SECONDS = 10.0
# After the grace, so long may endings take to be written.
LAST_WRITES_SECONDS = 15.0


class Runner:
    """Write the answers of this process. `start` it on a running loop, `drain` it before the process ends."""

    def __init__(self, bus: Bus, *, limits: Limits | None = None, concurrency: int = 1_000) -> None:
        self.bus = bus
        self.limits = limits or Limits.from_settings()
        self.concurrency = concurrency
        self.name = leases.runner_name()
        self._writers: dict[UUID, AnswerWriter] = {}
        self._answers: set[asyncio.Task[None]] = set()
        self._titles: dict[UUID, asyncio.Task[None]] = {}
        self._loops: list[asyncio.Task[None]] = []
        # Answers of this process on their way from the services to a writer.
        self._taking: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context = contextvars.Context()
        self._draining = False
        self._started_at = timezone.now()
        self._pulse_at = 0.0
        self._swept = False
        self._over = asyncio.Event()
        self._work = asyncio.Event()
        self._outlet = Outlet(bus, self.limits, self._writers.values)

    @property
    def active(self) -> int:
        """Count the generations in hand."""
        return len(self._answers) + len(self._titles) + len(self._taking)

    async def start(self) -> None:
        """Begin: sweep what dead processes left, then claim and write until drained.

        A database that is away now is tried again by the heartbeat.
        """
        self._loop, self._context = asyncio.get_running_loop(), contextvars.copy_context()
        self._bells = await self.bus.subscribe(live.QUEUED, live.STOPS)
        await self._sweep_at_start()
        self._work.set()
        loops = (self._listen, self._claim, self._beat, self._outlet.flush, self._outlet.keep)
        self._loops = [asyncio.create_task(self._tend(loop)) for loop in loops]

    async def drain(self, grace_seconds: float | None = None) -> None:
        """Take nothing new, let answers finish for the grace time, interrupt the rest with all text kept."""
        self._draining, self._pulse_at = True, 0.0
        for task in list(self._titles.values()):
            task.cancel()  # a name is a comfort: the next runner makes it
        if self._taking:
            await asyncio.wait(self._taking, timeout=LAST_WRITES_SECONDS)
        if self._answers:
            grace = self.limits.drain_seconds if grace_seconds is None else grace_seconds
            await asyncio.wait(self._answers, timeout=grace)
        self.interrupt_all()
        if last := self._answers | set(self._titles.values()):
            await asyncio.wait(last, timeout=LAST_WRITES_SECONDS)
        await self._bells.close()
        # The loops are not cancelled: a statement of theirs that is under way would outlive them.
        self._over.set()
        self._work.set()
        self._outlet.close()
        await asyncio.gather(*self._loops)
        await self._sign_off()

    def interrupt_all(self) -> None:
        """End all answers now, with their text kept."""
        for writer in list(self._writers.values()):
            writer.end(RESTARTING)

    # --- loops ---------------------------------------------------------------------------------------------------

    async def _tend(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Keep a loop going whatever breaks in it: one bad answer must not end the work on all others."""
        while not self._over.is_set():
            try:
                await loop()
            except Exception:
                log.exception("runner-loop-broke", loop=getattr(loop, "__name__", ""))
                await wait(self._over, self.limits.heartbeat_seconds)

    async def _listen(self) -> None:
        """Hear bells and stops; the heartbeat finds what is missed."""
        async for topic, event in self._bells:
            if topic == live.STOPS:
                self._stop(UUID(event["generation"]))
            else:
                self._work.set()
        await self._over.wait()

    def _stop(self, generation_id: UUID) -> None:
        if writer := self._writers.get(generation_id):
            writer.end(STOPPED)

    def _abandon(self, lost: Collection[UUID]) -> None:
        """Let go of what was taken away meanwhile: nothing of it would be stored, so nothing more of it is shown."""
        for generation_id in lost:
            if writer := self._writers.get(generation_id):
                writer.is_lost = True
                writer.end(RESTARTING)
            if title := self._titles.get(generation_id):
                title.cancel()

    async def _claim(self) -> None:
        """Take queued work, woken by a bell or each second."""
        while not self._over.is_set():
            await wait(self._work, self.limits.heartbeat_seconds)
            self._work.clear()
            free = self.concurrency - self.active
            if self._draining or free <= 0:
                continue
            try:
                claimed = await in_db(_claim_with_paths, owner=self.name, limit=min(free, CLAIM_AT_ONCE))
            except AWAY:
                log.warning("claim-failed")
                continue
            for generation, path in claimed:
                self._begin(generation, path)
            if len(claimed) == CLAIM_AT_ONCE:
                self._work.set()

    # --- as the host of its process: see services/hosting --------------------------------------------------------

    def has_room(self, wanted: int) -> bool:
        """Tell whether so many more answers can be taken now; from any thread."""
        is_here = self._loop is not None and not self._loop.is_closed() and not self._draining
        return is_here and self.active + wanted <= self.concurrency

    def take(self, taken: Sequence[Generation]) -> None:
        """Write answers that were begun in this process, under this runner's lease; from any thread."""
        assert self._loop is not None
        for generation in taken:
            generations.take_in_hand(generation.pk)
            try:
                # In the runner's own context: a task born in a request would keep that request's alive.
                self._loop.call_soon_threadsafe(self._begin_taken, generation, context=self._context.copy())
            except RuntimeError:  # the loop ended meanwhile: as if this process had died right after it promised
                generations.let_go(generation.pk)

    def _begin_taken(self, generation: Generation) -> None:
        task = asyncio.create_task(self._read_and_begin(generation))
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)

    async def _read_and_begin(self, generation: Generation) -> None:
        try:
            self._begin(generation, await in_db(_with_path, generation))
        except AWAY:
            # Nobody holds it now: its lease runs out, and whoever sweeps then queues it again.
            generations.let_go(generation.pk)
            log.warning("claim-failed")

    # -------------------------------------------------------------------------------------------------------------

    def _begin(self, generation: Generation, path: list[Message]) -> None:
        lease = Lease(generation.pk, self.name, generation.attempt)
        generations.take_in_hand(generation.pk)
        observation.started(generation)
        if generation.purpose == Purpose.TITLE:
            task = self._titles[generation.pk] = asyncio.create_task(self._name(generation, lease))
            task.add_done_callback(lambda _: self._titles.pop(generation.pk, None))
        else:
            task = asyncio.create_task(self._answer(generation, path, lease))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)
        task.add_done_callback(lambda _: generations.let_go(generation.pk))

    async def _beat(self) -> None:
        """Renew leases, hear of stops that no note told, watch the clock, and sweep the dead now and then."""
        beats = 0
        while not self._over.is_set():
            await wait(self._over, self.limits.heartbeat_seconds)
            beats += 1
            now = time.monotonic()
            for writer in list(self._writers.values()):
                writer.check_time(now)
            try:
                pulse = self._pulse() if now >= self._pulse_at else None
                if self.active or pulse:
                    in_hand = [*self._writers, *self._titles]
                    stops, lost = await in_db(leases.renew, in_hand, owner=self.name, pulse=pulse)
                    for generation_id in stops:
                        self._stop(generation_id)
                    self._abandon(lost)
                self._outlet.vouch()
                if pulse:
                    self._pulse_at = now + runners.PULSE_SECONDS
                if not self._swept:
                    await self._sweep_at_start()
                elif beats % SWEEP_EVERY_BEATS == 0:
                    await in_db(_sweep)
            except AWAY:
                self._outlet.vouch()  # nor can anybody else take anything away
                log.warning("heartbeat-failed")

    def _pulse(self) -> runners.Pulse:
        return runners.Pulse(self.name, self._started_at, self.concurrency, self.active, self._draining)

    async def _sign_off(self) -> None:
        try:
            await in_db(runners.remove, self.name)
        except AWAY:
            log.warning("sign-off-failed")

    # --- one generation ------------------------------------------------------------------------------------------

    async def _name(self, generation: Generation, lease: Lease) -> None:
        try:
            await write_title(generation, lease)
        except asyncio.CancelledError:
            await in_db(leases.hand_back, lease)
        except Exception:
            # The conversation keeps its first words; the row must not stay running.
            log.exception("title-broke", generation=str(generation.pk))
            await in_db(leases.finish_title, lease, state=GenerationState.FAILED, error_code="internal")

    async def _answer(self, generation: Generation, path: list[Message], lease: Lease) -> None:
        if self._draining:
            await in_db(leases.hand_back, lease)
            return
        self._abandon([generation.pk])  # taken away from us meanwhile, and come back
        writer = self._writers[generation.pk] = AnswerWriter(generation, owner=self.name, limits=self.limits)
        self._outlet.admit(writer)
        if generation.stop_requested_at is not None:
            writer.end(STOPPED)
        try:
            await self._finish(await self._write(generation, path, writer), writer)
        finally:
            if self._writers.get(generation.pk) is writer:
                del self._writers[generation.pk]
            self._outlet.forget(writer)
            await self.bus.drop(writer.live.live, writer.live.attempt)

    async def _write(self, generation: Generation, path: list[Message], writer: AnswerWriter) -> Ending:
        try:
            await self.bus.open(writer.live.live, generation.attempt, writer.live.parts)
            request, provider = _request(generation, path, partial(self._outlet.until_flush, writer))
            ending = await writer.write(
                request,
                provider,
                on_delta=self._outlet.on_delta,
                on_first=self._outlet.on_first,
                on_status=self._outlet.on_status,
            )
            await self._outlet.show(writer)
        except ProviderError as error:
            return writer.refused(error)
        except Exception:
            # Whatever broke, the reader gets a sentence and the text is kept; the trace goes to the log.
            log.exception("answer-broke", generation=str(generation.pk))
            return writer.ended_by(BROKEN)
        return ending

    async def _finish(self, ending: Ending, writer: AnswerWriter) -> None:
        """Write the ending, then say so on the bus."""
        try:
            facts = await self._persist(ending)
        except Exception:
            # Something in it can't be stored: the text alone, without its figures, can.
            log.exception("ending-broke", generation=writer.live.live)
            ending = _plain(ending)
            facts = await self._persist(ending)
        if facts is None:
            observation.LEASES_LOST.inc()
            log.warning("lease-lost", generation=writer.live.live)
            return
        await self.bus.drop(writer.live.live, writer.live.attempt)
        status = MESSAGE_STATUS[GenerationState(ending.state)]
        at = [ending.lease.attempt, *writer.live.position]
        event = {"type": "ended", "status": str(status), "message": str(ending.message_id), "at": at}
        self.bus.publish(f"live:{writer.live.live}", {**event, "facts": facts} if facts else event)
        observation.ended(writer.generation, ending)

    async def _persist(self, ending: Ending) -> dict[str, Any] | None:
        """Store an ending, through a database that is away for as long as this process lives."""
        pause = 0.1
        while True:
            try:
                return await in_db(leases.finish, ending)
            except AWAY:
                if self._over.is_set():
                    raise
                log.warning("finish-failed", generation=str(ending.lease.generation_id))
                await wait(self._over, pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _sweep_at_start(self) -> None:
        """End at once what processes of this host left that are gone, and what is dead anyway."""
        try:
            await in_db(_sweep_what_is_gone, but=self.name)
            self._swept = True
        except AWAY:
            log.warning("sweep-failed")


def _sweep_what_is_gone(*, but: str) -> None:
    if owners := generations.dead_owners_here(but=but):
        generations.sweep(owners=owners)
    _sweep()


def _sweep() -> None:
    generations.sweep()
    runners.forget_gone()


def _claim_with_paths(*, owner: str, limit: int) -> list[tuple[Generation, list[Message]]]:
    """Claim queued generations and read what each one's model is to see, in one visit to the database."""
    return [(generation, _with_path(generation)) for generation in leases.claim(owner=owner, limit=limit)]


def _with_path(generation: Generation) -> list[Message]:
    """Read the path above a generation's message, and the message itself. Effects: one query."""
    path = Message.objects.all().walk_up_for_context(generation.message_id, limit=CONTEXT_MESSAGES + 1)
    generation.message = path.pop() if path else None
    return path


def _request(
    generation: Generation, path: list[Message], pace: Callable[[], Awaitable[object]]
) -> tuple[ChatRequest, ChatProvider]:
    """Build what the model is sent. Raises: ProviderError if its provider is gone."""
    message = generation.message
    assert message is not None
    provider, model = provider_for(generation.request["model"])
    messages = build_context(path)
    continuation = bool(generation.request.get("continuation")) and bool(message.text)
    if continuation:
        messages = (*messages, ChatMessage("assistant", message.text))
    return ChatRequest(model, messages, continuation=continuation, pace=pace), provider


def _plain(ending: Ending) -> Ending:
    """Reduce an ending to its text and the word that something broke."""
    state, reason, code, sentence = BROKEN
    parts = [{"type": part["type"], "text": part["text"]} for part in ending.parts]
    told = replace(ending, state=state, finish_reason=reason, error_code=code, error_message=sentence)
    return replace(told, parts=parts, usage={}, ttft_ms=None, duration_ms=None)
