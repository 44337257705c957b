"""The API describes itself: openapi.json is complete and right, and the page shows it under a strict CSP."""

import re

import pytest
from django.test import Client

from tests.conversations.api_calls import by_session
from tests.factories import make_conversation, make_path

pytestmark = pytest.mark.django_db


@pytest.fixture
def described():
    return Client().get("/api/openapi.json").json()


def operations(described):
    return [
        (method.upper(), path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_operation_says_what_it_does_takes_and_gives(described):
    listed = operations(described)
    assert len(listed) > 20
    for method, path, operation in listed:
        assert operation["summary"], (method, path)
        assert operation["security"], (method, path)
        assert operation["responses"], (method, path)
        names = set(re.findall(r"{(\w+)}", path))
        assert names == {item["name"] for item in operation["parameters"] if item["in"] == "path"}


def test_operation_ids_are_unique_and_readable(described):
    names = [operation["operationId"] for _, _, operation in operations(described)]
    assert len(set(names)) == len(names)
    assert "message_send" in names


def test_all_names_of_fields_are_camel_case(described):
    fields = {name for schema in described["components"]["schemas"].values() for name in schema.get("properties", {})}
    assert "currentStreamingMessageId" in fields
    assert [name for name in fields if not re.fullmatch(r"[a-z][a-zA-Z]*", name)] == []
    query = {item["name"] for _, path, operation in operations(described) for item in operation["parameters"]}
    assert {"leafId", "generationId"} <= query


def test_errors_are_described_for_every_operation(described):
    for method, path, operation in operations(described):
        assert "4XX" in operation["responses"], (method, path)
    assert described["components"]["schemas"]["Error"]["required"] == ["error", "message"]


def test_answers_have_the_fields_that_are_described(described, user):
    chat = make_conversation(owner=user)
    make_path(conversation=chat, length=2)
    calls = by_session(user)
    schemas = described["components"]["schemas"]
    assert set(calls.get(f"/chats/{chat.pk}").json()) == set(schemas["Chat"]["properties"])
    page = calls.get(f"/chats/{chat.pk}/messages").json()
    assert set(page) == set(schemas["MessagePage"]["properties"])
    assert set(page["messages"][0]) == set(schemas["MessageOut"]["properties"])


def test_streams_are_described_as_event_streams(described):
    sending = described["paths"]["/api/chats/{chat_id}/messages"]["post"]["responses"]
    following = described["paths"]["/api/chats/{chat_id}/stream"]["get"]["responses"]
    for responses in (sending, following):
        assert "text/event-stream" in responses["200"]["content"]


def test_the_page_lists_every_operation_without_any_script(described):
    page = Client().get("/api/docs")
    text = page.content.decode()
    for method, path, _ in operations(described):
        assert f"{method} {path}" in text
    assert "content, parentId?, clientId?" in text
    for forbidden in ("<script", "style=", "http://", "https://", " onclick"):
        assert forbidden not in text
    assert "Set-Cookie" not in page
    assert page["Cache-Control"].startswith("public")


def test_both_are_the_same_for_everybody(user):
    for path in ("/api/openapi.json", "/api/docs"):
        assert by_session(user).client.get(path).content == Client().get(path).content
