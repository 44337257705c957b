"""The runner against real rows: answers written, kept, stopped, retried, cut short, interrupted, swept."""

import asyncio
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from apps.conversations.models import Conversation, Generation, GenerationState, Message, MessageStatus
from apps.conversations.runner.limits import Limits
from apps.conversations.runner.runner import Runner
from apps.conversations.services import generations, leases, messages, reading
from apps.core.db import in_db
from apps.providers.base import Finished, ReasoningDelta, TextDelta, UsageReport
from apps.providers.errors import ErrorKind, ProviderError
from apps.streaming.readers import End, follow

pytestmark = pytest.mark.django_db(transaction=True)

END = Finished("stop")


@pytest.fixture
async def runner(bus):
    runner = Runner(bus, limits=Limits(heartbeat_seconds=0.05, retries=2, drain_seconds=0.2))
    await runner.start()
    yield runner
    await runner.drain(0)


async def send(user, content="Hello", **fields):
    fields.setdefault("conversation_id", None)
    return await in_db(messages.send, user=user, content=content, model="scripted/model", **fields)


async def ended(bus, sent):
    """Wait until an answer has ended and give its row."""
    generation = sent.generations[0]

    async def load_row(live):
        return await in_db(reading.snapshot_of, live)

    async with asyncio.timeout(10):
        async for event in follow(bus, str(generation.pk), load_row=load_row, quiet=0.2):
            if isinstance(event, End):
                break
    return await in_db(Message.objects.get, pk=generation.message_id)


async def text_shown(bus, sent, text):
    """Wait until a reader has seen this much."""
    seen = ""
    async with asyncio.timeout(10):
        async for event in follow(bus, str(sent.generations[0].pk), load_row=_no_row, quiet=0.2):
            seen += event.text
            if seen.endswith(text):
                return


async def _no_row(live):
    return await in_db(reading.snapshot_of, live)


async def test_an_answer_is_written_with_its_usage_and_times(runner, bus, user, scripted):
    scripted.add([ReasoningDelta("Hm."), "Good ", "day", Finished("stop"), UsageReport(7, 2, 1, None)])
    message = await ended(bus, await send(user))
    assert message.status == MessageStatus.COMPLETE
    assert message.text == "Good day"
    assert [part["type"] for part in message.parts] == ["reasoning", "text"]
    assert (message.prompt_tokens, message.completion_tokens, message.cached_tokens) == (7, 2, None)
    assert message.finish_reason == "stop"
    assert message.ttft_ms is not None
    assert message.duration_ms >= message.ttft_ms


async def test_the_model_is_sent_the_path_and_nothing_else(runner, bus, user, scripted):
    scripted.add(["One.", END], ["Two.", END], ["Three.", END])
    first = await send(user, "A")
    await ended(bus, first)
    second = await send(user, "B", conversation_id=first.conversation.pk)
    await ended(bus, second)
    await ended(bus, await send(user, "C", conversation_id=first.conversation.pk, parent_id=first.answers[0].pk))
    answers = [r for r in scripted.requests if r.messages[0].role != "system"]
    assert [m.content for m in answers[-1].messages] == ["A", "One.", "C"]


async def test_stopping_keeps_the_text_and_closes_the_provider(runner, bus, user, scripted):
    never = asyncio.Event()
    scripted.add(["Half a ", never, "sentence", END])
    sent = await send(user)
    await text_shown(bus, sent, "Half a ")
    await in_db(generations.stop, user=user, conversation_id=sent.conversation.pk)
    message = await ended(bus, sent)
    assert (message.status, message.text, message.finish_reason) == (MessageStatus.STOPPED, "Half a ", "user_stopped")
    assert scripted.closed_early == 1


