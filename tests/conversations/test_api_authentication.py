"""Who may call the API: sessions with their CSRF token, tokens with their scope, nobody else; and refusals that tell nothing."""

import pytest
from django.test import Client, override_settings
from django.utils import timezone

from apps.accounts.models import ApiToken
from apps.conversations.models import Conversation
from tests.conversations.api_calls import Calls, by_session, by_token
from tests.factories import make_conversation, make_path

pytestmark = pytest.mark.django_db
NOWHERE = "01a1fbb7-4903-7411-9093-0c05fec09170"


@pytest.fixture
def chat(user):
    return make_conversation(owner=user, title="Trees")


@pytest.fixture
def checking(user):
    """A browser whose CSRF tokens are checked, as real ones are."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    return Calls(client)


@pytest.mark.parametrize("path", ["", "/", "/chats", f"/chats/{NOWHERE}", "/nothing/here", "/models", "/chats/"])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE", "PUT"])
def test_whoever_is_signed_out_learns_nothing_but_that(client, method, path):
    refused = Calls(client)(method, path)
    assert refused.status_code in ((401, 404) if path == "" else (401,))
    if path:
        assert refused.json() == {"error": "not_signed_in", "message": "Please sign in first."}
        assert refused["WWW-Authenticate"].startswith("Bearer")
    assert "Location" not in refused


def test_a_session_reads_without_and_writes_only_with_its_csrf_token(checking, chat):
    assert checking.get("/chats").status_code == 200
    for method, path in [("POST", "/chats"), ("PATCH", f"/chats/{chat.pk}"), ("DELETE", f"/chats/{chat.pk}")]:
        refused = checking(method, path, {"title": "Forged"})
        assert (refused.status_code, refused.json()["error"]) == (403, "csrf_failed")
    assert Conversation.objects.get().title == "Trees"
    token = checking.client.get("/csrf/").json()["token"]
    made = checking.post("/chats", {"title": "Meant"}, headers={"X-CSRFToken": token})
    assert made.status_code == 201


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_form_of_another_site_can_not_write(checking, kind):
    refused = checking.post("/chats", b'{"title": "Forged"}', content_type=kind)
    assert (refused.status_code, refused["Content-Type"]) == (403, "application/json")
    assert not Conversation.objects.exists()


def test_a_broken_form_is_refused_in_json(checking):
    refused = checking.post("/chats", b"--x\r\nbroken", content_type="multipart/form-data")
    assert refused.status_code in (400, 403)
    assert set(refused.json()) == {"error", "message"}


def test_a_token_reads_and_writes_without_a_csrf_token(user):
    calls = by_token(user)
    calls.client.handler.enforce_csrf_checks = True
    made = calls.post("/chats", {"title": "By program"})
    assert made.status_code == 201
    assert calls.get(f"/chats/{made.json()['id']}").status_code == 200


@pytest.mark.parametrize(("scope", "reads", "writes"), [("read", 200, 403), ("write", 403, 201)])
def test_a_scope_opens_what_it_names(user, scope, reads, writes):
    calls = by_token(user, scopes=[scope])
    assert calls.get("/chats").status_code == reads
    assert calls.post("/chats", {"title": "x"}).status_code == writes
    refused = calls.get("/chats") if reads == 403 else calls.post("/chats")
    assert (refused.json()["error"], "Location" in refused) == ("scope_missing", False)


@pytest.mark.parametrize(
    "carried",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer nonsense",
        "Bearer bough_",
        "Bearer bough_" + "x" * 300,
        "Basic YTpi",
        "bough_x",
        "Bearer é",
    ],
)
def test_a_token_that_is_none_never_falls_back_on_the_session(user, carried):
    calls = Calls(by_session(user).client, Authorization=carried)
    assert calls.get("/chats").status_code == 401
    assert calls.post("/chats").status_code == 401


def test_revoked_tokens_and_switched_off_users_are_out_at_once(user):
    calls = by_token(user)
    session = by_session(user)
    ApiToken.objects.update(revoked_at=timezone.now())
    assert calls.get("/chats").status_code == 401
    other = by_token(user)
    user.is_active = False
    user.save()
    assert (other.get("/chats").status_code, session.get("/chats").status_code) == (401, 401)


def test_a_token_in_the_query_or_another_header_opens_nothing(user, client):
    plain = by_token(user).headers["Authorization"].removeprefix("Bearer ")
    for path, headers in [
        (f"/chats?token={plain}", {}),
        (f"/chats?access_token={plain}", {}),
        ("/chats", {"X-Api-Key": plain}),
        ("/chats", {"Cookie": f"token={plain}"}),
    ]:
        assert Calls(client).get(path, headers=headers).status_code == 401


def test_what_is_foreign_deleted_malformed_or_unknown_is_the_same_404(user, stranger, chat):
    path = make_path(conversation=chat, length=2)
    eve = by_token(stranger)
    gone = make_conversation(owner=stranger)
    eve.delete(f"/chats/{gone.pk}")
    own = make_conversation(owner=stranger)
    answers = [
        eve.get(f"/chats/{chat.pk}"),
        eve.get(f"/chats/{gone.pk}"),
        eve.get(f"/chats/{NOWHERE}"),
        eve.get("/chats/nonsense"),
        eve.get("/chats/%00"),
        eve.get("/chats/" + "x" * 3000),
        eve.get("/chats/1/messages"),
        eve.get(f"/chats/{chat.pk}/messages"),
        eve.get(f"/chats/{chat.pk}/branches"),
        eve.get(f"/chats/{chat.pk}/family"),
        eve.get(f"/chats/{chat.pk}/stream"),
        eve.post(f"/chats/{chat.pk}/messages", {"content": "x"}),
        eve.post(f"/chats/{chat.pk}/stop"),
        eve.post(f"/chats/{chat.pk}/fork", {"messageId": str(path[0].pk)}),
        eve.post(f"/chats/{own.pk}/fork", {"messageId": str(path[0].pk)}),
        eve.post(f"/chats/{own.pk}/messages/{path[1].pk}/regenerate"),
        eve.patch(f"/chats/{own.pk}/messages/{path[1].pk}", {"favourite": True}),
        eve.delete(f"/chats/{own.pk}/messages/{path[1].pk}"),
        eve.get("/nothing"),
        eve.get("/chats/"),
        eve.post("/jobs", {}),
        eve.get(f"/chats/{own.pk}/messages/{path[1].pk}/context"),
        eve.get("//chats"),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert {answer["Content-Type"] for answer in answers} == {"application/json"}


def test_another_method_is_405_in_json_with_those_that_work(user, chat):
    refused = by_token(user)("PUT", f"/chats/{chat.pk}", {})
    assert (refused.status_code, refused.json()["error"]) == (405, "method_not_allowed")
    assert set(refused["Allow"].split(", ")) == {"GET", "PATCH", "DELETE"}


@override_settings(SECURE_SSL_REDIRECT=True)
def test_nothing_redirects_even_where_pages_do(client, user):
    for path in ("/chats", "/chats/", "", "/docs"):
        answer = Calls(client).get(path)
        assert answer.status_code in (401, 403, 404), path
        assert "Location" not in answer


def test_every_answer_has_a_request_id_and_stays_out_of_caches(user, client):
    calls = by_session(user)
    for answer in (calls.get("/chats"), calls.get("/nothing"), calls("PUT", "/chats"), Calls(client).get("/chats")):
        assert answer["X-Request-Id"]
        assert "no-store" in answer["Cache-Control"]
