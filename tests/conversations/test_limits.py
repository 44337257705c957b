"""How many answers a user may have: the same through every door, counted from what was really answered."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.conversations.models import Conversation, Generation, Message
from apps.conversations.services import messages
from apps.core.errors import TooManyRequests

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def limits(settings):
    settings.GENERATIONS_PER_USER = 3
    settings.GENERATIONS_WINDOW_SECONDS = 7200
    settings.GENERATIONS_AT_ONCE = 2


def send(user, **fields):
    return messages.send(user=user, conversation_id=None, content="Hello", **fields)


def end_all(**fields):
    Generation.objects.filter(finished_at=None).update(
        **{"state": "completed", "finished_at": timezone.now(), "first_delta_at": timezone.now(), **fields}
    )


def test_answers_at_once_are_limited_and_nothing_is_stored(user):
    send(user)
    send(user)
    before = (Conversation.objects.count(), Message.objects.count())
    with pytest.raises(TooManyRequests) as refused:
        send(user)
    assert refused.value.data["limit"] == 2
    assert refused.value.data["remaining"] == 0
    assert (Conversation.objects.count(), Message.objects.count()) == before


def test_answers_in_a_window_are_limited_and_it_says_until_when(user):
    for _ in range(3):
        send(user)
        end_all()
    with pytest.raises(TooManyRequests) as refused:
        send(user)
    assert refused.value.text == "Limit reached: 3 answers in 2 hours."
    assert 7100 < refused.value.data["reset"] <= 7200


def test_what_left_the_window_counts_no_more(user):
    for _ in range(3):
        send(user)
        end_all()
    Generation.objects.update(queued_at=timezone.now() - timedelta(hours=3))
    assert send(user).answers


def test_a_failed_answer_of_which_nothing_was_seen_is_not_counted(user):
    for _ in range(3):
        send(user)
        end_all(state="failed", first_delta_at=None)
    assert send(user).answers


def test_everybody_has_limits_of_their_own(user, stranger):
    for _ in range(3):
        send(user)
        end_all()
    assert send(stranger).answers


def test_regenerating_and_continuing_count_too(user):
    sent = send(user)
    end_all()
    Message.objects.filter(pk=sent.answers[0].pk).update(text="Some", status="complete")
    where = {"user": user, "conversation_id": sent.conversation.pk, "message_id": sent.answers[0].pk}
    messages.regenerate(**where)
    end_all()
    messages.continue_answer(**where)
    end_all()
    for act in (messages.regenerate, messages.continue_answer):
        with pytest.raises(TooManyRequests):
            act(**where)


def test_the_page_and_the_api_say_it_with_retry_after(user, signed_in):
    for _ in range(3):
        send(user)
        end_all()
    page = signed_in.post("/send/", {"content": "Kept text"}, headers={"hx-request": "true"})
    chat = signed_in.post("/api/chats", {}, content_type="application/json").json()["id"]
    api = signed_in.post(f"/api/chats/{chat}/messages", {"content": "Hi"}, content_type="application/json")
    assert (page.status_code, api.status_code) == (429, 429)
    assert int(api.headers["Retry-After"]) > 7000
    assert api.json()["error"] == "rate_limited"
    assert {"limit", "remaining", "reset"} <= set(api.json())