async def test_stopping_before_the_first_delta_ends_as_stopped(runner, bus, user, scripted):
    scripted.add([asyncio.Event(), END])
    sent = await send(user)
    await scripted.called()
    await in_db(generations.stop, user=user, conversation_id=sent.conversation.pk)
    message = await ended(bus, sent)
    assert (message.status, message.parts) == (MessageStatus.STOPPED, [])


async def test_a_refusal_before_the_first_delta_is_tried_again(runner, bus, user, scripted):
    busy = ProviderError(ErrorKind.OVERLOADED, retry_after=0)
    scripted.add([busy], [busy], ["At last", END])
    message = await ended(bus, await send(user))
    assert message.text == "At last"
    assert len([r for r in scripted.requests if r.messages[0].role != "system"]) == 3


async def test_readers_are_told_what_is_waited_for_while_no_text_comes(runner, bus, user, scripted):
    busy, gate = "Scripted limits how often it may be asked.", asyncio.Event()
    scripted.add(
        [gate, ProviderError(ErrorKind.RATE_LIMITED, busy, retry_after=0.01)],
        [ReasoningDelta("Hm."), ReasoningDelta(" So."), "At last", END],
    )
    sent = await send(user)
    said = []
    async with await bus.subscribe(f"live:{sent.generations[0].pk}") as heard, asyncio.timeout(10):
        gate.set()
        async for _, event in heard:
            if event["type"] == "status":
                said.append(event)
            if event["type"] == "ended":
                break
    assert said == [
        {"type": "status", "word": "retrying", "text": busy, "seconds": 1},
        {"type": "status", "word": "thinking"},
    ]


async def test_a_break_after_the_first_delta_is_not_tried_again_and_keeps_the_text(runner, bus, user, scripted):
    scripted.add(["Some", ProviderError(ErrorKind.CUT_OFF, "The connection to Scripted broke.")])
    message = await ended(bus, await send(user))
    assert (message.status, message.text, message.error_code) == (MessageStatus.FAILED, "Some", "cut_off")
    assert message.error_message == "The connection to Scripted broke. The text so far is kept."
    assert len(scripted.requests) == 1


async def test_a_refused_key_is_said_in_words_and_not_tried_again(runner, bus, user, scripted):
    scripted.add([ProviderError(ErrorKind.KEY_REFUSED, "Scripted refused the API key.")])
    message = await ended(bus, await send(user))
    assert (message.error_code, message.error_message) == ("key_refused", "Scripted refused the API key.")
    assert len(scripted.requests) == 1


async def test_an_end_without_a_finish_reason_is_interrupted(runner, bus, user, scripted):
    scripted.add(["Cut"])
    message = await ended(bus, await send(user))
    assert (message.status, message.text) == (MessageStatus.INTERRUPTED, "Cut")


async def test_nothing_at_all_is_an_error_in_words(runner, bus, user, scripted):
    scripted.add([END])
    message = await ended(bus, await send(user))
    assert (message.status, message.error_code) == (MessageStatus.FAILED, "empty")


async def test_silence_ends_as_timed_out(bus, user, scripted):
    limits = Limits(heartbeat_seconds=0.02, first_delta_seconds=0.1, between_deltas_seconds=0.1)
    runner = Runner(bus, limits=limits)
    await runner.start()
    scripted.add([asyncio.Event()], ["Then", asyncio.Event()])
    first = await ended(bus, await send(user))
    second = await ended(bus, await send(user))
    await runner.drain(0)
    assert (first.status, first.error_code, first.text) == (MessageStatus.FAILED, "timed_out", "")
    assert (second.status, second.error_code, second.text) == (MessageStatus.FAILED, "timed_out", "Then")


async def test_an_answer_over_the_size_limit_ends_with_its_reason(bus, user, scripted):
    runner = Runner(bus, limits=Limits(heartbeat_seconds=0.05, answer_bytes=10))
    await runner.start()
    scripted.add(["ééééééé", "more", END])
    message = await ended(bus, await send(user))
    await runner.drain(0)
    assert (message.finish_reason, message.text) == ("size_limit", "ééééé")


