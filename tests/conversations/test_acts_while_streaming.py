"""What is done to a conversation while an answer streams in it: as the API promises, nothing lost, nothing written afterwards."""

import asyncio
from itertools import pairwise
from random import Random

import pytest

from apps.conversations.models import Conversation, Generation, Message, MessageRevision, MessageStatus, Role
from apps.conversations.services import branches, conversations, forks
from apps.core.db import in_db
from apps.models.services import catalogue
from apps.providers import registry
from apps.providers.base import ModelInfo, TextDelta
from tests.conversations.live_answers import END, hold, send

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]
SHOWN, WHOLE = "Half a ", "Half a sentence."


@pytest.fixture
async def first(calls, chat, runner, scripted):
    """A question that was answered before."""
    scripted.add(["An old answer.", END])
    started = await send(calls, chat.pk, "An old question")
    async with asyncio.timeout(10):
        while await in_db(Generation.objects.active().exists):
            await asyncio.sleep(0.005)
    return started


@pytest.fixture
async def held(first, calls, chat, bus, scripted):
    """A second question, and its answer that stands still after its first words."""
    return await hold(calls, chat.pk, bus, scripted)


def everything():
    """Read all rows that an act or a runner could write."""
    return [
        list(model.objects.order_by("pk").values()) for model in (Conversation, Message, MessageRevision, Generation)
    ]


async def settled(runner, bus, scripted, held):
    """Open the gate, let everything end, and see that nobody writes after that."""
    status = await held.end()
    before = await in_db(everything)
    held.gate.set()
    await scripted.idle()
    await runner.drain(0)
    assert await in_db(everything) == before
    assert not await in_db(Generation.objects.active().exists)
    return status


async def goes_on(held):
    """Let the answer say the rest, and see that it is whole and in its place."""
    held.gate.set()
    assert await held.end() == "complete"
    message = await held.row()
    assert (message.status, message.text, str(message.parent_id)) == ("complete", WHOLE, held.question)
    assert held.seen == {0: WHOLE}


def url(held, message, act=""):
    return f"/chats/{held.chat}/messages/{message}{act}"


@pytest.mark.parametrize(
    ("method", "of", "act", "body"),
    [
        ("POST", "", "", {"content": "Too soon"}),
        ("POST", "question", "/edit", {"content": "Other words", "mode": "branch"}),
        ("POST", "message", "/edit", {"content": "Other words", "mode": "save"}),
        ("POST", "message", "/regenerate", {}),
        ("POST", "message", "/continue", {}),
        ("POST", "old", "/regenerate", {}),
        ("POST", "old", "/continue", {}),
    ],
)
async def test_what_would_write_beside_a_running_answer_is_refused_and_stores_nothing(
    first, held, calls, runner, bus, scripted, method, of, act, body
):
    target = {"question": held.question, "message": held.message, "old": first["messageIds"][0], "": ""}[of]
    path = url(held, target, act) if target else f"/chats/{held.chat}/messages"
    before = await in_db(everything)
    status, error = await calls.call(method, path, body)
    assert (status, error["error"]) == (409, "generation_in_progress")
    after = await in_db(everything)
    # All but the lease, which its runner renews.
    assert after[:3] == before[:3]
    assert len(after[3]) == len(before[3])
    await goes_on(held)


async def test_an_older_answer_can_be_rewritten_beside_meanwhile(first, held, calls):
    old = first["messageIds"][0]
    status, started = await calls.call("POST", url(held, old, "/edit"), {"content": "My words", "mode": "branch"})
    assert status == 202
    await goes_on(held)
    rows = await in_db(Conversation.objects.select_related("active_leaf").get, pk=held.chat)
    assert (str(rows.active_leaf_id), rows.active_leaf.text) == (started["leafId"], "My words")


async def test_the_question_can_be_mended_in_its_place_meanwhile(held, calls):
    status, message = await calls.call("POST", url(held, held.question, "/edit"), {"content": "Mended", "mode": "save"})
    assert (status, message["content"]) == (200, "Mended")
    assert (await in_db(MessageRevision.objects.get)).parts == [{"type": "text", "text": "Hello"}]
    await goes_on(held)


