"""Messages over the API: pages of a path, regenerating, editing, choosing, marking, deleting."""

import pytest

from apps.conversations.models import Message, MessageRevision, MessageStatus
from apps.conversations.services import leases, messages
from tests.conversations.answers import end_all
from tests.conversations.api_calls import by_session
from tests.factories import make_conversation, make_message, make_path, reload

pytestmark = pytest.mark.django_db

FIELDS = [
    *("id", "chatId", "parentId", "depth", "role", "parts", "content", "status", "error", "personaName", "personaIcon"),
    *("model", "provider", "siblingIndex", "siblingCount", "previousSiblingId", "nextSiblingId", "pinned", "favourite"),
    *("contextRule", "tokens", "tier", "usage", "timings", "finishReason", "createdAt"),
]
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


# --- the page of a path -----------------------------------------------------------------------------------------


def test_a_message_has_exactly_the_fields_of_the_contract(calls, chat):
    first = make_message(conversation=chat, text="Ask")
    answer = make_message(
        conversation=chat,
        parent=first,
        parts=[{"type": "reasoning", "text": "Hm.", "durationMs": 5}, {"type": "text", "text": "Tell"}],
        status=MessageStatus.FAILED,
        error_code="cut_off",
        error_message="The connection broke.",
        provider="openai",
        model_id="vendor/model",
        prompt_tokens=3,
        completion_tokens=1,
        ttft_ms=20,
        duration_ms=50,
        finish_reason="error",
        is_favourite=True,
    )
    page = calls.get(f"/chats/{chat.pk}/messages").json()
    assert list(page) == ["messages", "leafId", "leafChanged", "reason", "nextCursor"]
    told, shown = page["messages"]
    assert list(shown) == FIELDS
    assert (shown["id"], shown["chatId"], shown["parentId"]) == (str(answer.pk), str(chat.pk), str(first.pk))
    assert (shown["role"], shown["depth"], shown["status"]) == ("assistant", 1, "failed")
    assert shown["parts"] == [{"type": "reasoning", "text": "Hm.", "durationMs": 5}, {"type": "text", "text": "Tell"}]
    assert (shown["content"], shown["favourite"], shown["finishReason"]) == ("Tell", True, "error")
    assert shown["error"] == {"code": "cut_off", "message": "The connection broke."}
    assert (shown["model"], shown["provider"]) == ("openai/vendor/model", "openai")
    assert (shown["siblingIndex"], shown["siblingCount"]) == (1, 1)
    assert shown["usage"]["promptTokens"] == 3
    assert shown["usage"]["reasoningTokens"] is None
    assert shown["timings"] == {"ttftMs": 20, "durationMs": 50}
    assert (shown["pinned"], shown["contextRule"], shown["tier"]) == (False, "auto", None)
    assert (told["parentId"], told["error"], told["model"], told["finishReason"]) == (None, None, None, None)


def test_an_answer_being_written_shows_its_text_so_far_as_content(calls, chat, path):
    # As a checkpoint leaves it: the parts alone.
    parts = [{"type": "reasoning", "text": "Hm."}, {"type": "text", "text": "So "}, {"type": "text", "text": "far"}]
    Message.objects.filter(pk=path[3].pk).update(parts=parts, text="", status=MessageStatus.STREAMING)
    shown = calls.get(f"/chats/{chat.pk}/messages").json()["messages"][-1]
    assert (shown["parts"], shown["content"], shown["status"]) == (parts, "So far", "streaming")


def test_an_empty_chat_has_an_empty_page(calls, chat):
    page = calls.get(f"/chats/{chat.pk}/messages").json()
    assert page == {"messages": [], "leafId": None, "leafChanged": False, "reason": None, "nextCursor": None}