async def test_text_is_kept_while_it_is_written(runner, bus, user, scripted):
    scripted.add(["So far", asyncio.Event(), END])
    sent = await send(user)
    await text_shown(bus, sent, "So far")
    async with asyncio.timeout(5):
        while not (await in_db(Message.objects.get, pk=sent.answers[0].pk)).parts:
            await asyncio.sleep(0.02)
    generation = await in_db(Generation.objects.get, pk=sent.generations[0].pk)
    assert generation.first_delta_at is not None
    assert generation.lease_until > timezone.now()


async def test_draining_interrupts_with_all_text_kept(bus, user, scripted):
    runner = Runner(bus, limits=Limits(heartbeat_seconds=0.05))
    await runner.start()
    scripted.add(["Kept", asyncio.Event(), END])
    sent = await send(user)
    await text_shown(bus, sent, "Kept")
    await runner.drain(0.05)
    message = await in_db(Message.objects.get, pk=sent.answers[0].pk)
    assert (message.status, message.text, message.error_code) == (MessageStatus.INTERRUPTED, "Kept", "restarted")


async def test_continuing_sends_the_text_so_far_and_appends(runner, bus, user, scripted):
    scripted.add(["Once upon "], ["a time.", END])
    sent = await send(user)
    await ended(bus, sent)
    continued = await in_db(
        messages.continue_answer,
        user=user,
        conversation_id=sent.conversation.pk,
        message_id=sent.answers[0].pk,
        model="scripted/model",
    )
    message = await ended(bus, continued)
    assert (message.status, message.text) == (MessageStatus.COMPLETE, "Once upon a time.")
    request = next(r for r in scripted.requests if r.continuation)
    assert request.messages[-1].content == "Once upon "


async def test_the_conversation_gets_a_name_after_its_first_answer(runner, bus, user, scripted):
    scripted.add(["Lisbon is lovely.", END], [TextDelta('"Trip to Lisbon."'), END])
    sent = await send(user, "Tell me about Lisbon please, I want to go there soon")
    await ended(bus, sent)
    async with asyncio.timeout(5):
        while (await in_db(Conversation.objects.get, pk=sent.conversation.pk)).title != "Trip to Lisbon":
            await asyncio.sleep(0.02)


async def test_a_title_of_the_users_own_is_left_alone(runner, bus, user, scripted):
    gate = asyncio.Event()
    scripted.add([gate, "Fine.", END], ["Some name", END])
    sent = await send(user)
    await in_db(Conversation.objects.filter(pk=sent.conversation.pk).update, title="Mine", title_source="user")
    gate.set()
    await ended(bus, sent)
    assert (await in_db(Conversation.objects.get, pk=sent.conversation.pk)).title == "Mine"
    assert not await in_db(Generation.objects.filter(purpose="title").exists)


# --- leases -----------------------------------------------------------------------------------------------------


def running(sent, *, owner="gone:1:x", first_delta=True, attempt=1, parts=()):
    """Make a generation look as if a runner had died while writing it."""
    past = timezone.now() - timedelta(hours=1)
    Message.objects.filter(pk=sent.answers[0].pk).update(parts=list(parts))
    Generation.objects.filter(pk=sent.generations[0].pk).update(
        state=GenerationState.RUNNING,
        lease_owner=owner,
        lease_until=past,
        attempt=attempt,
        first_delta_at=past if first_delta else None,
    )


def test_a_dead_answer_that_was_shown_is_interrupted_with_its_text(user):
    sent = messages.send(user=user, conversation_id=None, content="Hi")
    running(sent, parts=[{"type": "text", "text": "So far"}])
    assert generations.sweep() == 1
    message = Message.objects.get(pk=sent.answers[0].pk)
    assert (message.status, message.text, message.error_code) == (MessageStatus.INTERRUPTED, "So far", "restarted")
    assert generations.sweep() == 0


