"""Answers streamed over HTTP: complete, resumable at every event, and unharmed by readers that leave."""

import asyncio

import pytest
from django.test import AsyncClient

from apps.accounts.models import User
from apps.accounts.services import tokens
from apps.conversations import process
from apps.conversations.models import Generation, GenerationState
from apps.conversations.runner.limits import Limits
from apps.conversations.runner.runner import Runner
from apps.conversations.services import branches, conversations, messages
from apps.core.db import in_db
from apps.providers.base import Finished, ReasoningDelta, UsageReport
from apps.providers.errors import ErrorKind, ProviderError
from apps.streaming.bus import live_topic
from tests.conversations.event_streams import read_events, read_stream, texts_of

pytestmark = pytest.mark.django_db(transaction=True)

END = Finished("stop")
ANSWER = [
    ReasoningDelta("Hm — "),
    ReasoningDelta("well."),
    "Grüße 👩‍👩‍👧, ",
    "naïve\nwor",
    "ld!",
    END,
    UsageReport(7, 5, 2, None),
]
WHOLE = {0: "Hm — well.", 1: "Grüße 👩‍👩‍👧, naïve\nworld!"}


@pytest.fixture
async def runner(bus):
    runner = Runner(bus, limits=Limits(heartbeat_seconds=0.05, retries=2, drain_seconds=0.2))
    await runner.start()
    yield runner
    await runner.drain(0)


@pytest.fixture
async def caller(user):
    client = AsyncClient()
    await client.aforce_login(user)
    return client


@pytest.fixture
async def chat(user):
    # Named, so that no call for a title takes a script.
    return await in_db(conversations.create, user=user, title="A chat")


def gated(*pieces):
    """Script pieces that come one by one: a gate stands before each but the first."""
    gates = [asyncio.Event() for _ in pieces[1:]]
    script = [pieces[0]]
    for gate, piece in zip(gates, pieces[1:], strict=True):
        script += [gate, piece]
    return script, gates


async def send(caller, chat, **body):
    body = {"content": "Hello", "stream": True, **body}
    return await caller.post(f"/api/chats/{chat.pk}/messages", body, content_type="application/json")


async def whole_stream(caller, chat, scripted, *, script=ANSWER):
    scripted.add(script)
    async with asyncio.timeout(10):
        return await read_stream(await send(caller, chat))


async def follow(caller, chat, query="", **headers):
    async with asyncio.timeout(10):
        response = await caller.get(f"/api/chats/{chat.pk}/stream{query}", headers=headers)
        return response, await read_stream(response) if response.streaming else b""


async def test_sending_with_stream_gives_start_text_and_end(runner, caller, chat, scripted, user):
    scripted.add(ANSWER)
    response = await send(caller, chat)
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/event-stream")
    assert "no-store" in response["Cache-Control"]
    assert response["X-Accel-Buffering"] == "no"
    events = read_events(await read_stream(response))
    start, end = events[0], events[-1]
    assert start.name == "start"
    assert set(start.data) == {"generationId", "messageId", "userMessageId"}
    assert texts_of(events) == WHOLE
    assert end.name == "end"
    assert end.data["status"] == "complete"
    assert end.data["finishReason"] == "stop"
    assert end.data["leafId"] == start.data["messageId"]
    assert end.data["usage"] == {
        "promptTokens": 7,
        "completionTokens": 5,
        "reasoningTokens": 2,
        "cachedTokens": None,
        "cost": None,
    }
    assert end.data["timings"]["durationMs"] >= end.data["timings"]["ttftMs"]
    assert end.id == f"{start.data['generationId']}:1:1:{len(WHOLE[1])}"


async def test_accepting_event_streams_asks_for_one_and_stream_false_wins(runner, caller, chat, scripted):
    scripted.add(["One", END], ["Two", END])
    headers = {"Accept": "text/event-stream"}
    url = f"/api/chats/{chat.pk}/messages"
    plain = await caller.post(url, {"content": "Hi", "stream": False}, content_type="application/json", headers=headers)
    assert (plain.status_code, plain["Content-Type"]) == (202, "application/json; charset=utf-8")
    await follow(caller, chat)
    streamed = await caller.post(url, {"content": "Hi"}, content_type="application/json", headers=headers)
    assert texts_of(read_events(await read_stream(streamed))) == {0: "Two"}


