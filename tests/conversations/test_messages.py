"""Sending, regenerating, editing, continuing: what is stored, what is refused, and that refusal changes nothing."""

import pytest
from django.db import connection
from django.utils import timezone

from apps.conversations.models import Conversation, Generation, Message, MessageRevision, MessageStatus, Role
from apps.conversations.services import branches, generations, messages
from apps.core import errors
from apps.models.services import catalogue
from apps.providers import registry
from apps.providers.demo import DemoChat
from apps.providers.scripted import ScriptedChat
from tests.conversations.answers import end_all
from tests.factories import make_conversation

pytestmark = pytest.mark.django_db


def rows():
    return (Conversation.objects.count(), Message.objects.count(), Generation.objects.count())


@pytest.fixture
def sent(user):
    sent = messages.send(user=user, conversation_id=None, content="Hello there", client_id="one")
    end_all()
    return sent


def test_sending_without_a_conversation_makes_one_and_stands_on_the_answer(user):
    sent = messages.send(user=user, conversation_id=None, content="Hello there")
    conversation = Conversation.objects.get()
    assert conversation.title == "Hello there"
    assert conversation.active_leaf == sent.answers[0]
    assert [m.role for m in Message.objects.order_by("depth")] == [Role.USER, Role.ASSISTANT]
    assert sent.answers[0].status == MessageStatus.STREAMING
    assert sent.generations[0].request["model"] == "scripted/model"


def test_the_same_client_id_gives_the_first_result(user, sent):
    again = messages.send(user=user, conversation_id=None, content="Hello there", client_id="one")
    assert again.replayed
    assert again.user_message == sent.user_message
    assert again.answers == sent.answers
    assert Message.objects.count() == 2


def test_a_client_id_with_other_content_is_refused(user, sent):
    before = rows()
    with pytest.raises(errors.ClientIdReused):
        messages.send(user=user, conversation_id=sent.conversation.pk, content="Other", client_id="one")
    assert rows() == before


def test_a_second_send_while_an_answer_is_written_is_refused(user):
    sent = messages.send(user=user, conversation_id=None, content="One")
    before = rows()
    with pytest.raises(errors.GenerationInProgress):
        messages.send(user=user, conversation_id=sent.conversation.pk, content="Two")
    assert rows() == before


def test_an_older_parent_makes_a_branch(user, sent):
    second = messages.send(user=user, conversation_id=sent.conversation.pk, content="Two")
    end_all()
    third = messages.send(
        user=user, conversation_id=sent.conversation.pk, content="Two again", parent_id=str(sent.answers[0].pk)
    )
    assert not second.branched
    assert third.branched
    assert third.user_message.parent == second.user_message.parent
    assert third.user_message.run_id != second.user_message.run_id
    assert Conversation.objects.get().active_leaf == third.answers[0]


def test_a_parent_from_elsewhere_is_an_invalid_leaf(user, sent):
    other = messages.send(user=user, conversation_id=None, content="Elsewhere")
    before = rows()
    with pytest.raises(errors.InvalidLeaf) as refused:
        messages.send(
            user=user, conversation_id=sent.conversation.pk, content="x", parent_id=str(other.user_message.pk)
        )
    assert refused.value.data["leafId"] == str(sent.answers[0].pk)
    assert rows() == before


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", errors.EmptyMessage),
        (" \n\t", errors.EmptyMessage),
        ("x" * 50_001, errors.TooLarge),
        ("a\x00b", errors.InvalidField),
        ("a\ud800b", errors.InvalidField),
        (7, errors.InvalidField),
    ],
)
def test_text_that_cannot_be_a_message_is_refused_and_nothing_is_stored(user, content, error):
    with pytest.raises(error):
        messages.send(user=user, conversation_id=None, content=content)
    assert rows() == (0, 0, 0)


def test_fifty_thousand_characters_are_stored_whole(user):
    sent = messages.send(user=user, conversation_id=None, content="x" * 50_000)
    assert len(Message.objects.get(pk=sent.user_message.pk).text) == 50_000


def test_an_unknown_model_is_refused(user):
    with pytest.raises(errors.UnknownModel):
        messages.send(user=user, conversation_id=None, content="Hi", model="nobody/nothing")
    assert rows() == (0, 0, 0)


