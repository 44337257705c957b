"""Sending over the API: where a message goes, what is refused, and that refusal stores nothing."""

import pytest

from apps.conversations.models import Message
from tests.conversations.answers import end_all
from tests.conversations.api_calls import by_session
from tests.factories import make_conversation, make_message, make_path

pytestmark = pytest.mark.django_db
NOWHERE = "01a1fbb7-4903-7411-9093-0c05fec09170"


@pytest.fixture
def calls(user):
    return by_session(user)


@pytest.fixture
def chat(user):
    return make_conversation(owner=user, title="Trees")


@pytest.fixture
def path(chat):
    """Question, answer, question, answer."""
    return make_path(conversation=chat, length=4)


def ids(page):
    return [message["id"] for message in page["messages"]]


def test_sending_answers_at_once_with_all_ids(calls, chat):
    sent = calls.post(f"/chats/{chat.pk}/messages", {"content": "Hello"})
    assert sent.status_code == 202
    body = sent.json()
    assert list(body) == ["userMessageId", "messageIds", "generationIds", "leafId", "branched"]
    assert (body["leafId"], body["branched"]) == (body["messageIds"][0], False)
    page = calls.get(f"/chats/{chat.pk}/messages").json()
    assert ids(page) == [body["userMessageId"], body["messageIds"][0]]
    assert [message["status"] for message in page["messages"]] == ["complete", "queued"]


def test_an_older_parent_branches_and_a_foreign_one_is_no_leaf(calls, chat, path, user):
    branched = calls.post(f"/chats/{chat.pk}/messages", {"content": "Instead", "parentId": str(path[1].pk)}).json()
    assert branched["branched"]
    end_all()
    elsewhere = make_message(conversation=make_conversation(owner=user))
    for parent in (str(elsewhere.pk), NOWHERE, "nonsense"):
        refused = calls.post(f"/chats/{chat.pk}/messages", {"content": "Hi", "parentId": parent})
        assert (refused.status_code, refused.json()["error"]) == (409, "invalid_leaf")
        assert refused.json()["leafId"] == branched["leafId"]


def test_a_second_message_waits_for_the_answer_to_the_first(calls, chat):
    calls.post(f"/chats/{chat.pk}/messages", {"content": "One"})
    refused = calls.post(f"/chats/{chat.pk}/messages", {"content": "Two"})
    assert (refused.status_code, refused.json()["error"]) == (409, "generation_in_progress")
    assert Message.objects.count() == 2


def test_the_same_client_id_stores_one_message(calls, chat):
    body = {"content": "Hello", "clientId": "abc"}
    first = calls.post(f"/chats/{chat.pk}/messages", body)
    again = calls.post(f"/chats/{chat.pk}/messages", body)
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert Message.objects.count() == 2
    end_all()
    calls.post(f"/chats/{chat.pk}/messages", {"content": "More"})
    assert calls.post(f"/chats/{chat.pk}/messages", body).json() == first.json()
    assert Message.objects.count() == 4
    refused = calls.post(f"/chats/{chat.pk}/messages", {**body, "content": "Other"})
    assert (refused.status_code, refused.json()["error"]) == (409, "client_id_reused")


@pytest.mark.parametrize("limits", [{"GENERATIONS_PER_USER": 2}, {"GENERATIONS_AT_ONCE": 0}])
def test_a_limit_says_when_to_come_again_and_stores_nothing(calls, chat, path, settings, limits):
    if "GENERATIONS_PER_USER" in limits:
        for message in (path[1], path[3]):
            calls.post(f"/chats/{chat.pk}/messages/{message.pk}/regenerate")
            end_all()
    before = Message.objects.count()
    for name, value in limits.items():
        setattr(settings, name, value)
    refused = calls.post(f"/chats/{chat.pk}/messages", {"content": "One more"})
    assert (refused.status_code, refused.json()["error"]) == (429, "rate_limited")
    assert set(refused.json()) == {"error", "message", "limit", "remaining", "reset"}
    assert int(refused["Retry-After"]) == refused.json()["reset"] > 0
    assert Message.objects.count() == before


@pytest.mark.parametrize("content", ["", " ", "\n\t ", "\u2003"])
@pytest.mark.parametrize("door", ["messages", "edit"])
def test_blank_content_is_empty_at_every_door(calls, chat, path, content, door):
    where = "messages" if door == "messages" else f"messages/{path[0].pk}/edit"
    refused = calls.post(f"/chats/{chat.pk}/{where}", {"content": content, "mode": "branch"})
    assert (refused.status_code, refused.json()["error"]) == (400, "empty_message")
    assert Message.objects.count() == len(path)


def test_fifty_thousand_characters_fit_and_one_more_is_too_large(calls, chat, settings):
    limit = settings.MESSAGE_CHARACTERS
    refused = calls.post(f"/chats/{chat.pk}/messages", {"content": "ж" * (limit + 1)})
    assert (refused.status_code, refused.json()["error"]) == (413, "too_large")
    assert not Message.objects.exists()
    assert calls.post(f"/chats/{chat.pk}/messages", {"content": "ж" * limit}).status_code == 202


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "content"),
        ({"content": None}, 422, "content"),
        ({"content": 5}, 422, "content"),
        ({"content": ["Hi"]}, 422, "content"),
        ({"content": "Hi", "parentId": 5}, 422, "parentId"),
        ({"content": "Hi", "clientId": ""}, 422, "clientId"),
        ({"content": "Hi", "clientId": "x" * 101}, 422, "clientId"),
        ({"content": "Hi", "stream": "yes"}, 422, "stream"),
        ({"content": "Hi", "model": "no/such"}, 422, "model"),
        ({"content": "Hi", "model": 5}, 422, "model"),
        ({"content": "Hi", "model": "x" * 301}, 422, "model"),
        ({"content": "Hi", "attachmentIds": [NOWHERE]}, 422, "attachmentIds"),
        ({"content": "a\0b"}, 422, "content"),
        ({"content": "a\ud800b"}, 422, "content"),
        ({"content": "Hi", "model": "\udfff"}, 422, "model"),
    ],
)
def test_a_message_that_does_not_fit_stores_nothing(calls, chat, body, status, field):
    refused = calls.post(f"/chats/{chat.pk}/messages", body)
    assert (refused.status_code, refused.json()["field"]) == (status, field)
    assert not Message.objects.exists()


def test_fields_of_later_versions_pass_with_their_defaults(calls, chat):
    body = {"content": "Hi", "attachmentIds": [], "models": ["demo/bough"], "parentId": None, "clientId": None}
    sent = calls.post(f"/chats/{chat.pk}/messages", {**body, "api_base": "http://elsewhere", "api_key": "x"})
    assert sent.status_code == 202
    assert calls.get(f"/chats/{chat.pk}/messages").json()["messages"][1]["model"] == "demo/bough"


def test_unknown_models_have_a_code_of_their_own(calls, chat):
    refused = calls.post(f"/chats/{chat.pk}/messages", {"content": "Hi", "model": "no/such"})
    assert refused.json()["error"] == "unknown_model"


@pytest.mark.parametrize(
    "text", ["\ufffe", "a" + "\u0301" * 10_000, "\u202eabc\u202c", "👩‍👩‍👧", "e\u0301 é", "\U000e0041", "  kept  "]
)
def test_what_can_be_stored_comes_back_as_it_was_sent(calls, chat, text):
    calls.post(f"/chats/{chat.pk}/messages", {"content": f"x{text}"})
    assert calls.get(f"/chats/{chat.pk}/messages").json()["messages"][0]["content"] == f"x{text}"