async def test_a_stream_cut_after_any_event_goes_on_without_gap_or_repeat(runner, caller, chat, scripted):
    raw = await whole_stream(caller, chat, scripted)
    events = read_events(raw)
    assert len(events) >= 4
    for count, last in enumerate(events, start=1):
        response, rest = await follow(caller, chat, **{"Last-Event-ID": last.id})
        assert response.status_code == 200
        resumed = read_events(rest)
        assert resumed[0].id == last.id
        assert texts_of(resumed, texts_of(events[:count])) == WHOLE
        assert (resumed[-1].name, resumed[-1].data) == (events[-1].name, events[-1].data)


async def test_every_position_of_every_part_can_be_resumed_from(runner, caller, chat, scripted):
    start = read_events(await whole_stream(caller, chat, scripted))[0].data
    for part, text in WHOLE.items():
        for offset in range(0, len(text) + 1, 3):
            query = f"?generationId={start['generationId']}&part={part}&offset={offset}"
            known = {0: WHOLE[0], 1: ""} if part else {0: ""}
            known[part] = text[:offset]
            _, rest = await follow(caller, chat, query)
            assert texts_of(read_events(rest), known) == WHOLE


async def test_a_stream_cut_while_the_answer_is_written_goes_on_live(runner, caller, chat, scripted):
    script, gates = gated("one ", "two ", "three ", "four")
    scripted.add([*script, END])
    response = await send(caller, chat)
    known, last = {}, None
    for gate in gates:
        raw = await read_stream(response, until=lambda event: event.name == "delta")
        events = read_events(raw)
        known, last = texts_of(events, known), events[-1].id
        waiting = asyncio.ensure_future(caller.get(f"/api/chats/{chat.pk}/stream", headers={"Last-Event-ID": last}))
        response = await waiting
        gate.set()
    async with asyncio.timeout(10):
        events = read_events(await read_stream(response))
    assert texts_of(events, known) == {0: "one two three four"}
    assert events[-1].data["status"] == "complete"


async def test_last_event_id_wins_over_the_query(runner, caller, chat, scripted):
    events = read_events(await whole_stream(caller, chat, scripted))
    generation = events[0].data["generationId"]
    query = f"?generationId={generation}&part=0&offset=0"
    _, rest = await follow(caller, chat, query, **{"Last-Event-ID": f"{generation}:1:1:5"})
    assert texts_of(read_events(rest), {1: WHOLE[1][:5]}) == {1: WHOLE[1]}


async def test_nothing_running_is_204_and_a_running_answer_comes_from_its_start(runner, caller, chat, scripted):
    idle, _ = await follow(caller, chat)
    assert (idle.status_code, idle.content) == (204, b"")
    script, (gate,) = gated("half ", "whole")
    scripted.add([*script, END])
    await read_stream(await send(caller, chat), until=lambda event: event.name == "delta")
    response = await caller.get(f"/api/chats/{chat.pk}/stream")
    gate.set()
    assert texts_of(read_events(await read_stream(response))) == {0: "half whole"}
    after, _ = await follow(caller, chat)
    assert after.status_code == 204


async def test_a_failure_is_told_before_the_end_and_again_when_resumed(runner, caller, chat, scripted):
    broken = ProviderError(ErrorKind.CUT_OFF, "The connection to Scripted broke.")
    events = read_events(await whole_stream(caller, chat, scripted, script=["Some ", "text", broken]))
    assert [event.name for event in events[-2:]] == ["error", "end"]
    assert events[-2].data["error"] == "cut_off"
    assert "Scripted broke" in events[-2].data["message"]
    assert events[-1].data["status"] == "failed"
    _, rest = await follow(caller, chat, **{"Last-Event-ID": events[-1].id})
    assert [event.name for event in read_events(rest)] == ["start", "error", "end"]


async def test_a_reader_that_leaves_stops_nothing_and_is_let_go(runner, caller, chat, scripted, bus):
    script, (gate,) = gated("half ", "whole")
    scripted.add([*script, END])
    response = await send(caller, chat)
    generation = read_events(await read_stream(response, until=lambda event: event.name == "delta"))[0].data
    # What the server does when the client is gone: the response's iterator is closed.
    await response.streaming_content.aclose()
    assert scripted.open_streams == 1
    gate.set()
    _, rest = await follow(caller, chat, f"?generationId={generation['generationId']}")
    assert texts_of(read_events(rest)) == {0: "half whole"}


