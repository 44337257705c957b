"""Chats over the API: list, make, read, change, delete, restore, fork, family."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.conversations.models import Conversation, Generation
from apps.conversations.services import forks, messages
from tests.conversations.api_calls import by_session
from tests.factories import make_conversation, make_message, make_path, reload

pytestmark = pytest.mark.django_db

FIELDS = [
    "id",
    "title",
    "mode",
    "status",
    "pinned",
    "personaId",
    "personaVersion",
    "settings",
    "leafId",
    "generating",
    "currentStreamingMessageId",
    "parentConversationId",
    "branchFromMessageId",
    "rootConversationId",
    "branchId",
    "createdAt",
    "updatedAt",
]


@pytest.fixture
def calls(user):
    return by_session(user)


@pytest.fixture
def chat(user):
    return make_conversation(owner=user, title="Trees")


def titles(page):
    return [chat["title"] for chat in page["chats"]]


def make_list(user, count):
    """Make conversations a minute apart, the newest last."""
    start = timezone.now() - timedelta(days=1)
    return [
        make_conversation(owner=user, title=f"Chat {number}", updated_at=start + timedelta(minutes=number))
        for number in range(count)
    ]


def test_a_chat_has_exactly_the_fields_of_the_contract(calls):
    made = calls.post("/chats", {"title": "Trees", "settings": {"model": "demo/bough"}})
    assert made.status_code == 201
    chat = made.json()
    assert list(chat) == FIELDS
    assert chat["title"] == "Trees"
    assert chat["mode"] == "chat"
    assert chat["settings"] == {"model": "demo/bough"}
    assert chat["rootConversationId"] == chat["id"]
    assert chat["createdAt"].endswith("Z")
    unset = ("personaId", "personaVersion", "leafId", "currentStreamingMessageId", "parentConversationId", "branchId")
    assert [chat[name] for name in unset] == [None] * len(unset)


@pytest.mark.parametrize("body", [None, {}, {"title": ""}, {"title": None, "personaId": None, "mode": "chat"}])
def test_a_chat_without_a_name_is_a_new_chat(calls, body):
    made = calls.post("/chats", body)
    assert (made.status_code, made.json()["title"]) == (201, "New Chat")


def test_the_list_has_the_newest_change_first_and_leaves_out_archived_ones(calls, user):
    made = make_list(user, 3)
    make_conversation(owner=user, title="Put away", status="archived")
    assert titles(calls.get("/chats").json()) == ["Chat 2", "Chat 1", "Chat 0"]
    assert titles(calls.get("/chats?archived=true").json()) == ["Put away"]
    messages.send(user=user, conversation_id=made[0].pk, content="Hello")
    first = calls.get("/chats").json()["chats"][0]
    assert first["id"] == str(made[0].pk)
    assert first["generating"]
    assert first["currentStreamingMessageId"] == first["leafId"]


def test_pages_repeat_and_miss_nothing_while_other_rows_change(calls, user):
    made = make_list(user, 7)
    seen, page = [], calls.get("/chats?limit=2").json()
    while True:
        seen += titles(page)
        # What was shown already moves to the top; what was not shown stays where it is.
        calls.patch(f"/chats/{page['chats'][0]['id']}", {"title": f"{page['chats'][0]['title']}!"})
        if page["nextCursor"] is None:
            break
        page = calls.get(f"/chats?limit=2&cursor={page['nextCursor']}").json()
    assert seen == [chat.title for chat in reversed(made)]


@pytest.mark.parametrize(
    ("limit", "count"),
    [
        ("", 20),
        ("0", 1),
        ("-5", 1),
        ("1", 1),
        ("100", 25),
        ("101", 25),
        ("9" * 400, 25),
        ("-" + "9" * 400, 1),
        ("+3", 3),
    ],
)
def test_the_limit_is_clamped_whatever_its_size(calls, user, limit, count):
    make_list(user, 25)
    assert len(calls.get(f"/chats?cursor=&limit={limit}&archived=").json()["chats"]) == count


@pytest.mark.parametrize("query", ["limit=ten", "limit=1.5", "limit=NaN", "limit=²", "limit=0x1", "archived=perhaps"])
def test_a_query_that_does_not_fit_is_refused_by_name(calls, query):
    refused = calls.get(f"/chats?{query}")
    assert refused.status_code == 422
    assert refused.json()["field"] == query.partition("=")[0]


@pytest.mark.parametrize("cursor", ["x", "%F0", "bm90IG91cnM=", "é", "9" * 5000])
def test_a_cursor_that_is_not_ours_is_malformed(calls, cursor):
    refused = calls.get(f"/chats?cursor={cursor}")
    assert (refused.status_code, refused.json()["error"]) == (400, "malformed")


def test_listing_costs_the_same_queries_for_two_and_for_forty(calls, user, django_assert_num_queries):
    make_list(user, 2)
    with django_assert_num_queries(4):
        calls.get("/chats?limit=100")
    for made in make_list(user, 38)[:15]:
        messages.send(user=user, conversation_id=made.pk, content="Hello")
    with django_assert_num_queries(4):
        assert len(calls.get("/chats?limit=100").json()["chats"]) == 40


def test_a_patch_changes_what_it_names_and_nothing_else(calls, chat):
    changed = calls.patch(f"/chats/{chat.pk}", {"title": "Roots", "pinned": True, "settings": {"model": "demo/bough"}})
    assert changed.status_code == 200
    assert {key: changed.json()[key] for key in ("title", "pinned", "status", "settings")} == {
        "title": "Roots",
        "pinned": True,
        "status": "active",
        "settings": {"model": "demo/bough"},
    }
    assert calls.patch(f"/chats/{chat.pk}", {"settings": {"model": None}}).json()["settings"] == {}
    assert calls.patch(f"/chats/{chat.pk}", {}).json() == calls.get(f"/chats/{chat.pk}").json()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": "  "}, "title"),
        ({"title": "x" * 501}, "title"),
        ({"title": 7}, "title"),
        ({"title": "a\0b"}, "title"),
        ({"pinned": "yes"}, "pinned"),
        ({"pinned": 1}, "pinned"),
        ({"status": "gone"}, "status"),
        ({"settings": []}, "settings"),
        ({"settings": {"model": 5}}, "model"),
        (b'{"settings":' + b'{"a":' * 100 + b"1" + b"}" * 101, "settings"),
        ({"personaId": "01a1fbb7-4903-7411-9093-0c05fec09170"}, "personaId"),
        ({"mode": "story"}, "mode"),
        ([], "body"),
        ("text", "body"),
    ],
)
def test_a_patch_that_does_not_fit_changes_nothing(calls, chat, body, field):
    before = calls.get(f"/chats/{chat.pk}").json()
    refused = calls.patch(f"/chats/{chat.pk}", body)
    assert (refused.status_code, refused.json()["field"]) == (422, field)
    assert set(refused.json()) == {"error", "message", "field"}
    assert calls.get(f"/chats/{chat.pk}").json() == before


def test_archiving_stops_the_answer_inside(calls, user, chat):
    sent = messages.send(user=user, conversation_id=chat.pk, content="Hello")
    changed = calls.patch(f"/chats/{chat.pk}", {"status": "archived"}).json()
    assert (changed["status"], changed["generating"]) == ("archived", False)
    assert not reload(sent.generations[0]).is_active
    refused = calls.post(f"/chats/{chat.pk}/messages", {"content": "More"})
    assert (refused.status_code, refused.json()["error"]) == (409, "conversation_archived")


def test_deleting_is_undone_by_restoring(calls, user, chat):
    sent = messages.send(user=user, conversation_id=chat.pk, content="Hello")
    deleted = calls.delete(f"/chats/{chat.pk}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert not reload(sent.generations[0]).is_active
    assert calls.get(f"/chats/{chat.pk}").status_code == 404
    assert calls.delete(f"/chats/{chat.pk}").status_code == 404
    restored = calls.post(f"/chats/{chat.pk}/restore")
    assert (restored.status_code, restored.json()["id"]) == (200, str(chat.pk))
    assert calls.get(f"/chats/{chat.pk}").status_code == 200


def test_a_root_with_forks_asks_what_becomes_of_them(calls, user, chat):
    message = make_message(conversation=chat)
    fork = forks.fork(user=user, conversation_id=chat.pk, message_id=message.pk)
    refused = calls.delete(f"/chats/{chat.pk}")
    assert (refused.status_code, refused.json()["error"], refused.json()["forks"]) == (409, "has_forks", 1)
    assert calls.delete(f"/chats/{chat.pk}?forks=perhaps").status_code == 422
    assert calls.delete(f"/chats/{chat.pk}?forks=detach").status_code == 204
    detached = calls.get(f"/chats/{fork.pk}").json()
    assert (detached["rootConversationId"], detached["parentConversationId"]) == (str(fork.pk), None)


def test_deleting_with_forks_takes_the_family(calls, user, chat):
    fork = forks.fork(user=user, conversation_id=chat.pk, message_id=make_message(conversation=chat).pk)
    assert calls.delete(f"/chats/{chat.pk}?forks=delete").status_code == 204
    assert calls.get(f"/chats/{fork.pk}").status_code == 404


def test_forking_at_an_answer_copies_the_path_and_begins_nothing(calls, chat):
    path = make_path(conversation=chat, length=6)
    made = calls.post(f"/chats/{chat.pk}/fork", {"messageId": str(path[3].pk), "title": "Another way"})
    assert made.status_code == 201
    fork = made.json()
    assert list(fork) == FIELDS
    assert (fork["title"], fork["parentConversationId"]) == ("Another way", str(chat.pk))
    assert (fork["branchFromMessageId"], fork["rootConversationId"]) == (str(path[3].pk), str(chat.pk))
    assert fork["branchId"] is not None
    assert len(calls.get(f"/chats/{fork['id']}/messages").json()["messages"]) == 4
    assert not Generation.objects.exists()


def test_forking_at_a_question_begins_its_answer(calls, chat):
    path = make_path(conversation=chat, length=3)
    fork = calls.post(f"/chats/{chat.pk}/fork", {"messageId": str(path[2].pk)}).json()
    assert fork["generating"]
    page = calls.get(f"/chats/{fork['id']}/messages").json()["messages"]
    assert [message["role"] for message in page] == ["user", "assistant", "user", "assistant"]
    assert page[-1]["status"] == "queued"


def test_a_fork_that_may_not_be_answered_is_not_made(calls, chat, settings):
    path = make_path(conversation=chat, length=3)
    settings.GENERATIONS_AT_ONCE = 0
    assert calls.post(f"/chats/{chat.pk}/fork", {"messageId": str(path[2].pk)}).status_code == 429
    assert len(calls.get("/chats").json()["chats"]) == 1


@pytest.mark.parametrize("body", [{}, {"messageId": None}, {"messageId": 3}])
def test_a_fork_needs_a_message(calls, chat, body):
    refused = calls.post(f"/chats/{chat.pk}/fork", body)
    assert (refused.status_code, refused.json()["field"]) == (422, "messageId")
    assert calls.post(f"/chats/{chat.pk}/fork", {"messageId": "elsewhere"}).status_code == 404


def test_a_family_is_its_root_and_all_forks(calls, user, chat):
    path = make_path(conversation=chat, length=4)
    fork = forks.fork(user=user, conversation_id=chat.pk, message_id=path[1].pk)
    for member in (chat, fork):
        family = calls.get(f"/chats/{member.pk}/family").json()
        assert family["rootId"] == str(chat.pk)
        assert [item["id"] for item in family["chats"]] == [str(chat.pk), str(fork.pk)]
        assert list(family["chats"][0]) == [*FIELDS, "snippet", "messagesAfter"]


def test_nothing_of_this_makes_rows_for_a_stranger(chat, stranger):
    eve = by_session(stranger)
    before = Conversation.objects.count()
    assert eve.get(f"/chats/{chat.pk}").status_code == 404
    assert eve.patch(f"/chats/{chat.pk}", {"title": "Mine"}).status_code == 404
    assert eve.delete(f"/chats/{chat.pk}").status_code == 404
    assert eve.post(f"/chats/{chat.pk}/restore").status_code == 404
    assert eve.get("/chats").json()["chats"] == []
    assert reload(chat).title == "Trees"
    assert Conversation.objects.count() == before
