"""Several models answering one message: one batch, one lock, siblings in the order in which the models were named."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.conversations.models import Conversation, Generation, Message, MessageRevision
from apps.conversations.services import (
    access,
    batches,
    branches,
    forks,
    generations,
    invariants,
    leases,
    messages,
    paths,
    reading,
)
from apps.core import errors
from tests.factories import make_conversation, make_message, make_path, reload

pytestmark = pytest.mark.django_db
THREE = ["demo/bough", "scripted/model", "demo/bough"]
EIGHT = ["scripted/model", "demo/bough"] * 4
ACTS = pytest.mark.parametrize("act", ["send", "regenerate", "edit"])
OWNER = "test:1:a"


@pytest.fixture
def path(user):
    """A question and its answer."""
    return make_path(conversation=make_conversation(owner=user, title="Trees"), length=2)


@pytest.fixture
def where(user, path):
    return {"user": user, "conversation_id": path[0].conversation_id}


def acts_of(where, path):
    """Every act that several models can answer, as functions of what they are given."""
    question, answer = path
    return {
        "send": lambda **given: messages.send(**where, content="More", **given),
        "regenerate": lambda **given: messages.regenerate(**where, message_id=answer.pk, **given),
        "edit": lambda **given: messages.edit(**where, message_id=question.pk, content="Other words", **given),
    }


@pytest.fixture
def acts(where, path):
    return acts_of(where, path)


@pytest.fixture
def sent(where):
    """A message that three models are about to answer."""
    return messages.send(**where, content="More", models=THREE)


def rows():
    """Everything that a refused act must leave as it was."""
    kinds = (Conversation, Message, MessageRevision, Generation)
    return [list(kind.objects.order_by("pk").values()) for kind in kinds]


def names(answers):
    return [f"{answer.provider}/{answer.model_id}" for answer in answers]


def claim():
    """Take all that is queued, as a runner does."""
    return leases.claim(owner=OWNER, limit=50)


def end(generation, state="completed", text="An answer."):
    """End a claimed answer, as its runner does."""
    lease = generations.Lease(generation.pk, OWNER, reload(generation).attempt)
    parts = [{"type": "text", "text": text}] if text else []
    ids = (generation.message_id, generation.conversation_id)
    assert leases.finish(generations.Ending(lease, *ids, state, parts, "stop")) is not None


def end_all():
    for generation in claim():
        if generation.message_id:
            end(generation)


def states(sent):
    """Give the states of all ranks, and what their messages say."""
    found = [reload(generation) for generation in sent.generations]
    assert invariants.find_problems() == []
    return [generation.state for generation in found]


# --- beginning --------------------------------------------------------------------------------------------------


@ACTS
def test_all_models_answer_beside_each_other_as_one_batch(acts, act):
    sent = acts[act](models=THREE)
    answers, begun = sent.answers, sent.generations
    assert names(answers) == [generation.request["model"] for generation in begun] == THREE
    assert len({answer.parent_id for answer in answers}) == 1
    stored = Message.objects.filter(pk__in=[answer.pk for answer in answers]).siblings_in_order()
    assert list(stored) == answers
    assert {answer.status for answer in stored} == {"streaming"}
    assert [generation.message for generation in begun] == answers
    assert [reload(generation).rank for generation in begun] == [0, 1, 2]
    assert len({generation.batch for generation in begun}) == 1
    assert reload(sent.conversation).active_leaf == answers[0]
    assert invariants.find_problems() == []


def test_a_first_message_answered_by_several_keeps_the_first_of_them(user):
    sent = messages.send(user=user, conversation_id=None, content="Hello", models=THREE)
    assert (len(sent.answers), sent.branched) == (3, False)
    assert reload(sent.conversation).settings == {"model": THREE[0]}


def test_an_answer_that_begins_a_conversation_is_regenerated_by_several(user):
    greeting = make_message(conversation=make_conversation(owner=user), role="assistant", text="Hello.")
    sent = messages.regenerate(
        user=user, conversation_id=greeting.conversation_id, message_id=greeting.pk, models=THREE
    )
    assert [answer.depth for answer in sent.answers] == [0, 0, 0]
    found = batches.on_path(paths.path_page(conversation=sent.conversation).messages)
    assert [batch.members for batch in found.values()] == [sent.answers]
    assert invariants.find_problems() == []


@ACTS
def test_one_model_in_a_list_is_an_answer_as_any_other(acts, act):
    sent = acts[act](models=["demo/bough"])
    assert names(sent.answers) == ["demo/bough"]
    assert batches.on_path(sent.answers) == {}


@ACTS
@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"models": []}, errors.InvalidField, "One to 8 models"),
        ({"models": ["demo/bough"] * 9}, errors.InvalidField, "One to 8 models"),
        ({"model": "demo/bough", "models": ["demo/bough"]}, errors.InvalidField, "not both"),
        ({"models": ["demo/bough", "no/such"]}, errors.UnknownModel, "no/such"),
        ({"models": ["demo/bough", "demo/other"]}, errors.UnknownModel, "demo/other"),
        ({"models": ["demo/bough", ""]}, errors.UnknownModel, "provider/id"),
        ({"models": ["demo/bough", "demo/"]}, errors.UnknownModel, "demo/"),
    ],
)
def test_a_list_that_does_not_fit_is_refused_in_words_and_nothing_is_stored(acts, act, given, error, said):
    before = rows()
    with pytest.raises(error, match=said) as refused:
        acts[act](**given)
    assert refused.value.data["field"] == "models"
    assert rows() == before


@ACTS
def test_a_stranger_finds_nothing_to_have_answered(stranger, where, path, act):
    before = rows()
    with pytest.raises(errors.NotFound):
        acts_of({**where, "user": stranger}, path)[act](models=THREE)
    assert rows() == before


@ACTS
def test_an_archived_conversation_is_answered_by_nobody(acts, act):
    Conversation.objects.update(status="archived")
    before = rows()
    with pytest.raises(errors.ConversationArchived):
        acts[act](models=THREE)
    assert rows() == before


@ACTS
def test_eight_models_cost_as_many_statements_as_two(where, path, act):
    counts = []
    for models in (EIGHT[:2], EIGHT):
        with CaptureQueriesContext(connection) as statements:
            acts_of(where, path)[act](models=models)
        counts.append(len(statements))
        end_all()
    # Two of them are savepoints; editing remembers the place that is left. Two more on PostgreSQL, which locks rows.
    assert counts[0] == counts[1] <= (16 if connection.vendor == "postgresql" else 14)


# --- one batch at a time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [0, 1, 2])
def test_while_any_of_them_writes_nothing_else_is_begun(sent, where, path, acts, last):
    for generation in claim():
        if generation.rank != last:
            end(generation)
    going_on = lambda: messages.continue_answer(**where, message_id=path[1].pk)  # noqa: E731
    before = rows()
    for act in (*acts.values(), going_on):
        with pytest.raises(errors.GenerationInProgress):
            act()
    assert rows() == before
    end(sent.generations[last])
    assert going_on().generations


def plan_of(statement, *values):
    """Give how the database would read; never a whole table, which PostgreSQL prefers where it is small."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {'QUERY PLAN ' if connection.vendor == 'sqlite' else ''}{statement}", values or None)
        return str(cursor.fetchall())