async def test_stop_ends_the_stream_as_stopped_and_twice_is_once(runner, caller, chat, scripted):
    scripted.add(["Half a ", asyncio.Event(), "sentence", END])
    response = await send(caller, chat)
    raw = await read_stream(response, until=lambda event: event.name == "delta")
    generation = read_events(raw)[0].data["generationId"]
    stopped = await caller.post(f"/api/chats/{chat.pk}/stop", {}, content_type="application/json")
    assert (stopped.status_code, stopped.json()) == (202, {"stopped": [generation]})
    _, rest = await follow(caller, chat, f"?generationId={generation}")
    events = read_events(rest)
    assert texts_of(events) == {0: "Half a "}
    assert (events[-1].data["status"], events[-1].data["finishReason"]) == ("stopped", "user_stopped")
    again = await caller.post(f"/api/chats/{chat.pk}/stop", "", content_type="application/json")
    assert (again.status_code, again.json()) == (202, {"stopped": []})


async def test_continuing_streams_only_what_is_new(runner, caller, chat, scripted, user):
    first = read_events(await whole_stream(caller, chat, scripted, script=["Once upon", Finished("length")]))
    scripted.add([" a time", END])
    message = first[0].data["messageId"]
    url = f"/api/chats/{chat.pk}/messages/{message}/continue"
    response = await caller.post(url, {"stream": True}, content_type="application/json")
    events = read_events(await read_stream(response))
    assert texts_of(events, {0: "Once upon"}) == {0: "Once upon a time"}
    assert events[0].data["messageId"] == message
    assert "userMessageId" not in events[0].data


async def test_regenerating_and_editing_stream_like_sending(runner, caller, chat, scripted):
    first = read_events(await whole_stream(caller, chat, scripted, script=["First", END]))[0].data
    scripted.add(["Second", END], ["Third", END])
    url = f"/api/chats/{chat.pk}/messages/{first['messageId']}/regenerate"
    response = await caller.post(url, {"stream": True}, content_type="application/json")
    events = read_events(await read_stream(response))
    assert texts_of(events) == {0: "Second"}
    assert events[0].data["messageId"] != first["messageId"]
    url = f"/api/chats/{chat.pk}/messages/{first['userMessageId']}/edit"
    body = {"content": "Hello again", "mode": "branch", "stream": True}
    response = await caller.post(url, body, content_type="application/json")
    assert texts_of(read_events(await read_stream(response))) == {0: "Third"}


async def test_the_same_client_id_streams_the_first_answer_again(runner, caller, chat, scripted):
    scripted.add(["Only once", END])
    first = await read_stream(await send(caller, chat, clientId="one"))
    again = await read_stream(await send(caller, chat, clientId="one"))
    assert read_events(again)[0].data == read_events(first)[0].data
    assert texts_of(read_events(again)) == {0: "Only once"}
    assert await in_db(Generation.objects.answers().count) == 1


async def test_a_deleted_message_has_no_stream(runner, caller, chat, scripted, user):
    start = read_events(await whole_stream(caller, chat, scripted))[0].data
    await in_db(branches.delete_message, user=user, conversation_id=chat.pk, message_id=start["userMessageId"])
    response, _ = await follow(caller, chat, f"?generationId={start['generationId']}")
    assert response.status_code == 404


async def test_a_stranger_and_another_chat_see_no_stream(runner, caller, chat, scripted, user, stranger):
    start = read_events(await whole_stream(caller, chat, scripted))[0].data
    position = f"{start['generationId']}:1:0:0"
    eve = AsyncClient()
    await eve.aforce_login(stranger)
    other = await in_db(conversations.create, user=user)
    own = await in_db(conversations.create, user=stranger)
    for client, where in [(eve, chat), (eve, own), (caller, other)]:
        by_query, _ = await follow(client, where, f"?generationId={start['generationId']}")
        by_header, _ = await follow(client, where, **{"Last-Event-ID": position})
        assert (by_query.status_code, by_header.status_code) == (404, 404)
        assert by_query.content == by_header.content


async def test_an_id_that_is_no_position_is_refused(caller, chat):
    response, _ = await follow(caller, chat, **{"Last-Event-ID": "nonsense"})
    assert (response.status_code, response.json()["error"]) == (400, "malformed")