def test_a_dead_answer_that_nobody_saw_is_queued_again_three_times_at_most(user):
    sent = messages.send(user=user, conversation_id=None, content="Hi")
    running(sent, first_delta=False, attempt=1)
    generations.sweep()
    assert Generation.objects.get(pk=sent.generations[0].pk).state == GenerationState.QUEUED
    running(sent, first_delta=False, attempt=3)
    generations.sweep()
    assert Generation.objects.get(pk=sent.generations[0].pk).state == GenerationState.INTERRUPTED


def test_looking_at_a_conversation_sweeps_what_died_in_it(user):
    sent = messages.send(user=user, conversation_id=None, content="Hi")
    running(sent)
    assert generations.active_answers(user=user, conversation_id=sent.conversation.pk) == []


def test_a_runner_that_lost_its_lease_writes_nothing(user):
    sent = messages.send(user=user, conversation_id=None, content="Hi")
    (mine,) = leases.claim(owner="a:1:a", limit=5)
    zombie = generations.Lease(mine.pk, "a:1:a", mine.attempt)
    Generation.objects.update(lease_until=timezone.now() - timedelta(hours=1))
    generations.sweep()
    (again,) = leases.claim(owner="b:1:b", limit=5)
    parts = [{"type": "text", "text": "zombie"}]
    leases.keep([leases.Progress(zombie, sent.answers[0].pk, parts, True)])
    ids = (sent.answers[0].pk, sent.conversation.pk)
    assert leases.finish(generations.Ending(zombie, *ids, "completed", parts, "stop")) is None
    assert Message.objects.get(pk=sent.answers[0].pk).parts == []
    assert Generation.objects.get(pk=again.pk).lease_owner == "b:1:b"


async def test_what_a_dead_process_of_this_host_left_is_ended_at_start(bus, user):
    sent = await send(user)
    dead = leases.runner_name().split(":")
    await in_db(running, sent, owner=f"{dead[0]}:{2**22 + 1}:x", parts=[{"type": "text", "text": "Left"}])
    await in_db(Generation.objects.update, lease_until=timezone.now() + timedelta(seconds=30))
    runner = Runner(bus, limits=Limits(heartbeat_seconds=0.05))
    await runner.start()
    message = await in_db(Message.objects.get, pk=sent.answers[0].pk)
    await runner.drain(0)
    # Elsewhere than in a file of this host, another machine may have the same name and process number: the lease counts.
    on_this_host = (MessageStatus.INTERRUPTED, "Left")
    assert (message.status, message.text) == (on_this_host if connection.vendor == "sqlite" else ("streaming", ""))


async def test_figures_that_no_column_holds_cost_the_answer_nothing(runner, bus, user, scripted):
    scripted.add(["Fine", UsageReport(10**20, -5, None, 3), END])
    message = await ended(bus, await send(user))
    assert (message.status, message.text) == (MessageStatus.COMPLETE, "Fine")
    assert (message.prompt_tokens, message.completion_tokens, message.cached_tokens) == (2**31 - 1, 0, 3)


async def test_what_no_database_stores_is_mended(runner, bus, user, scripted):
    scripted.add(["a\x00b", "\ud83d", "c", END])
    message = await ended(bus, await send(user))
    assert (message.status, message.text) == (MessageStatus.COMPLETE, "ab?c")


async def test_an_ending_that_cannot_be_stored_is_stored_without_its_figures(runner, bus, user, scripted):
    gate = asyncio.Event()
    scripted.add(["Some", gate, END])
    sent = await send(user)
    await text_shown(bus, sent, "Some")
    runner._writers[sent.generations[0].pk]._thought[0] = object()
    gate.set()
    message = await ended(bus, sent)
    assert (message.status, message.text, message.error_code) == (MessageStatus.FAILED, "Some", "internal")
    assert await in_db(messages.send, user=user, conversation_id=sent.conversation.pk, content="And on")