async def test_moving_to_another_branch_and_marking_leave_the_answer_alone(first, held, calls):
    old = first["messageIds"][0]
    _, beside = await calls.call("POST", url(held, old, "/edit"), {"content": "My words", "mode": "branch"})
    assert (await calls.call("POST", url(held, held.message, "/select")))[0] == 200
    assert (await calls.call("POST", url(held, beside["messageIds"][0], "/select")))[0] == 200
    status, marked = await calls.call("PATCH", url(held, held.message), {"favourite": True})
    assert (status, marked["favourite"]) == (200, True)
    await goes_on(held)
    assert (await held.row()).is_favourite
    leaf = (await in_db(Conversation.objects.get, pk=held.chat)).active_leaf_id
    assert str(leaf) == beside["messageIds"][0]


@pytest.mark.parametrize("of", ["message", "question", "old"])
async def test_deleting_the_answer_or_what_stands_above_it_stops_it(
    first, held, calls, user, runner, bus, scripted, of
):
    target = {"message": held.message, "question": held.question, "old": first["messageIds"][0]}[of]
    status, deleted = await calls.call("DELETE", url(held, target))
    assert (status, deleted["deleted"]) == (200, {"message": 1, "question": 2, "old": 3}[of])
    assert await settled(runner, bus, scripted, held) == "stopped"
    message = await held.row()
    assert (message.status, message.text) == ("stopped", SHOWN)
    assert message.deletion is not None
    assert (scripted.open_streams, scripted.closed_early) == (0, 1)
    # Nothing is lost: it can be had back, as far as it had come.
    restored = await in_db(branches.restore_message, user=user, conversation_id=held.chat, message_id=target)
    assert (restored.count, str(restored.leaf.pk)) == (deleted["deleted"], held.message)
    _, page = await calls.call("GET", f"/chats/{held.chat}/messages")
    assert (page["messages"][-1]["content"], page["messages"][-1]["status"]) == (SHOWN, "stopped")


async def test_deleting_elsewhere_leaves_the_answer_alone(first, held, calls):
    old = first["messageIds"][0]
    _, beside = await calls.call("POST", url(held, old, "/edit"), {"content": "My words", "mode": "branch"})
    status, deleted = await calls.call("DELETE", url(held, beside["messageIds"][0]))
    assert (status, deleted) == (200, {"deleted": 1, "leafId": held.message})
    await goes_on(held)


async def test_deleting_and_undoing_at_once_keeps_the_answer_as_stopped(held, calls, runner, bus, scripted):
    assert (await calls.call("DELETE", url(held, held.question)))[0] == 200
    assert (await calls.call("POST", url(held, held.question, "/restore")))[0] == 200
    assert await settled(runner, bus, scripted, held) == "stopped"
    message = await held.row()
    assert (message.deletion, message.status, message.text) == (None, "stopped", SHOWN)


async def test_deleting_the_conversation_stops_its_answer(held, calls, user, runner, bus, scripted):
    assert (await calls.call("DELETE", f"/chats/{held.chat}"))[0] == 204
    assert (await calls.call("GET", f"/chats/{held.chat}"))[0] == 404
    assert await settled(runner, bus, scripted, held) == "stopped"
    assert (await held.row()).text == SHOWN
    await in_db(conversations.restore, user=user, conversation_id=held.chat)
    _, chat = await calls.call("GET", f"/chats/{held.chat}")
    assert (chat["generating"], chat["leafId"]) == (False, held.message)


async def test_archiving_stops_the_answer_and_refuses_the_next(held, calls, runner, bus, scripted):
    status, chat = await calls.call("PATCH", f"/chats/{held.chat}", {"status": "archived"})
    assert (status, chat["status"]) == (200, "archived")
    assert await settled(runner, bus, scripted, held) == "stopped"
    message = await held.row()
    assert (message.status, message.text) == (MessageStatus.STOPPED, SHOWN)
    status, error = await calls.call("POST", f"/chats/{held.chat}/messages", {"content": "More"})
    assert (status, error["error"]) == (409, "conversation_archived")


