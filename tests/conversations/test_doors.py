"""Each door that changes something is asked the same questions: the owner, a stranger, nobody, no such id, another method.

Bad input is each door's own: test_actions.
"""

import pytest
from django.urls import reverse

from apps.conversations.models import Conversation, Generation, Message
from tests.factories import make_conversation, make_path

HTMX = {"HX-Request": "true"}
# Doors of a conversation and of a message, each with a body that an owner's form would carry.
CONVERSATION_DOORS = {
    "send": {"content": "More."},
    "stop": {},
    "rename": {"title": "New"},
    "pin": {"pinned": "1"},
    "archive": {},
    "unarchive": {},
    "delete": {},
    "restore": {},
    "model": {"model": "demo/bough"},
    "seen": {},
}
MESSAGE_DOORS = {
    "message_regenerate": {},
    "message_edit": {"content": "Changed.", "mode": "branch"},
    "message_continue": {},
    "message_select": {},
    "message_delete": {},
    "message_restore": {},
    "message_favourite": {"favourite": "1"},
    "message_fork": {},
}
DOORS = {**CONVERSATION_DOORS, **MESSAGE_DOORS}
# These show a page when they are read: a form, or a question.
ALSO_READ = {"rename", "message_edit", "message_delete"}


@pytest.fixture
def conversation(user):
    return make_conversation(owner=user, title="Trees")


@pytest.fixture
def path(conversation):
    """A question, its answer, a second question, its answer."""
    return make_path(conversation=conversation, length=4)


def address(name, *ids):
    return reverse(f"conversations:{name}", args=[getattr(one, "pk", one) for one in ids])


def door(name, conversation, message):
    return address(name, conversation, message) if name in MESSAGE_DOORS else address(name, conversation)


def html(response):
    return response.content.decode()


def state():
    """Everything that a refused action must leave as it was."""
    return (
        list(Conversation.objects.order_by("pk").values()),
        list(Message.objects.order_by("pk").values()),
        list(Generation.objects.order_by("pk").values("pk", "state")),
    )


# --- the same for every door ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOORS)
def test_an_owner_is_led_on_with_303(signed_in, conversation, path, name):
    response = signed_in.post(door(name, conversation, path[3]), DOORS[name])
    assert response.status_code == 303
    assert response["Location"].startswith("/")


@pytest.mark.parametrize("name", DOORS)
def test_a_stranger_finds_nothing_and_changes_nothing(client, stranger, conversation, path, name):
    client.force_login(stranger)
    before = state()
    assert client.post(door(name, conversation, path[3]), DOORS[name]).status_code == 404
    assert state() == before


@pytest.mark.parametrize("name", DOORS)
def test_signed_out_leads_to_signing_in(client, conversation, path, name):
    before = state()
    response = client.post(door(name, conversation, path[3]), DOORS[name])
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("account_login"))
    assert client.post(door(name, conversation, path[3]), DOORS[name], headers=HTMX).status_code == 401
    assert state() == before


@pytest.mark.parametrize("name", DOORS)
def test_another_method_is_405(signed_in, conversation, path, name):
    before = state()
    assert signed_in.put(door(name, conversation, path[3])).status_code == 405
    if name not in ALSO_READ:
        assert signed_in.get(door(name, conversation, path[3])).status_code == 405
    assert state() == before


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize("pk", ["no-id", "00000000-0000-0000-0000-000000000000"])
def test_an_id_of_nothing_is_404(signed_in, conversation, path, name, pk):
    before = state()
    assert signed_in.post(door(name, pk, path[3]), DOORS[name]).status_code == 404
    if name in MESSAGE_DOORS:
        assert signed_in.post(door(name, conversation, pk), DOORS[name]).status_code == 404
    assert state() == before


@pytest.mark.parametrize("name", sorted(ALSO_READ))
def test_what_shows_a_page_first_changes_nothing_by_it(signed_in, client, stranger, conversation, path, name):
    before = state()
    assert signed_in.get(door(name, conversation, path[3])).status_code == 200
    assert signed_in.get(door(name, conversation, path[3]), headers=HTMX).status_code == 200
    assert state() == before
    client.force_login(stranger)
    assert client.get(door(name, conversation, path[3])).status_code == 404