def test_what_is_active_is_found_without_reading_what_ever_was(sent, user):
    key = Conversation._meta.pk.get_db_prep_value(sent.conversation.pk, connection)
    assert "generation_one_active_batch" in plan_of(access.ACTIVE_BATCH, key)
    for read in (
        lambda: generations.active_answers(user=user, conversation_id=sent.conversation.pk),
        lambda: reading.active_in([str(sent.conversation.pk)]),
        lambda: generations.wait_for_stopping(sent.conversation.pk),
    ):
        with CaptureQueriesContext(connection) as statements:
            read()
        # On PostgreSQL another index of what is active serves as well.
        assert "generation_one_active_" in plan_of(statements[0]["sql"])


# --- limits -----------------------------------------------------------------------------------------------------


@ACTS
def test_what_would_be_too_many_at_once_is_refused_as_a_whole(acts, act, settings):
    settings.GENERATIONS_AT_ONCE = 2
    before = rows()
    with pytest.raises(errors.TooManyRequests) as refused:
        acts[act](models=THREE)
    assert refused.value.data == {"limit": 2, "remaining": 2, "reset": 5}
    assert refused.value.text == "3 more would be 3 answers at once; 2 is the limit."
    assert rows() == before
    assert len(acts[act](models=THREE[:2]).answers) == 2