async def test_a_fork_takes_the_text_so_far_and_nothing_that_comes_later(held, calls):
    status, fork = await calls.call("POST", f"/chats/{held.chat}/fork", {"messageId": held.message})
    assert status == 201
    _, before = await calls.call("GET", f"/chats/{fork['id']}/messages")
    assert (before["messages"][-1]["status"], before["messages"][-1]["content"]) == ("interrupted", SHOWN)
    await goes_on(held)
    assert (await calls.call("GET", f"/chats/{fork['id']}/messages"))[1] == before


async def test_a_fork_at_the_question_is_answered_beside_it(held, calls, user, scripted):
    scripted.add(["In the fork.", END])
    fork = await in_db(forks.fork_and_answer, user=user, conversation_id=held.chat, message_id=held.question)
    async with asyncio.timeout(10):
        while await in_db(Generation.objects.active().filter(conversation=fork).exists):
            await asyncio.sleep(0.005)
    _, page = await calls.call("GET", f"/chats/{fork.pk}/messages")
    assert page["messages"][-1]["content"] == "In the fork."
    await goes_on(held)


class Dripping:
    """A provider that says its words one by one, with a pause between."""

    slug, name = "dripping", "Dripping"
    words = tuple(f"word{number} " for number in range(30))

    async def stream(self, request):
        for word in self.words:
            yield TextDelta(word)
            await asyncio.sleep(0.002)
        yield END

    async def list_models(self):
        return [ModelInfo("model", "Model")]

    async def aclose(self):
        """Nothing is open."""


@pytest.fixture
async def dripping():
    with registry.installed(Dripping()):
        await in_db(catalogue.forget)
        yield
    await in_db(catalogue.forget)


@pytest.mark.parametrize("seed", range(3))
async def test_a_storm_of_acts_over_streaming_answers_breaks_nothing(dripping, chat, runner, calls, bus, seed):
    chance = Random(seed)
    where = f"/chats/{chat.pk}"

    async def act():
        _, page = await calls.call("GET", f"{where}/messages")
        found = page["messages"]
        message = chance.choice(found)["id"] if found else ""
        acts = [
            ("POST", f"{where}/messages", {"content": "More", "parentId": message}),
            ("POST", f"{where}/messages/{message}/regenerate", {}),
            ("POST", f"{where}/messages/{message}/edit", {"content": "Otherwise", "mode": "branch"}),
            ("POST", f"{where}/messages/{message}/edit", {"content": "Better", "mode": "save"}),
            ("POST", f"{where}/messages/{message}/continue", {}),
            ("POST", f"{where}/messages/{message}/select", {}),
            ("DELETE", f"{where}/messages/{message}", None),
            ("POST", f"{where}/messages/{message}/restore", {}),
            ("POST", f"{where}/fork", {"messageId": message}),
            ("POST", f"{where}/stop", {}),
            ("POST", f"{where}/messages", {"content": "And more"}),
        ]
        status, _ = await calls.call(*chance.choice(acts))
        assert status < 500

    await send(calls, chat.pk)
    for _ in range(12):
        await asyncio.gather(*(act() for _ in range(4)))
    async with asyncio.timeout(20):
        while await in_db(Generation.objects.active().exists):
            await asyncio.sleep(0.01)
    await in_db(check_texts)


def check_texts():
    """No answer misses a word, or has one twice: behind what somebody wrote come runs of words, the last to its end if complete."""
    answers = Message.objects.filter(role=Role.ASSISTANT)
    assert not answers.filter(status=MessageStatus.STREAMING).exists()
    for answer in answers:
        text = answer.text.removeprefix("Better").removeprefix("Otherwise")
        numbers = [int(word.removeprefix("word")) for word in text.split()]
        assert all(number in (0, before + 1) for before, number in pairwise([-1, *numbers]))
        assert not numbers or answer.status != MessageStatus.COMPLETE or numbers[-1] == len(Dripping.words) - 1