async def test_a_continuation_adds_its_figures(runner, bus, user, scripted):
    scripted.add(["One ", UsageReport(10, 2, None, None)], ["two", END, UsageReport(12, 1, None, None)])
    sent = await send(user)
    first = await ended(bus, sent)
    where = {"user": user, "conversation_id": sent.conversation.pk, "message_id": sent.answers[0].pk}
    message = await ended(bus, await in_db(messages.continue_answer, **where))
    assert (message.prompt_tokens, message.completion_tokens) == (22, 3)
    assert message.ttft_ms == first.ttft_ms


async def test_a_continuation_that_fails_keeps_text_and_figures(runner, bus, user, scripted):
    scripted.add(["One", UsageReport(10, 2, None, None)], [ProviderError(ErrorKind.KEY_REFUSED, "No.")])
    sent = await send(user)
    first = await ended(bus, sent)
    where = {"user": user, "conversation_id": sent.conversation.pk, "message_id": sent.answers[0].pk}
    message = await ended(bus, await in_db(messages.continue_answer, **where))
    assert (message.status, message.text, message.prompt_tokens) == (MessageStatus.FAILED, "One", 10)
    assert message.ttft_ms == first.ttft_ms


async def test_sending_at_once_after_stopping_waits_for_the_end(runner, bus, user, scripted):
    scripted.add(["Half", asyncio.Event(), END], ["New", END])
    sent = await send(user)
    await text_shown(bus, sent, "Half")
    await in_db(generations.stop, user=user, conversation_id=sent.conversation.pk)
    second = await send(user, "And now", conversation_id=sent.conversation.pk)
    first = await in_db(Message.objects.get, pk=sent.answers[0].pk)
    assert (first.status, first.text) == (MessageStatus.STOPPED, "Half")
    assert (await ended(bus, second)).text == "New"


async def test_a_page_never_sweeps_what_its_own_process_writes(runner, bus, user, scripted):
    gate = asyncio.Event()
    scripted.add(["Still", gate, " here", END])
    sent = await send(user)
    await text_shown(bus, sent, "Still")
    # As after a laptop's sleep: the lease ran out, and nobody renewed it yet.
    past = timezone.now() - timedelta(seconds=90)
    await in_db(Generation.objects.filter(pk=sent.generations[0].pk).update, lease_until=past)
    active = await in_db(generations.active_answers, user=user, conversation_id=sent.conversation.pk)
    assert [generation.pk for generation in active] == [sent.generations[0].pk]
    gate.set()
    assert (await ended(bus, sent)).text == "Still here"


async def test_a_bad_answer_does_not_end_the_checkpoints_of_others(runner, bus, user, scripted):
    never = asyncio.Event()
    scripted.add(["Good", never], ["Bad", never])
    good, bad = await send(user), await send(user)
    await text_shown(bus, good, "Good")
    await text_shown(bus, bad, "Bad")
    writer = runner._writers[bad.generations[0].pk]
    writer._stored = [{"type": object()}]
    writer.dirty = runner._writers[good.generations[0].pk].dirty = True
    scripted_more = runner._writers[good.generations[0].pk]
    await scripted_more._add("text", " day")
    async with asyncio.timeout(8):
        while "day" not in str((await in_db(Message.objects.get, pk=good.answers[0].pk)).parts):
            await asyncio.sleep(0.05)


async def test_an_answer_that_ends_in_a_deleted_conversation_moves_nothing(runner, bus, user, scripted):
    gate = asyncio.Event()
    scripted.add(["Late", gate, END])
    sent = await send(user)
    await text_shown(bus, sent, "Late")
    rows = Conversation.objects.filter(pk=sent.conversation.pk)
    await in_db(rows.update, deleted_at=timezone.now())
    before = await in_db(rows.get)
    gate.set()
    await ended(bus, sent)
    assert (await in_db(rows.get)).updated_at == before.updated_at