def test_pages_go_upwards_until_the_first_message(calls, chat):
    whole = [str(message.pk) for message in make_path(conversation=chat, length=12)]
    page = calls.get(f"/chats/{chat.pk}/messages?limit=5").json()
    assert (ids(page), page["leafId"]) == (whole[7:], whole[-1])
    page = calls.get(f"/chats/{chat.pk}/messages?limit=5&cursor={page['nextCursor']}").json()
    assert ids(page) == whole[2:7]
    page = calls.get(f"/chats/{chat.pk}/messages?limit=5&cursor={page['nextCursor']}").json()
    assert (ids(page), page["nextCursor"]) == (whole[:2], None)


@pytest.mark.parametrize(("limit", "count"), [("", 50), ("51", 50), ("9" * 99, 50), ("0", 1), ("-7", 1), ("50", 50)])
def test_the_page_is_at_most_fifty_and_at_least_one(calls, chat, limit, count):
    make_path(conversation=chat, length=55)
    assert len(calls.get(f"/chats/{chat.pk}/messages?limit={limit}").json()["messages"]) == count


def test_a_leaf_with_descendants_gives_the_newest_leaf_below_unless_strict(calls, chat, path):
    page = calls.get(f"/chats/{chat.pk}/messages?leafId={path[1].pk}").json()
    assert (page["leafId"], page["leafChanged"], page["reason"]) == (str(path[3].pk), True, None)
    page = calls.get(f"/chats/{chat.pk}/messages?leafId={path[1].pk}&strict=1").json()
    assert (page["leafId"], page["leafChanged"], len(page["messages"])) == (str(path[1].pk), False, 2)
    assert reload(chat).active_leaf_id == path[3].pk


@pytest.mark.parametrize("leaf", [NOWHERE, "nonsense", "9" * 900])
def test_an_unknown_leaf_gives_the_current_one_and_says_so(calls, chat, path, leaf):
    page = calls.get(f"/chats/{chat.pk}/messages?leafId={leaf}").json()
    assert (page["leafId"], page["leafChanged"], page["reason"]) == (str(path[3].pk), True, "not_found")


@pytest.mark.parametrize("cursor", [NOWHERE, "nonsense", "-1"])
def test_an_unknown_cursor_is_malformed(calls, chat, path, cursor):
    refused = calls.get(f"/chats/{chat.pk}/messages?cursor={cursor}")
    assert (refused.status_code, refused.json()["error"]) == (400, "malformed")


def test_a_page_costs_the_same_queries_for_four_messages_and_for_fifty(calls, user, django_assert_num_queries):
    small, large = make_conversation(owner=user), make_conversation(owner=user)
    make_path(conversation=small, length=4)
    parents = make_path(conversation=large, length=80)
    for parent in parents[40:79]:
        make_message(conversation=large, parent=parent, stand=False)
    for chat in (small, large):
        with django_assert_num_queries(6):
            calls.get(f"/chats/{chat.pk}/messages")


def test_siblings_are_named_with_their_places(calls, chat, path):
    second = make_message(conversation=chat, parent=path[0], text="Other", stand=False)
    first = calls.get(f"/chats/{chat.pk}/messages").json()["messages"][1]
    assert (first["siblingIndex"], first["siblingCount"]) == (1, 2)
    assert (first["previousSiblingId"], first["nextSiblingId"]) == (None, str(second.pk))


# --- what one does with a message -------------------------------------------------------------------------------


def test_regenerating_makes_a_sibling_and_refuses_questions(calls, chat, path):
    again = calls.post(f"/chats/{chat.pk}/messages/{path[1].pk}/regenerate", {"model": "demo/bough"})
    assert again.status_code == 202
    assert again.json()["userMessageId"] is None
    made = Message.objects.get(pk=again.json()["messageIds"][0])
    assert (made.parent_id, made.provider) == (path[0].pk, "demo")
    end_all()
    refused = calls.post(f"/chats/{chat.pk}/messages/{path[0].pk}/regenerate")
    assert (refused.status_code, refused.json()["error"]) == (400, "not_possible")