@ACTS
def test_what_would_be_too_many_in_the_window_waits_until_there_is_room_for_all(acts, act, settings, user):
    settings.GENERATIONS_PER_USER = 4
    for minutes in (30, 20, 10):
        messages.send(user=user, conversation_id=None, content="Earlier")
        end_all()
        latest = Generation.objects.answers().latest("queued_at")
        Generation.objects.filter(pk=latest.pk).update(queued_at=timezone.now() - timedelta(minutes=minutes))
    before = rows()
    with pytest.raises(errors.TooManyRequests) as refused:
        acts[act](models=THREE)
    data = refused.value.data
    assert (data["limit"], data["remaining"]) == (4, 1)
    # Two of the three earlier ones must have left the window: the second of them has twenty minutes less to go.
    assert 0 <= settings.GENERATIONS_WINDOW_SECONDS - 20 * 60 - data["reset"] < 60
    assert rows() == before
    assert acts[act](models=THREE[:1]).answers


def test_more_models_than_the_window_ever_has_room_for_are_refused_all_the_same(acts, settings):
    settings.GENERATIONS_PER_USER = 2
    with pytest.raises(errors.TooManyRequests) as refused:
        acts["send"](models=THREE)
    assert refused.value.data["reset"] == settings.GENERATIONS_WINDOW_SECONDS


# --- stopping, ending, deleting ---------------------------------------------------------------------------------


def test_each_of_them_is_stopped_alone_and_all_together(sent, where):
    claim()
    Generation.objects.filter(pk=sent.generations[2].pk).update(state="queued", lease_owner="", lease_until=None)
    alone = generations.stop(**where, generation_id=sent.generations[2].pk)
    assert alone == [sent.generations[2].pk]
    assert states(sent) == ["running", "running", "stopped"]
    assert sorted(generations.stop(**where)) == sorted(generation.pk for generation in sent.generations[:2])
    assert None not in [reload(generation).stop_requested_at for generation in sent.generations]


def test_a_batch_of_which_one_is_stopping_is_not_waited_for(sent, where, acts):
    claim()
    generations.stop(**where, generation_id=sent.generations[0].pk)
    with pytest.raises(errors.GenerationInProgress):
        acts["send"]()


def test_a_batch_that_is_stopping_makes_way_for_the_next_message(sent, where, acts, monkeypatch):
    claim()
    generations.stop(**where)
    monkeypatch.setattr(generations, "STOPPING_SECONDS", 0.05)
    assert acts["send"](models=THREE).answers
    assert states(sent) == ["stopped"] * 3


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_a_title_is_asked_for_once_by_the_first_that_is_complete(user, order):
    sent = messages.send(user=user, conversation_id=None, content="Hello", models=THREE)
    claim()
    titles = Generation.objects.filter(purpose="title")
    end(sent.generations[order[0]], state="failed", text="")
    assert not titles.exists()
    end(sent.generations[order[1]])
    end(sent.generations[order[2]])
    assert titles.get().request == {"answer": str(sent.answers[order[1]].pk)}


