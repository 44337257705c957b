"""Forms while the database takes no writes: what was typed comes back, to be sent again."""

import pytest
from django.db import OperationalError, connection
from django.urls import reverse

from tests.conversations.test_actions import HTMX, address, html, state
from tests.factories import make_conversation, make_path
from tests.fault_table import record_fault


@pytest.fixture
def conversation(user):
    return make_conversation(owner=user, title="Trees")


@pytest.fixture
def path(conversation):
    return make_path(conversation=conversation, length=4)


@pytest.fixture
def locked():
    """A database that reads, and writes nothing."""

    def refuse_writing(execute, sql, params, many, context):
        if sql.startswith(("INSERT", "UPDATE", "DELETE")):
            raise OperationalError("database is locked")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse_writing):
        yield


@pytest.mark.fault
@pytest.mark.parametrize("is_new", [True, False])
def test_a_message_that_cannot_be_stored_is_back_in_the_box(signed_in, conversation, path, locked, is_new):
    before = state()
    url = reverse("conversations:send_new") if is_new else address("send", conversation)
    response = signed_in.post(url, {"content": "Kept words"})
    assert (response.status_code, response["Retry-After"]) == (503, "2")
    assert "Kept words</textarea>" in html(response)
    assert 'id="composer"' in html(response)
    response = signed_in.post(url, {"content": "Kept words"}, headers=HTMX)
    assert (response.status_code, response["Retry-After"]) == (503, "2")
    assert state() == before
    record_fault(
        fault="the database takes no writes",
        shape=f"one process, {connection.vendor}",
        reader_saw=f"{response.status_code} with Retry-After {response['Retry-After']}, the words back in the box",
        database_held="{} conversation, {} messages and {} generations, as before".format(*map(len, state())),
    )


def test_an_edit_that_cannot_be_stored_comes_back_to_be_sent_again(signed_in, conversation, path, locked):
    before = state()
    url = address("message_edit", conversation, path[2])
    response = signed_in.post(url, {"content": "Kept words", "mode": "branch"})
    assert response.status_code == 503
    assert "Kept words</textarea>" in html(response)
    assert '<input type="hidden" name="mode" value="branch">' in html(response)
    assert state() == before