def test_continuing_goes_on_in_the_same_message(calls, chat, path):
    went_on = calls.post(f"/chats/{chat.pk}/messages/{path[3].pk}/continue").json()
    assert (went_on["messageIds"], went_on["userMessageId"]) == ([str(path[3].pk)], None)
    end_all()
    assert calls.post(f"/chats/{chat.pk}/messages/{path[2].pk}/continue").status_code == 400


def test_editing_a_question_branches_and_is_answered(calls, chat, path):
    edited = calls.post(f"/chats/{chat.pk}/messages/{path[0].pk}/edit", {"content": "Instead", "mode": "branch"})
    assert edited.status_code == 202
    assert edited.json()["branched"]
    assert Message.objects.get(pk=edited.json()["userMessageId"]).parent_id is None
    assert len(edited.json()["generationIds"]) == 1


def test_editing_an_answer_branches_without_a_new_one(calls, chat, path):
    edited = calls.post(f"/chats/{chat.pk}/messages/{path[1].pk}/edit", {"content": "Better", "mode": "branch"})
    assert edited.status_code == 202
    body = edited.json()
    assert (body["userMessageId"], body["generationIds"], body["branched"]) == (None, [], True)
    assert body["leafId"] == body["messageIds"][0]


def test_saving_in_place_gives_the_message_and_keeps_the_old_text(calls, chat, path):
    saved = calls.post(f"/chats/{chat.pk}/messages/{path[1].pk}/edit", {"content": "Better", "mode": "save"})
    assert saved.status_code == 200
    assert list(saved.json()) == FIELDS
    assert (saved.json()["id"], saved.json()["content"]) == (str(path[1].pk), "Better")
    assert MessageRevision.objects.get().parts == path[1].parts


def test_a_running_message_is_not_saved_over(calls, chat):
    sent = calls.post(f"/chats/{chat.pk}/messages", {"content": "Hello"}).json()
    where = f"/chats/{chat.pk}/messages/{sent['messageIds'][0]}/edit"
    refused = calls.post(where, {"content": "Mine", "mode": "save"})
    assert (refused.status_code, refused.json()["error"]) == (409, "generation_in_progress")


@pytest.mark.parametrize(
    ("body", "field"),
    [({"content": "x"}, "mode"), ({"content": "x", "mode": "erase"}, "mode"), ({"mode": "save"}, "content")],
)
def test_an_edit_needs_content_and_a_known_mode(calls, chat, path, body, field):
    refused = calls.post(f"/chats/{chat.pk}/messages/{path[0].pk}/edit", body)
    assert (refused.status_code, refused.json()["field"]) == (422, field)
    assert reload(path[0]).text == path[0].text


def test_choosing_a_branch_moves_the_leaf(calls, chat, path):
    other = make_message(conversation=chat, parent=path[0], text="Other", stand=False)
    assert calls.post(f"/chats/{chat.pk}/messages/{other.pk}/select").json() == {"leafId": str(other.pk)}
    assert reload(chat).active_leaf_id == other.pk
    assert calls.post(f"/chats/{chat.pk}/messages/{path[1].pk}/select").json() == {"leafId": str(path[3].pk)}


def test_a_message_is_marked_as_favourite_and_unmarked(calls, chat, path):
    where = f"/chats/{chat.pk}/messages/{path[1].pk}"
    marked = calls.patch(where, {"favourite": True})
    assert (marked.status_code, list(marked.json()), marked.json()["favourite"]) == (200, FIELDS, True)
    assert calls.patch(where, {"pinned": False, "contextRule": "auto"}).json() == marked.json()
    assert calls.patch(where, {"favourite": False}).json()["favourite"] is False


