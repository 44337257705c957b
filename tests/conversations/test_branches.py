"""Choosing a branch, deleting a subtree and undoing it: where the owner stands afterwards, and what is counted."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from apps.conversations.models import GenerationState, Message, Run
from apps.conversations.services import branches, leases, live, messages
from apps.core.db import in_db
from apps.core.errors import Conflict, NotFound
from apps.core.ids import first_id_at
from tests.factories import make_conversation, make_message, make_path, make_user, reload, standing_ids

pytestmark = pytest.mark.django_db


@pytest.fixture
def conversation(user):
    return make_conversation(owner=user)


@pytest.fixture
def act(user, conversation):
    """Call a service of branches on a message of the conversation."""

    def call(function, message):
        return function(user=user, conversation_id=str(conversation.pk), message_id=str(message.pk))

    return call


@pytest.fixture
def forked(conversation):
    """a0 a1 a2 a3 a4, from a1: b2 b3 b4, from b3: c4; the owner stands on c4."""
    a = make_path(conversation=conversation, length=5, text="a")
    b = make_path(conversation=conversation, length=3, parent=a[1], text="b")
    c = make_path(conversation=conversation, length=1, parent=b[1], text="c")
    return a, b, c


def leaf_of(conversation):
    return reload(conversation).active_leaf


# --- choosing ---------------------------------------------------------------------------------------------------


def test_choosing_a_sibling_lands_on_the_newest_leaf_below_and_stores_it(conversation, act, forked):
    a, _b, _c = forked
    assert act(branches.select, a[2]) == a[4]
    assert leaf_of(conversation) == a[4]


def test_choosing_and_coming_back_returns_to_where_one_stood(conversation, act, forked):
    a, b, c = forked
    act(branches.select, b[2])
    assert leaf_of(conversation) == b[2]
    act(branches.select, a[2])
    assert act(branches.select, b[0]) == b[2]
    assert act(branches.select, c[0]) == c[0]


def test_a_remembered_place_is_followed_to_what_was_added_below_it(conversation, act, forked):
    a, b, _c = forked
    act(branches.select, b[2])
    act(branches.select, a[2])
    added = make_message(conversation=conversation, parent=b[2], stand=False)
    assert act(branches.select, b[0]) == added


def test_choosing_a_message_of_the_current_path_stays_where_one_is(conversation, act, forked):
    a, b, c = forked
    for message in (a[0], a[1], b[0], b[1], c[0]):
        assert act(branches.select, message) == c[0]
    assert Message.objects.filter(last_leaf__isnull=False).count() == 0


def test_choosing_another_first_message_remembers_the_place_below_the_one_left(conversation, act):
    first = make_path(conversation=conversation, length=3)
    side = make_message(conversation=conversation, parent=first[0], stand=False)
    second = make_path(conversation=conversation, length=2)
    assert act(branches.select, first[1]) == first[2]
    assert act(branches.select, second[0]) == second[1]
    assert act(branches.select, first[0]) == first[2]
    assert act(branches.select, side) == side


def test_choosing_does_not_reorder_the_list(conversation, act, forked):
    before = reload(conversation).updated_at
    act(branches.select, forked[0][2])
    assert reload(conversation).updated_at == before


@pytest.mark.parametrize("function", [branches.select, branches.delete_message, branches.restore_message])
def test_foreign_unknown_and_malformed_ids_are_not_found(function, conversation, user, stranger):
    message = make_message(conversation=conversation)
    elsewhere = make_message(conversation=make_conversation(owner=user))
    for who, where, what in (
        (stranger, conversation.pk, message.pk),
        (user, conversation.pk, elsewhere.pk),
        (user, elsewhere.conversation_id, message.pk),
        (user, conversation.pk, uuid4()),
        (user, uuid4(), message.pk),
        (user, "no id", message.pk),
        (user, conversation.pk, "no id"),
        (user, conversation.pk, "\x00"),
    ):
        with pytest.raises(NotFound):
            function(user=who, conversation_id=where, message_id=what)
    assert standing_ids(conversation) == {message.pk}
    assert leaf_of(conversation) == message


@pytest.mark.parametrize("function", [branches.select, branches.delete_message])
def test_a_deleted_message_can_not_be_chosen_or_deleted_again(function, act, forked):
    a, _, _ = forked
    act(branches.delete_message, a[2])
    for message in a[2:]:
        with pytest.raises(NotFound):
            act(function, message)


@pytest.mark.parametrize("function", [branches.select, branches.delete_message, branches.restore_message])
def test_nothing_works_inside_a_deleted_conversation(function, conversation, act, forked):
    conversation.deleted_at = conversation.created_at
    conversation.save()
    with pytest.raises(NotFound):
        act(function, forked[0][2])


def test_choosing_costs_the_same_queries_at_any_depth(conversation, user, act, django_assert_max_num_queries):
    for length in (3, 300):
        path = make_path(conversation=conversation, length=length)
        other = make_message(conversation=conversation, parent=path[0], stand=False)
        with django_assert_max_num_queries(12):
            act(branches.select, other)
        with django_assert_max_num_queries(12):
            act(branches.select, path[1])


# --- deleting ---------------------------------------------------------------------------------------------------


def test_deleting_takes_the_message_and_everything_below_and_counts_it(conversation, act, forked):
    a, b, c = forked
    deleted = act(branches.delete_message, b[0])
    assert deleted.count == 4
    assert standing_ids(conversation) == {message.pk for message in a}
    assert {message.deletion for message in Message.objects.filter(pk__in=[m.pk for m in (*b, *c)])} == {
        deleted.deletion
    }


def test_deleting_moves_the_leaf_to_the_newest_standing_siblings_leaf(conversation, act, forked):
    a, b, _c = forked
    assert act(branches.delete_message, b[0]).leaf == a[4]
    assert leaf_of(conversation) == a[4]


def test_deleting_the_last_sibling_moves_the_leaf_to_the_parent(conversation, act, forked):
    a, b, _c = forked
    act(branches.delete_message, b[0])
    assert act(branches.delete_message, a[2]).leaf == a[1]
    assert leaf_of(conversation) == a[1]


def test_deleting_beside_the_path_leaves_the_leaf_alone(conversation, act, forked):
    a, _b, c = forked
    assert act(branches.delete_message, a[3]).leaf == c[0]
    assert leaf_of(conversation) == c[0]


def test_deleting_the_only_first_message_empties_the_conversation(conversation, act, forked):
    a, _, _ = forked
    deleted = act(branches.delete_message, a[0])
    assert (deleted.count, deleted.leaf) == (9, None)
    assert leaf_of(conversation) is None
    assert act(branches.restore_message, a[0]).leaf == forked[2][0]


def test_what_was_deleted_before_is_not_counted_again(act, forked):
    _a, b, c = forked
    assert act(branches.delete_message, c[0]).count == 1
    assert act(branches.delete_message, b[0]).count == 3


def test_a_new_message_after_a_deleted_one_starts_a_run_of_its_own(conversation, act, forked):
    a, _, _ = forked
    act(branches.delete_message, a[3])
    added = make_message(conversation=reload(conversation), parent=a[2])
    assert added.run_id != a[2].run_id
    assert (added.run.parent_id, added.run.parent_depth) == (a[2].run_id, 2)
    assert act(branches.delete_message, a[2]).count == 2


def test_deleting_one_subtree_is_one_update_however_many_runs(conversation, user, act, django_assert_max_num_queries):
    first = make_message(conversation=conversation)
    for _ in range(30):
        make_path(conversation=conversation, length=2, parent=first)
    assert Run.objects.filter(conversation=conversation).count() == 30
    with django_assert_max_num_queries(16):
        assert act(branches.delete_message, first).count == 61


def test_deleting_is_a_change_of_the_conversation(conversation, act, forked):
    before = reload(conversation).updated_at
    act(branches.delete_message, forked[2][0])
    assert reload(conversation).updated_at > before


def test_deleting_stops_the_answer_that_is_written_inside(user):
    sent = messages.send(user=user, conversation_id=None, content="Hello")
    deleted = branches.delete_message(user=user, conversation_id=sent.conversation.pk, message_id=sent.user_message.pk)
    assert (deleted.count, deleted.leaf) == (2, None)
    assert reload(sent.generations[0]).state == GenerationState.STOPPED


def test_deleting_asks_a_running_answer_inside_to_stop_and_leaves_one_outside_alone(user):
    sent = messages.send(user=user, conversation_id=None, content="Hello")
    (running,) = leases.claim(owner="test:1:a", limit=1)
    conversation = reload(sent.conversation)
    other = make_message(conversation=conversation, parent=sent.user_message, stand=False)
    branches.delete_message(user=user, conversation_id=conversation.pk, message_id=other.pk)
    assert reload(running).stop_requested_at is None
    branches.delete_message(user=user, conversation_id=conversation.pk, message_id=sent.answers[0].pk)
    assert reload(running).stop_requested_at is not None
    assert reload(running).state == GenerationState.RUNNING


# --- undoing ----------------------------------------------------------------------------------------------------


def test_undoing_brings_back_the_same_rows_and_the_leaf(conversation, act, forked):
    _a, b, c = forked
    before = standing_ids(conversation)
    act(branches.delete_message, b[0])
    restored = act(branches.restore_message, b[0])
    assert (restored.count, restored.leaf) == (4, c[0])
    assert standing_ids(conversation) == before
    assert leaf_of(conversation) == c[0]


def test_undoing_through_any_message_of_the_act_undoes_the_whole_act(conversation, act, forked):
    _a, b, c = forked
    act(branches.delete_message, b[0])
    assert act(branches.restore_message, c[0]).count == 4
    assert leaf_of(conversation) == c[0]


def test_undoing_leaves_what_was_deleted_inside_before(conversation, act, forked):
    a, b, c = forked
    act(branches.delete_message, c[0])
    act(branches.delete_message, b[0])
    assert act(branches.restore_message, b[0]).count == 3
    assert c[0].pk not in standing_ids(conversation)
    assert act(branches.restore_message, c[0]).count == 1
    assert len(standing_ids(conversation)) == len([*a, *b, *c])


def test_undoing_beside_the_path_leaves_the_leaf_alone(conversation, act, forked):
    a, b, c = forked
    act(branches.select, a[3])
    act(branches.select, b[0])
    act(branches.delete_message, a[2])
    assert act(branches.restore_message, a[2]).leaf == c[0]
    assert act(branches.select, a[2]) == a[4]


def test_the_leaf_goes_back_even_if_the_owner_moved_on(conversation, act, forked):
    _a, b, c = forked
    act(branches.delete_message, b[0])
    later = make_message(conversation=reload(conversation), parent=leaf_of(conversation))
    assert act(branches.restore_message, b[0]).leaf == c[0]
    assert act(branches.select, later) == later


def test_deleting_beside_the_path_after_an_undo_does_not_move_the_leaf_later(conversation, act, forked):
    a, b, c = forked
    act(branches.delete_message, b[0])
    act(branches.restore_message, b[0])
    act(branches.select, a[2])
    act(branches.delete_message, b[0])
    assert act(branches.restore_message, b[0]).leaf == a[4]
    assert act(branches.select, b[0]) == c[0]


def test_a_message_below_a_deleted_one_waits_for_it(conversation, act, forked):
    _a, b, c = forked
    act(branches.delete_message, c[0])
    act(branches.delete_message, b[0])
    with pytest.raises(Conflict):
        act(branches.restore_message, c[0])
    assert c[0].pk not in standing_ids(conversation)


def test_undoing_where_nothing_stands_any_more_gives_the_owner_a_place(conversation, act, forked):
    """The leaf was elsewhere when it was deleted, so nothing was noted; the conversation must not stay without one."""
    first = make_path(conversation=conversation, length=3)
    make_path(conversation=conversation, length=2, parent=first[0], stand=False)
    act(branches.select, forked[2][0])
    act(branches.delete_message, first[0])
    act(branches.delete_message, forked[0][0])
    assert leaf_of(conversation) is None
    restored = act(branches.restore_message, first[1])
    assert restored.leaf == leaf_of(conversation) == Message.objects.filter(conversation=conversation).latest("id")


def test_what_was_deleted_a_month_ago_is_gone(conversation, act, forked):
    act(branches.delete_message, forked[2][0])
    deletion = first_id_at(timezone.now() - timedelta(days=30, minutes=1))
    Message.objects.filter(deletion__isnull=False).update(deletion=deletion)
    with pytest.raises(NotFound):
        act(branches.restore_message, forked[2][0])
    assert reload(forked[2][0]).deletion == deletion


def test_undoing_twice_changes_nothing(conversation, act, forked):
    _a, b, c = forked
    act(branches.delete_message, b[0])
    act(branches.restore_message, b[0])
    restored = act(branches.restore_message, b[0])
    assert (restored.count, restored.leaf) == (0, c[0])


@pytest.mark.django_db(transaction=True)
async def test_other_tabs_hear_of_a_deletion(bus):
    user = await in_db(make_user)
    conversation = await in_db(make_conversation, owner=user)
    message = await in_db(make_message, conversation=conversation)
    async with await bus.subscribe(live.user_topic(user.pk)) as heard:
        await in_db(branches.delete_message, user=user, conversation_id=conversation.pk, message_id=message.pk)
        events = await heard.take(within=5)
        while len(events) < 2:
            events += await heard.take(within=5)
    assert [event["type"] for _, event in events] == ["messages", "conversation"]
    assert events[0][1]["leaf"] is None