async def test_a_silent_stream_sends_comments(runner, caller, chat, scripted, monkeypatch):
    monkeypatch.setattr("apps.conversations.api.streams.COMMENT_SECONDS", 0.05)
    gate = asyncio.Event()
    scripted.add([gate, "Finally", END])
    response = await send(caller, chat)
    raw = b""
    async with asyncio.timeout(10):
        async for chunk in response.streaming_content:
            raw += chunk
            if b": \n\n" in raw:
                gate.set()
    assert raw.startswith(b"id: ")
    assert texts_of(read_events(raw)) == {0: "Finally"}


async def test_an_answer_still_queued_can_be_followed_and_read_as_queued(caller, chat, user, bus, scripted):
    scripted.add(["Late", END])
    sent = await in_db(messages.send, user=user, conversation_id=chat.pk, content="Hi")
    page = (await caller.get(f"/api/chats/{chat.pk}/messages")).json()
    assert page["messages"][-1]["status"] == "queued"
    response = await caller.get(f"/api/chats/{chat.pk}/stream")
    runner = Runner(bus, limits=Limits(heartbeat_seconds=0.05))
    await runner.start()
    events = read_events(await read_stream(response))
    await runner.drain(0)
    assert texts_of(events) == {0: "Late"}
    generation = await in_db(Generation.objects.get, pk=sent.generations[0].pk)
    assert generation.state == GenerationState.COMPLETED


async def test_an_end_that_the_row_knows_nothing_of_is_not_told(caller, chat, user, bus):
    sent = await in_db(messages.send, user=user, conversation_id=chat.pk, content="Hi")
    topic = live_topic(str(sent.generations[0].pk))
    response = await caller.get(f"/api/chats/{chat.pk}/stream")
    reading = asyncio.create_task(read_stream(response))
    async with asyncio.timeout(10):
        while not bus._topics.get(topic):
            await asyncio.sleep(0.001)
        bus.publish(topic, {"type": "ended", "status": "complete"})
        events = read_events(await reading)
    # It goes on where it was left, for whoever asks again.
    assert [event.name for event in events] == ["start"]


# --- while it may be read ---------------------------------------------------------------------------------------


@pytest.fixture
async def guard():
    """Look often whether callers may read on."""
    guard = process.unstarted().guard
    guard.every = 0.01
    yield guard
    await guard.stop()
    process._processes.clear()


async def read_until_cut(response, begun=b""):
    async with asyncio.timeout(10):
        return [event.name for event in read_events(begun + await read_stream(response))]


@pytest.mark.parametrize("by", ["signing out", "disabling"])
async def test_a_caller_who_may_read_no_more_is_cut_off_while_nothing_comes(
    runner, caller, chat, scripted, user, guard, bus, by
):
    scripted.add(["half ", asyncio.Event(), END])
    response = await send(caller, chat)
    begun = await read_stream(response, until=lambda event: event.name == "delta")
    if by == "signing out":
        await caller.alogout()
    else:
        await in_db(User.objects.filter(pk=user.pk).update, is_active=False)
    # No `end`: whoever comes again is told why.
    assert await read_until_cut(response, begun) == ["start", "delta"]
    assert (await caller.get(f"/api/chats/{chat.pk}/stream")).status_code == 401
    assert scripted.open_streams == 1


async def test_a_revoked_token_reads_no_further_and_another_does(runner, chat, scripted, user, guard):
    scripted.add(["half ", gate := asyncio.Event(), "whole", END])
    sent = await in_db(messages.send, user=user, conversation_id=chat.pk, content="Hi")
    url = f"/api/chats/{chat.pk}/stream?generationId={sent.generations[0].pk}"
    readers = []
    for _ in range(2):
        token, plain = await in_db(tokens.make_token, user=user)
        response = await AsyncClient().get(url, headers={"Authorization": f"Bearer {plain}"})
        readers.append((token, response, await read_stream(response, until=lambda event: event.name == "delta")))
    (token, cut, begun), (_, kept, also_begun) = readers
    await in_db(tokens.revoke_token, user=user, token_id=token.pk)
    assert await read_until_cut(cut, begun) == ["start", "delta"]
    gate.set()
    assert await read_until_cut(kept, also_begun) == ["start", "delta", "delta", "end"]


async def test_a_reader_that_is_done_is_looked_after_no_more(runner, caller, chat, scripted, guard):
    await whole_stream(caller, chat, scripted)
    async with asyncio.timeout(5):
        while not guard.is_idle:
            await asyncio.sleep(0.001)
