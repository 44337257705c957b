"""Requests that don't fit: whatever comes in, the answer is a 4xx that says why, and nothing is stored."""

import json
import os
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.conversations.models import Conversation, Message
from tests.conversations.api_calls import by_session
from tests.factories import make_conversation, make_path

pytestmark = pytest.mark.django_db


@pytest.fixture
def calls(user):
    return by_session(user)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"title",
        b"{'title': 1}",
        b'{"title": NaN}',
        b'{"title": Infinity}',
        b'{"title": "a" "b"}',
        b"\xff\xfe{",
        b'{"title": "\xc3"}',
        b'{"title": "\xed\xa0\x80"}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"title": ' + b"9" * 5_000 + b"}",
        b'\x00{"title": "x"}',
        '{"title": "x"}'.encode("utf-16"),
    ],
)
def test_what_is_no_json_is_malformed(calls, body):
    refused = calls.post("/chats", body)
    assert (refused.status_code, refused.json()["error"]) == (400, "malformed")
    assert not Conversation.objects.exists()


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "x", "é/é"])
def test_a_body_of_another_type_is_415(calls, kind):
    refused = calls.post("/chats", b'{"title": "x"}', content_type=kind)
    assert (refused.status_code, refused.json()["error"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"]
)
def test_json_by_any_of_its_names_is_read(calls, kind):
    assert calls.post("/chats", b'\xef\xbb\xbf{"title": "x"}', content_type=kind).status_code == 201


@pytest.mark.parametrize("size", [1_000_001, 10_000_000])
def test_a_body_beyond_a_megabyte_is_too_large(calls, size):
    body = b'{"title": "' + b"x" * (size - 13) + b'"}'
    refused = calls.post("/chats", body)
    assert (refused.status_code, refused.json()["error"]) == (413, "too_large")
    assert not Conversation.objects.exists()


def test_a_deeply_nested_setting_ends_in_a_4xx(calls):
    nested = b'{"settings": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}"
    assert calls.post("/chats", nested).status_code in (201, 400, 422)


@pytest.mark.parametrize("settings", [{"a\0": 1}, {"a": {"b": ["\0"]}}, {"a": "\ud800"}, {"\udfff": 1}])
def test_text_that_can_not_be_stored_is_found_wherever_it_is(calls, settings):
    refused = calls.post("/chats", {"settings": settings})
    assert (refused.status_code, refused.json()["field"]) == (422, "settings")


def test_too_many_query_fields_are_refused(calls):
    refused = calls.get("/chats?" + "&".join(f"f{number}=1" for number in range(2_000)))
    assert (refused.status_code, refused["Content-Type"]) == (400, "application/json")


def test_repeated_and_unknown_query_fields_do_no_harm(calls):
    assert calls.get("/chats?limit=5&limit=7&unknown=1&limit[]=3").status_code == 200


# --- anything at all --------------------------------------------------------------------------------------------

NAMES = [
    *("content", "parentId", "clientId", "model", "models", "attachmentIds", "stream", "mode", "messageId", "title"),
    *("pinned", "favourite", "contextRule", "status", "settings", "personaId", "generationId", "", "__proto__", "\0"),
]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None), max_size=20)
    | st.sampled_from(["", "chat", "branch", "save", "archived", "scripted/model", "\0", "\ud800", "x" * 600]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
bodies = st.dictionaries(st.sampled_from(NAMES), values, max_size=6) | values
raw = st.one_of(
    bodies.map(lambda body: json.dumps(body).encode()),
    st.binary(max_size=60),
    bodies.map(lambda body: json.dumps(body).encode()[:-1]),
)
queries = st.dictionaries(
    st.sampled_from(
        ["cursor", "limit", "archived", "leafId", "strict", "forks", "generationId", "part", "offset", "q"]
    ),
    st.one_of(st.text(max_size=12), st.integers().map(str), st.sampled_from(["", "-1", "9" * 30, "1e9", "true"])),
    max_size=4,
)
OPERATIONS = [
    ("GET", "/chats"),
    ("POST", "/chats"),
    ("GET", "/chats/{chat}"),
    ("PATCH", "/chats/{chat}"),
    ("DELETE", "/chats/{chat}"),
    ("POST", "/chats/{chat}/restore"),
    ("GET", "/chats/{chat}/messages"),
    ("POST", "/chats/{chat}/messages"),
    ("POST", "/chats/{chat}/messages/{message}/regenerate"),
    ("POST", "/chats/{chat}/messages/{message}/edit"),
    ("POST", "/chats/{chat}/messages/{message}/continue"),
    ("POST", "/chats/{chat}/messages/{message}/select"),
    ("PATCH", "/chats/{chat}/messages/{message}"),
    ("DELETE", "/chats/{chat}/messages/{message}"),
    ("POST", "/chats/{chat}/messages/{message}/restore"),
    ("GET", "/chats/{chat}/branches"),
    ("POST", "/chats/{chat}/fork"),
    ("GET", "/chats/{chat}/family"),
    ("GET", "/chats/{chat}/stream"),
    ("POST", "/chats/{chat}/stop"),
    ("GET", "/models"),
]


def test_the_operations_below_are_all_there_are(calls):
    described = calls.get("/openapi.json").json()["paths"]
    known = {(method, path.format(chat="{chat_id}", message="{message_id}")) for method, path in OPERATIONS}
    assert known == {
        (method.upper(), path.removeprefix("/api")) for path, methods in described.items() for method in methods
    }


@settings(
    max_examples=int(os.environ.get("BOUGH_FUZZ_EXAMPLES", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    operation=st.sampled_from(OPERATIONS),
    body=raw,
    query=queries,
    ids=st.tuples(*[st.none() | st.text(min_size=1, max_size=40)] * 2),
    kind=st.sampled_from(
        ["application/json"] * 6 + ["text/plain", "multipart/form-data", "multipart/form-data; boundary=x"]
    ),
    event_id=st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
)
def test_no_request_whatsoever_ends_in_a_5xx(calls, user, operation, body, query, ids, kind, event_id):
    chat = make_conversation(owner=user)
    message = make_path(conversation=chat, length=2)[1]
    chat_id, message_id = (given or str(row.pk) for given, row in zip(ids, (chat, message), strict=True))
    method, path = operation
    path = path.format(chat=_quoted(chat_id), message=_quoted(message_id))
    headers = {"Last-Event-ID": event_id} if event_id else {}
    answer = calls(method, f"{path}?{_encoded(query)}", body, content_type=kind, headers=headers)
    assert answer.status_code < 500
    assert not 300 <= answer.status_code < 400
    if answer.status_code >= 400:
        assert answer["Content-Type"] == "application/json"
        assert {"error", "message"} <= set(answer.json())
    Message.objects.filter(conversation=chat).update(deletion=None)


def _quoted(text):
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def _encoded(query):
    return urlencode({key: value.encode("utf-8", "surrogatepass") for key, value in query.items()})
