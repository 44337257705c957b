"""Trying an answer again in its own place: where nothing of it came, and while others to the same message are written."""

import pytest
from django.urls import reverse

from apps.conversations.models import Conversation, Generation, GenerationState, Message, MessageStatus
from apps.conversations.services import branches, conversations, leases, messages, retrying
from apps.conversations.services.generations import Ending, Lease
from apps.core import errors
from tests.conversations.answers import end_all
from tests.factories import make_conversation, make_message, make_path, reload

pytestmark = pytest.mark.django_db


@pytest.fixture
def conversation(user):
    return make_conversation(owner=user, title="Trees")


@pytest.fixture
def failed(conversation):
    """An answer that was refused before its first word."""
    question = make_message(conversation=conversation, text="Why?")
    return make_message(
        conversation=conversation,
        parent=question,
        parts=[],
        text="",
        status=MessageStatus.FAILED,
        error_code="key_refused",
        error_message="The key was refused.",
        provider="demo",
        model_id="bough",
    )


def retry(message):
    return retrying.retry(user=message.owner, conversation_id=message.conversation_id, message_id=message.pk)


def state():
    return (
        list(Conversation.objects.order_by("pk").values()),
        list(Message.objects.order_by("pk").values()),
        list(Generation.objects.order_by("pk").values("pk", "state")),
    )


def fail(generation):
    """End an answer as a runner does that hears nothing from the provider."""
    lease = Lease(generation.pk, "test:1:a", generation.attempt)
    ids = (generation.message_id, generation.conversation_id)
    leases.finish(Ending(lease, *ids, "failed", [], error_code="overloaded", error_message="Too busy."))


def test_the_same_message_is_written_by_the_same_model(failed):
    sent = retry(failed)
    assert sent.answers == [failed]
    assert sent.generations[0].request["model"] == "demo/bough"
    again = reload(failed)
    assert (again.status, again.error_code, again.error_message) == (MessageStatus.STREAMING, "", "")
    end_all("Because.")
    assert reload(failed).text == "Because."
    assert Message.objects.count() == 2


def test_it_goes_on_beside_others_that_are_written(user, conversation):
    sent = messages.send(user=user, conversation_id=conversation.pk, content="Why?", models=["demo/bough"] * 3)
    fail(leases.claim(owner="test:1:a", limit=1)[0])
    first = reload(sent.answers[0])
    assert first.status == MessageStatus.FAILED
    retry(first)
    active = Generation.objects.active().order_by("rank")
    assert [one.message_id for one in active] == [answer.pk for answer in sent.answers]
    assert reload(conversation).active_leaf_id == first.pk
    with pytest.raises(errors.GenerationInProgress):
        messages.send(user=user, conversation_id=conversation.pk, content="More")


def test_the_others_keep_their_ranks(user, conversation):
    sent = messages.send(user=user, conversation_id=conversation.pk, content="Why?", models=["demo/bough"] * 3)
    running = leases.claim(owner="test:1:a", limit=3)
    fail(running[1])
    fail(running[2])
    for answer in (sent.answers[2], sent.answers[1]):
        retry(answer)
    assert sorted(Generation.objects.active().values_list("rank", flat=True)) == [0, 1, 2]


def test_it_waits_for_an_answer_to_another_message(user, conversation, failed):
    messages.send(user=user, conversation_id=conversation.pk, content="More")
    before = state()
    with pytest.raises(errors.GenerationInProgress):
        retry(failed)
    assert state() == before


def test_an_answer_is_not_begun_twice(failed):
    retry(failed)
    before = state()
    with pytest.raises(errors.GenerationInProgress):
        retry(failed)
    assert state() == before


def test_what_has_words_is_kept(conversation):
    question, answer = make_path(conversation=conversation, length=2)
    before = state()
    with pytest.raises(errors.Conflict):
        retry(answer)
    with pytest.raises(errors.NotPossible):
        retry(question)
    assert state() == before


def test_an_archived_a_deleted_and_a_strangers_answer_are_refused(user, stranger, conversation, failed):
    ids = {"conversation_id": conversation.pk, "message_id": failed.pk}
    with pytest.raises(errors.NotFound):
        retrying.retry(user=stranger, **ids)
    conversations.set_status(user=user, conversation_id=conversation.pk, status="archived")
    with pytest.raises(errors.ConversationArchived):
        retry(failed)
    conversations.set_status(user=user, conversation_id=conversation.pk, status="active")
    branches.delete_message(user=user, **ids)
    with pytest.raises(errors.NotFound):
        retry(failed)
    assert not Generation.objects.exists()


def test_the_limits_hold_here_too(settings, user, conversation, failed):
    settings.GENERATIONS_AT_ONCE = 1
    other = make_conversation(owner=user)
    messages.send(user=user, conversation_id=other.pk, content="Why?")
    before = state()
    with pytest.raises(errors.TooManyRequests):
        retry(failed)
    assert state() == before


def test_the_page_offers_it_only_where_nothing_came(signed_in, conversation, failed):
    url = reverse("conversations:message_retry", args=[conversation.pk, failed.pk])
    page = reverse("conversations:detail", args=[conversation.pk])
    assert f'formaction="{url}"' in signed_in.get(page).content.decode()
    response = signed_in.post(url, headers={"HX-Request": "true"})
    assert f'id="m-{failed.pk}"' in response.content.decode()
    assert "data-live" in response.content.decode()
    Generation.objects.update(state=GenerationState.COMPLETED, finished_at=failed.created_at)
    Message.objects.filter(pk=failed.pk).update(status="failed", parts=[{"type": "text", "text": "Be"}], text="Be")
    assert f'formaction="{url}"' not in signed_in.get(page).content.decode()


def test_without_a_script_it_leads_back_to_the_answer(signed_in, conversation, failed):
    url = reverse("conversations:message_retry", args=[conversation.pk, failed.pk])
    assert signed_in.get(url).status_code == 405
    assert signed_in.post(url)["Location"].endswith(f"#m-{failed.pk}")
    assert signed_in.post(url).status_code == 409