@pytest.mark.parametrize("model", ["silent", "silent/", f"silent/{'y' * 201}"])
def test_a_name_that_no_answer_could_keep_is_no_model(user, model):
    with registry.installed(ScriptedChat(["Hm"], slug="silent", models=["y" * 201]), DemoChat()):
        catalogue.forget()
        with pytest.raises(errors.UnknownModel):
            messages.send(user=user, conversation_id=None, content="Hi", model=model)
        assert rows() == (0, 0, 0)
        conversation = make_conversation(owner=user, settings={"model": model})
        sent = messages.send(user=user, conversation_id=conversation.pk, content="Hi")
        assert sent.generations[0].request["model"] == "demo/bough"


def test_a_stranger_finds_no_conversation(user, stranger, sent):
    before = rows()
    for act in (
        lambda: messages.send(user=stranger, conversation_id=sent.conversation.pk, content="x"),
        lambda: messages.regenerate(user=stranger, conversation_id=sent.conversation.pk, message_id=sent.answers[0].pk),
        lambda: messages.edit(
            user=stranger, conversation_id=sent.conversation.pk, message_id=sent.user_message.pk, content="x"
        ),
        lambda: messages.continue_answer(
            user=stranger, conversation_id=sent.conversation.pk, message_id=sent.answers[0].pk
        ),
        lambda: generations.stop(user=stranger, conversation_id=sent.conversation.pk),
        lambda: generations.active_answers(user=stranger, conversation_id=sent.conversation.pk),
    ):
        with pytest.raises(errors.NotFound):
            act()
    assert rows() == before


def test_regenerating_makes_a_sibling_and_keeps_the_old_answer(user, sent):
    again = messages.regenerate(
        user=user, conversation_id=sent.conversation.pk, message_id=sent.answers[0].pk, model="demo/bough"
    )
    answers = Message.objects.filter(parent=sent.user_message).order_by("created_at", "id")
    assert list(answers) == [sent.answers[0], again.answers[0]]
    assert again.answers[0].provider == "demo"
    assert Message.objects.get(pk=sent.answers[0].pk).text == "An answer."


def test_a_users_message_cannot_be_regenerated(user, sent):
    with pytest.raises(errors.NotPossible):
        messages.regenerate(user=user, conversation_id=sent.conversation.pk, message_id=sent.user_message.pk)


def test_editing_a_users_message_as_a_branch_makes_a_sibling_and_answers_it(user, sent):
    edited = messages.edit(
        user=user, conversation_id=sent.conversation.pk, message_id=sent.user_message.pk, content="Hello again"
    )
    assert edited.user_message.parent is None
    assert edited.generations[0].message.parent == edited.user_message
    assert Message.objects.get(pk=sent.user_message.pk).text == "Hello there"


def test_saving_an_edit_keeps_the_place_and_the_old_text(user, sent):
    saved = messages.edit(
        user=user,
        conversation_id=sent.conversation.pk,
        message_id=sent.user_message.pk,
        content="Hello, corrected",
        mode="save",
    )
    assert saved.pk == sent.user_message.pk
    assert saved.text == "Hello, corrected"
    assert MessageRevision.objects.get().parts == [{"type": "text", "text": "Hello there"}]
    assert Generation.objects.filter(purpose="answer").count() == 1


def test_an_answer_being_written_cannot_be_saved_over(user):
    sent = messages.send(user=user, conversation_id=None, content="One")
    with pytest.raises(errors.GenerationInProgress):
        messages.edit(
            user=user,
            conversation_id=sent.conversation.pk,
            message_id=sent.answers[0].pk,
            content="x",
            mode="save",
        )


def test_editing_an_answer_as_a_branch_asks_no_model(user, sent):
    edited = messages.edit(
        user=user, conversation_id=sent.conversation.pk, message_id=sent.answers[0].pk, content="Better."
    )
    assert edited.generations == []
    assert edited.answers[0].parent == sent.user_message
    assert Conversation.objects.get().active_leaf == edited.answers[0]