@pytest.mark.parametrize(
    "body", [{"pinned": True}, {"contextRule": "always"}, {"pinned": 0}, {"favourite": "yes"}, {"favourite": 1}]
)
def test_marks_of_later_versions_and_wrong_types_are_refused(calls, chat, path, body):
    refused = calls.patch(f"/chats/{chat.pk}/messages/{path[1].pk}", {"favourite": True, **body})
    assert (refused.status_code, refused.json()["field"]) == (422, next(iter(body)))
    assert not reload(path[1]).is_favourite


def test_deleting_a_message_takes_what_is_below_and_is_undone(calls, chat, path):
    deleted = calls.delete(f"/chats/{chat.pk}/messages/{path[1].pk}")
    assert (deleted.status_code, deleted.json()) == (200, {"deleted": 3, "leafId": str(path[0].pk)})
    assert calls.delete(f"/chats/{chat.pk}/messages/{path[1].pk}").status_code == 404
    restored = calls.post(f"/chats/{chat.pk}/messages/{path[1].pk}/restore")
    assert (restored.status_code, restored.json()) == (200, {"restored": 3, "leafId": str(path[3].pk)})


def test_branches_list_where_the_tree_parts(calls, chat, path):
    assert calls.get(f"/chats/{chat.pk}/branches").json() == {"forks": []}
    other = make_message(conversation=chat, parent=path[0], text="Other\nwords", stand=False)
    (fork,) = calls.get(f"/chats/{chat.pk}/branches").json()["forks"]
    assert fork["parentId"] == str(path[0].pk)
    assert [child["id"] for child in fork["children"]] == [str(path[1].pk), str(other.pk)]
    assert [list(child) for child in fork["children"]] == [["id", "createdAt", "excerpt", "size", "active"]] * 2
    assert [(child["size"], child["active"]) for child in fork["children"]] == [(3, True), (1, False)]
    assert fork["children"][1]["excerpt"] == "Other words"


def test_messages_of_another_chat_are_not_here(calls, chat, path, user):
    elsewhere = make_conversation(owner=user)
    for message in path:
        where = f"/chats/{elsewhere.pk}/messages/{message.pk}"
        for act in ("regenerate", "continue", "select", "restore"):
            assert calls.post(f"{where}/{act}").status_code == 404
        assert calls.post(f"{where}/edit", {"content": "x", "mode": "save"}).status_code == 404
        assert calls.patch(where, {"favourite": True}).status_code == 404
        assert calls.patch(where, {}).status_code == 404
        assert calls.delete(where).status_code == 404


def test_models_are_listed_with_their_capabilities(calls):
    listed = calls.get("/models").json()["models"]
    assert [model["modelId"] for model in listed] == ["scripted/model", "demo/bough"]
    assert list(listed[0]) == ["modelId", "name", "provider", "capabilities", "known", "available"]
    names = ["supportsTools", "supportsImages", "supportsReasoning", "supportsFiles", "contextLength"]
    assert list(listed[0]["capabilities"]) == [*names, "inputModalities"]


def test_stopping_names_what_it_stopped(calls, chat):
    sent = calls.post(f"/chats/{chat.pk}/messages", {"content": "Hello"}).json()
    assert calls.post(f"/chats/{chat.pk}/stop", {"generationId": NOWHERE}).status_code == 404
    stopped = calls.post(f"/chats/{chat.pk}/stop", {"generationId": sent["generationIds"][0]})
    assert (stopped.status_code, stopped.json()) == (202, {"stopped": sent["generationIds"]})
    assert calls.post(f"/chats/{chat.pk}/stop").json() == {"stopped": []}
    refused = calls.post(f"/chats/{chat.pk}/stop", {"generationId": 5})
    assert (refused.status_code, refused.json()["field"]) == (422, "generationId")


def test_a_page_shows_an_answer_being_written_as_streaming(calls, chat, user):
    messages.send(user=user, conversation_id=chat.pk, content="Hello")
    leases.claim(owner="test:1:a", limit=5)
    assert calls.get(f"/chats/{chat.pk}/messages").json()["messages"][1]["status"] == "streaming"