def test_a_title_that_is_there_is_not_asked_for_again(user):
    sent = messages.send(user=user, conversation_id=None, content="Hello", models=THREE[:2])
    claim()
    end(sent.generations[1])
    (title,) = claim()
    Conversation.objects.update(title="Greetings", title_source="generated")
    leases.finish_title(generations.Lease(title.pk, OWNER, 1), state="completed")
    end(sent.generations[0])
    assert Generation.objects.filter(purpose="title").count() == 1


def test_of_a_batch_whose_runner_died_each_answer_meets_its_own_fate(where):
    sent = messages.send(**where, content="More", models=EIGHT[:5])
    claim()
    unseen, shown, tried, stopped, alive = (reload(generation) for generation in sent.generations)
    past = timezone.now() - timedelta(hours=1)
    Message.objects.filter(pk=shown.message_id).update(parts=[{"type": "text", "text": "So far"}])
    for generation, fields in (
        (unseen, {}),
        (shown, {"first_delta_at": past}),
        (tried, {"attempt": generations.MAX_ATTEMPTS}),
        (stopped, {"stop_requested_at": past}),
    ):
        Generation.objects.filter(pk=generation.pk).update(lease_until=past, **fields)
    assert generations.sweep() == 4
    assert states(sent) == ["queued", "interrupted", "interrupted", "stopped", "running"]
    assert reload(sent.answers[1]).text == "So far"
    assert [generation.pk for generation in claim()] == [unseen.pk]
    end(unseen)
    end(alive)
    assert states(sent) == ["completed", "interrupted", "interrupted", "stopped", "completed"]


def test_deleting_one_of_them_stops_it_and_leaves_the_others_going(sent, where):
    claim()
    deleted = branches.delete_message(**where, message_id=sent.answers[0].pk)
    assert (deleted.count, deleted.leaf) == (1, sent.answers[2])
    asked = [reload(generation).stop_requested_at is not None for generation in sent.generations]
    assert asked == [True, False, False]
    for generation in sent.generations[1:]:
        end(generation)
    end(sent.generations[0], state="stopped", text="Half")
    assert states(sent) == ["stopped", "completed", "completed"]
    found = batches.on_path(paths.path_page(conversation=reload(sent.conversation)).messages)
    assert [batch.members for batch in found.values()] == [sent.answers[1:]]
    branches.restore_message(**where, message_id=sent.answers[0].pk)
    found = batches.on_path(paths.path_page(conversation=reload(sent.conversation)).messages)
    assert [batch.members for batch in found.values()] == [sent.answers]


def test_deleting_what_they_answer_stops_them_all(sent, where, path):
    claim()
    deleted = branches.delete_message(**where, message_id=sent.user_message.pk)
    assert (deleted.count, deleted.leaf) == (4, path[1])
    assert None not in [reload(generation).stop_requested_at for generation in sent.generations]


# --- sending the same again -------------------------------------------------------------------------------------


@pytest.fixture
def again(where):
    """Send with one client id; what differs is named."""
    return lambda **other: messages.send(**{**where, "content": "More", "client_id": "one", "models": THREE, **other})


@pytest.mark.parametrize("models", [THREE, THREE[::-1], EIGHT, None])
def test_the_same_client_id_gives_the_first_batch_whole_and_in_order(again, models):
    first = again()
    end(claim()[1])
    replayed = again(models=models)
    assert replayed.replayed
    assert (replayed.user_message, replayed.answers) == (first.user_message, first.answers)
    assert replayed.generations == first.generations
    assert Generation.objects.count() == 3


def test_the_first_batch_stays_the_first_whatever_came_of_it(again, where):
    first = again()
    end_all()
    messages.continue_answer(**where, message_id=first.answers[0].pk)
    end_all()
    messages.regenerate(**where, message_id=first.answers[1].pk, models=EIGHT)
    end_all()
    branches.delete_message(**where, message_id=first.answers[2].pk)
    replayed = again()
    assert (replayed.answers, replayed.generations) == (first.answers, first.generations)


