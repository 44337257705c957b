"""The same call many times at once, through the server's own threads: one of them wins, the others are told so."""

import asyncio
from random import Random

import pytest

from apps.conversations.models import Conversation, Generation, Message
from apps.conversations.services import conversations
from apps.core.db import in_db
from tests.conversations.asgi_client import AsgiCalls
from tests.factories import make_path

pytestmark = pytest.mark.django_db(transaction=True)
TIMES = 12


@pytest.fixture
async def calls(user):
    return await AsgiCalls.of(user)


@pytest.fixture
async def chat(user):
    return await in_db(conversations.create, user=user, title="A chat")


async def test_the_same_client_id_at_once_is_one_message_and_one_answer(calls, chat):
    body = {"content": "Hello", "clientId": "the-same"}
    answers = await calls.all_at_once(TIMES, "POST", f"/chats/{chat.pk}/messages", body)
    assert {status for status, _ in answers} == {202}
    assert all(answer == answers[0][1] for _, answer in answers)
    assert await in_db(Message.objects.count) == 2
    assert await in_db(Generation.objects.answers().count) == 1


async def test_of_many_messages_at_once_one_is_answered_and_the_others_are_not_stored(calls, chat):
    answers = await calls.all_at_once(
        TIMES, "POST", f"/chats/{chat.pk}/messages", lambda number: {"content": f"Hello {number}"}
    )
    assert sorted(status for status, _ in answers) == [202] + [409] * (TIMES - 1)
    assert {answer["error"] for status, answer in answers if status == 409} == {"generation_in_progress"}
    assert await in_db(Message.objects.count) == 2


async def test_of_many_deletes_at_once_one_deletes(calls, chat):
    answers = await calls.all_at_once(TIMES, "DELETE", f"/chats/{chat.pk}", None)
    assert sorted(status for status, _ in answers) == [204] + [404] * (TIMES - 1)


async def test_renaming_at_once_leaves_one_of_the_names(calls, chat):
    answers = await calls.all_at_once(
        TIMES, "PATCH", f"/chats/{chat.pk}", lambda number: {"title": f"Name {number}", "pinned": True}
    )
    assert {status for status, _ in answers} == {200}
    row = await in_db(Conversation.objects.get, pk=chat.pk)
    assert row.title in {f"Name {number}" for number in range(TIMES)}
    assert row.is_pinned


async def test_stopping_at_once_stops_once(calls, chat):
    _, sent = await calls.call("POST", f"/chats/{chat.pk}/messages", {"content": "Hello"})
    answers = await calls.all_at_once(TIMES, "POST", f"/chats/{chat.pk}/stop", None)
    assert {status for status, _ in answers} == {202}
    assert [answer["stopped"] for _, answer in answers if answer["stopped"]] == [sent["generationIds"]]


async def test_a_storm_of_different_calls_breaks_nothing(calls, chat, user):
    path = await in_db(make_path, conversation=chat, length=6)
    where = f"/chats/{chat.pk}"
    acts = [
        ("POST", f"{where}/messages", {"content": "More"}),
        ("POST", f"{where}/messages", {"content": "Instead", "parentId": str(path[1].pk)}),
        ("POST", f"{where}/messages/{path[3].pk}/regenerate", {}),
        ("POST", f"{where}/messages/{path[2].pk}/edit", {"content": "Otherwise", "mode": "branch"}),
        ("POST", f"{where}/messages/{path[5].pk}/edit", {"content": "Better", "mode": "save"}),
        ("POST", f"{where}/messages/{path[3].pk}/edit", {"content": "Better", "mode": "branch"}),
        ("POST", f"{where}/messages/{path[5].pk}/continue", {}),
        ("POST", f"{where}/messages/{path[5].pk}/select", {}),
        ("DELETE", f"{where}/messages/{path[4].pk}", None),
        ("POST", f"{where}/messages/{path[4].pk}/restore", {}),
        ("POST", f"{where}/fork", {"messageId": str(path[3].pk)}),
        ("POST", f"{where}/stop", {}),
        ("PATCH", where, {"title": "Storm"}),
        ("GET", f"{where}/messages", None),
        ("GET", f"{where}/branches", None),
    ]
    for round_ in range(3):
        Random(round_).shuffle(acts)
        answers = await asyncio.gather(*(calls.call(*act) for act in acts))
        statuses = {(method, path): status for (method, path, _), (status, _) in zip(acts, answers, strict=True)}
        assert {status for status in statuses.values() if status >= 500} == set(), statuses
    await in_db(check_tree, chat.pk)


def check_tree(conversation_id):
    """Every message hangs where its depth and run say, and the leaf stands."""
    conversation = Conversation.objects.select_related("active_leaf").get(pk=conversation_id)
    assert conversation.active_leaf.deletion is None
    messages = list(Message.objects.filter(conversation=conversation).select_related("parent", "run"))
    assert len(messages) > 6
    for message in messages:
        if message.parent is None:
            assert message.depth == 0
            continue
        assert message.parent.conversation_id == conversation_id
        assert message.depth == message.parent.depth + 1
        if message.run_id != message.parent.run_id:
            assert (message.run.parent_id, message.run.parent_depth) == (message.parent.run_id, message.parent.depth)
        assert message.deletion is not None or message.parent.deletion is None
