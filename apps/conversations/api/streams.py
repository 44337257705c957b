"""Answers as they are written, by Server-Sent Events: a stream can break and go on anywhere, and ending it stops nothing."""

from __future__ import annotations

from asyncio import timeout
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, TypeVar, cast
from uuid import UUID

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from ninja import Query, Router, Status

from apps.accounts.services.passes import Lapse, Pass
from apps.conversations import process
from apps.conversations.api.authentication import caller, pass_of
from apps.conversations.api.events import COMMENT, Position, cut_before, delta_event, named_event, parse_position
from apps.conversations.models import Generation
from apps.conversations.schemas.base import clamped
from apps.conversations.schemas.messages import Started, Stop, Stopped
from apps.conversations.schemas.streams import StreamEnd, StreamError, StreamStart, end_of, end_told
from apps.conversations.services import generations, live, progress, reading
from apps.conversations.services.answers import Sent
from apps.core.db import DATABASE_AWAY, in_db
from apps.core.errors import SignInNeeded
from apps.core.logs import get_logger
from apps.streaming.answers import Delta, Snapshot
from apps.streaming.readers import End, follow

T = TypeVar("T")
router = Router(tags=["streams"], by_alias=True)
log = get_logger(__name__)

COMMENT_SECONDS = 15.0
Place = Annotated[int, clamped(0)]
EVENTS = {"description": "Server-Sent Events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
# For the description of operations that may answer with events.
MAY_STREAM = {"responses": {200: EVENTS}}
GONE = StreamError(error="not_found", message="This answer was deleted.")


@router.get(
    "/chats/{chat_id}/stream",
    response={204: None},
    summary="Follow an answer, from its start or from a position",
    openapi_extra=MAY_STREAM,
)
def stream(
    request: HttpRequest,
    chat_id: str,
    generation_id: Annotated[str | None, Query(alias="generationId")] = None,
    part: Place = 0,
    offset: Place = 0,
) -> HttpResponseBase:
    user = caller(request)
    last_event_id = request.headers.get("Last-Event-ID", "").strip()
    if last_event_id:
        position = parse_position(last_event_id)
        generation = progress.get_answer(user=user, conversation_id=chat_id, generation_id=position.live)
    elif generation_id is not None:
        generation = progress.get_answer(user=user, conversation_id=chat_id, generation_id=generation_id)
        position = Position(str(generation.pk), None, part, offset)
    else:
        active = generations.active_answers(user=user, conversation_id=chat_id)
        if not active:
            return HttpResponse(status=204)
        generation = active[0]
        position = Position(str(generation.pk), None, part, offset)
    return event_stream(generation, position, pass_of(request))


@router.post("/chats/{chat_id}/stop", response={202: Stopped}, summary="Stop what is being written in a chat")
def stop(request: HttpRequest, chat_id: str, given: Stop | None = None) -> Status[Stopped]:
    stopped = generations.stop(
        user=caller(request), conversation_id=chat_id, generation_id=given.generation_id if given else None
    )
    return Status(202, Stopped(stopped=stopped))


def started_response(
    request: HttpRequest, sent: Sent, *, stream: bool | None, continues: bool = False
) -> HttpResponseBase | Status[Started]:
    """Answer what began an answer: with its ids, or with the events of its first generation where that is asked for."""
    wants_events = "text/event-stream" in request.headers.get("Accept", "") if stream is None else stream
    question = sent.user_message.pk if sent.user_message else None
    if wants_events and sent.generations:
        generation = sent.generations[0]
        position = Position(str(generation.pk))
        if continues:
            parts = sent.answers[0].parts
            position = Position(position.live, None, len(parts) - 1, len(parts[-1].get("text", "")))
        is_new = not continues and not sent.replayed
        return event_stream(generation, position, pass_of(request), question=question, skips=continues, is_new=is_new)
    started = Started(
        user_message_id=question,
        message_ids=[answer.pk for answer in sent.answers],
        generation_ids=[generation.pk for generation in sent.generations],
        # The first result of a replay ended at its answer, wherever the owner stands by now.
        leaf_id=sent.answers[0].pk if sent.replayed and sent.answers else sent.conversation.active_leaf_id,
        branched=sent.branched,
    )
    return Status(202, started)


def event_stream(
    generation: Generation,
    position: Position,
    held: Pass,
    *,
    question: UUID | None = None,
    skips: bool = False,
    is_new: bool = False,
) -> StreamingHttpResponse:
    """Follow a generation that the caller may read, from a position on, for as long as the pass counts."""
    start = StreamStart(generation_id=generation.pk, message_id=generation.message_id, user_message_id=question)
    response = StreamingHttpResponse(
        _events(position, start, held, skips=skips, is_new=is_new, over=not generation.is_active),
        content_type="text/event-stream; charset=utf-8",
    )
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


async def _events(
    position: Position, start: StreamStart, held: Pass, *, skips: bool, is_new: bool, over: bool
) -> AsyncIterator[bytes]:
    """Yield the stream's bytes; `skips`: what lies before the position is never sent, also when an attempt begins again."""
    begin, end = position, End("")
    yield named_event("start", position, start.model_dump(by_alias=True, exclude_none=True))
    try:
        async with (
            aclosing(_follow(position, is_new=is_new, over=over)) as followed,
            aclosing(_while_allowed(followed, held)) as items,
        ):
            async for item in items:
                if isinstance(item, End):
                    end = item
                    break
                delta = cut_before(item, begin.part, begin.offset) if skips else item
                if not item.text:
                    yield COMMENT
                elif delta is not None:
                    position = position.after(delta)
                    yield delta_event(delta)
        for event in await _last_events(position, end):
            yield event
    except (*DATABASE_AWAY, SignInNeeded) as error:
        # Ends without `end`: the reader comes back with the id of its last event.
        say = log.info if process.unstarted().is_over else log.warning
        say("stream-cut", generation=position.live, error=type(error).__name__)


def _follow(position: Position, *, is_new: bool, over: bool) -> AsyncGenerator[Delta | End, None]:
    items = follow(
        live.bus(),
        position.live,
        start_part=position.part,
        start_offset=position.offset,
        start_attempt=position.attempt,
        load_row=_load_row,
        quiet=COMMENT_SECONDS,
        keepalive=True,
        is_new=is_new,
        over=over,
    )
    # A generator, which its signature hides: closing it lets go of the subscription at once.
    return cast(AsyncGenerator[Delta | End, None], items)


async def _while_allowed(items: AsyncGenerator[T, None], held: Pass) -> AsyncGenerator[T, None]:
    """Pass items on until the caller may read no more.

    Raises: SignInNeeded then, also while no item comes.
    """
    is_allowed, waiting = True, None

    async def turn_out(lapse: Lapse) -> None:
        nonlocal is_allowed
        is_allowed = False
        if waiting is not None:
            waiting.reschedule(0)

    leave = process.unstarted().guard.admit(held, turn_out)
    try:
        while is_allowed:
            # A time-out without a time costs two microseconds; a task for each item to wait for would cost thirty.
            async with timeout(None) as waiting:
                item = await anext(items, None)
            waiting = None
            if item is None:
                return
            yield item
    except TimeoutError:
        if is_allowed:
            raise
    finally:
        leave()
    raise SignInNeeded


async def _load_row(generation_id: str) -> Snapshot | None:
    return await in_db(reading.snapshot_of, generation_id)


async def _last_events(position: Position, over: End) -> list[bytes]:
    """Write `end`, and `error` before it where there is one; nothing if the row says that the answer goes on."""
    told = end_told(over.status, over.facts) if over.facts else await _read_end(position.live)
    if told is None:
        # Ends without `end`, as a broken connection does: the reader comes back with the id of its last event.
        return []
    error, end = told
    events = [named_event("error", position, error.model_dump())] if error else []
    return [*events, named_event("end", position, end.model_dump(by_alias=True))]


async def _read_end(generation_id: str) -> tuple[StreamError | None, StreamEnd] | None:
    generation = await in_db(progress.get_ended, generation_id)
    if generation is None:
        return GONE, StreamEnd(status="interrupted")
    return None if generation.is_active else end_of(generation)