def test_a_first_result_of_one_answer_stays_one(again, where):
    first = again(models=["demo/bough"])
    end_all()
    messages.regenerate(**where, message_id=first.answers[0].pk, models=THREE)
    assert again().generations == first.generations


def test_a_client_id_sent_again_with_a_list_that_can_never_fit_is_refused(again):
    again()
    with pytest.raises(errors.InvalidField):
        again(models=[])


# --- what a page shows ------------------------------------------------------------------------------------------


def shown(conversation, leaf=None):
    return paths.path_page(conversation=reload(conversation), leaf_id=leaf).messages


def places(messages):
    """Give the places among siblings."""
    return [(one.sibling_index, one.sibling_count, one.previous_sibling_id, one.next_sibling_id) for one in messages]


@ACTS
def test_a_page_finds_the_batch_of_an_answer_with_all_its_members(acts, act, django_assert_num_queries):
    sent = acts[act](models=THREE)
    page = shown(sent.conversation)
    with django_assert_num_queries(2):
        found = batches.on_path(page)
    batch = found.pop(sent.answers[0].pk)
    assert found == {}
    assert (batch.id, batch.members) == (sent.generations[0].batch, sent.answers)
    assert batch.members[0] is page[-1]
    afresh = list(Message.objects.filter(pk__in=[member.pk for member in batch.members]).siblings_in_order())
    paths.attach_siblings(afresh)
    assert places(batch.members) == places(afresh)


def test_more_batches_cost_no_more_queries(where, django_assert_num_queries):
    for length in (1, 3, 6):
        while (sent := messages.send(**where, content="More", models=THREE)).answers[0].depth < 2 * length + 1:
            end_all()
        page = shown(sent.conversation)
        with django_assert_num_queries(2):
            found = batches.on_path(page)
        assert len(found) == length
        assert {len(batch.members) for batch in found.values()} == {3}
        end_all()


def test_where_nothing_has_siblings_nothing_is_asked(path, django_assert_num_queries):
    page = shown(path[0].conversation)
    with django_assert_num_queries(0):
        assert batches.on_path(page) == {}
        assert batches.on_path([]) == {}


def test_siblings_that_were_made_one_by_one_are_no_batch(path, where, django_assert_num_queries):
    messages.regenerate(**where, message_id=path[1].pk)
    end_all()
    messages.edit(**where, message_id=path[1].pk, content="By hand")
    page = shown(path[0].conversation)
    with django_assert_num_queries(1):
        assert batches.on_path(page) == {}


def test_a_continuation_leaves_its_answer_in_the_batch_that_began_it(sent, where):
    end_all()
    messages.continue_answer(**where, message_id=sent.answers[1].pk)
    end_all()
    found = batches.on_path(shown(sent.conversation, sent.answers[1].pk))
    assert found[sent.answers[1].pk].members == sent.answers


def test_two_batches_below_one_message_are_two(sent, where):
    end_all()
    second = messages.regenerate(**where, message_id=sent.answers[0].pk, models=EIGHT)
    found = batches.on_path([*sent.answers, *second.answers])
    assert [found[answer.pk].members for answer in sent.answers] == [sent.answers] * 3
    assert [found[answer.pk].members for answer in second.answers] == [second.answers] * 8


def test_one_that_is_left_alone_is_no_batch(sent, where):
    end_all()
    for answer in sent.answers[1:]:
        branches.delete_message(**where, message_id=answer.pk)
    assert batches.on_path([reload(sent.answers[0])]) == {}


def test_a_fork_has_one_answer_and_no_batch(sent, where):
    end_all()
    copy = forks.fork(**where, message_id=sent.answers[1].pk)
    assert batches.on_path(shown(copy)) == {}
    assert shown(copy)[-1].text == "An answer."