def test_continuing_goes_on_in_the_same_message(user, sent):
    continued = messages.continue_answer(user=user, conversation_id=sent.conversation.pk, message_id=sent.answers[0].pk)
    assert continued.answers[0].pk == sent.answers[0].pk
    assert continued.generations[0].request["continuation"] is True
    assert Message.objects.count() == 2


def test_an_archived_conversation_refuses_answers(user, sent):
    Conversation.objects.update(status="archived")
    before = rows()
    for act in (
        lambda: messages.send(user=user, conversation_id=sent.conversation.pk, content="x"),
        lambda: messages.regenerate(user=user, conversation_id=sent.conversation.pk, message_id=sent.answers[0].pk),
        lambda: messages.continue_answer(
            user=user, conversation_id=sent.conversation.pk, message_id=sent.answers[0].pk
        ),
    ):
        with pytest.raises(errors.ConversationArchived):
            act()
    assert rows() == before


def test_stopping_a_queued_answer_ends_it_at_once_and_is_idempotent(user):
    sent = messages.send(user=user, conversation_id=None, content="One")
    first = generations.stop(user=user, conversation_id=sent.conversation.pk)
    assert first == [sent.generations[0].pk]
    assert generations.stop(user=user, conversation_id=sent.conversation.pk) == []
    assert Message.objects.get(pk=sent.answers[0].pk).status == MessageStatus.STOPPED
    assert messages.send(user=user, conversation_id=sent.conversation.pk, content="Two").answers


def test_sending_costs_few_statements_whatever_the_length(user, sent, django_assert_max_num_queries):
    for number in range(5):
        messages.send(user=user, conversation_id=sent.conversation.pk, content=f"More {number}")
        end_all()
    # Two of them are savepoints. Two more on PostgreSQL, whose rows are locked one by one.
    with django_assert_max_num_queries(13 if connection.vendor == "postgresql" else 11):
        messages.send(user=user, conversation_id=sent.conversation.pk, content="Last", client_id="last")


def test_places_are_remembered_through_every_door(user, sent):
    """Stand on the older of two answers below; leave by each door; come back to the same place."""
    where = {"user": user, "conversation_id": sent.conversation.pk}
    second = messages.send(**where, content="Deeper")
    end_all()
    older = second.answers[0]
    messages.regenerate(**where, message_id=older.pk)
    end_all()
    answer = sent.answers[0]
    doors = [
        (sent.user_message, lambda: messages.edit(**where, message_id=sent.user_message.pk, content="Edited")),
        (answer, lambda: messages.regenerate(**where, message_id=answer.pk)),
        (answer, lambda: messages.edit(**where, message_id=answer.pk, content="By hand")),
        (second.user_message, lambda: messages.send(**where, content="Aside", parent_id=answer.pk)),
    ]
    for left, leave in doors:
        branches.select(**where, message_id=older.pk)
        leave()
        end_all()
        assert branches.select(**where, message_id=left.pk).pk == older.pk


def test_a_replay_of_what_was_deleted_is_not_found(user, sent):
    Conversation.objects.update(deleted_at=timezone.now())
    with pytest.raises(errors.NotFound):
        messages.send(user=user, conversation_id=None, content="Hello there", client_id="one")


def test_a_replay_after_an_edit_in_place_is_still_the_first_result(user, sent):
    where = {"user": user, "conversation_id": sent.conversation.pk}
    messages.edit(**where, message_id=sent.user_message.pk, content="Mended", mode="save")
    again = messages.send(user=user, conversation_id=None, content="Hello there", client_id="one")
    assert again.replayed


def test_a_new_conversation_keeps_the_model_it_was_begun_with(user):
    sent = messages.send(user=user, conversation_id=None, content="Hi", model="demo/bough")
    end_all()
    second = messages.send(user=user, conversation_id=sent.conversation.pk, content="More")
    assert second.generations[0].request["model"] == "demo/bough"


def test_fixing_a_word_asks_no_provider(user, sent, settings):
    settings.DEFAULT_MODEL = "gone/away"
    where = {"user": user, "conversation_id": sent.conversation.pk}
    assert messages.edit(**where, message_id=sent.user_message.pk, content="x", mode="save").text == "x"
