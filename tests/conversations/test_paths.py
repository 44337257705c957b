"""Pages of a path, places among siblings, lineages and the map of forks; the cost of each at two sizes."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection

from apps.conversations.models import Message
from apps.conversations.services import branches, bulk, paths
from apps.conversations.services.lineage import Place, Stretch
from apps.core.errors import NotFound
from tests.factories import make_conversation, make_message, make_path, reload

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def conversation(user):
    return make_conversation(owner=user)


def ids(rows):
    return [row.pk for row in rows]


def page(conversation, **options):
    return paths.path_page(conversation=reload(conversation), **options)


# --- pages ------------------------------------------------------------------------------------------------------


def test_an_empty_conversation_has_an_empty_page(conversation):
    assert page(conversation) == paths.PathPage(messages=[], leaf=None)


def test_a_page_shows_only_the_path_to_where_the_owner_stands(conversation):
    first, answer, question, last = make_path(conversation=conversation, length=4)
    other = make_message(conversation=conversation, parent=first, stand=False)
    make_message(conversation=conversation, parent=other, stand=False)
    found = page(conversation)
    assert ids(found.messages) == ids([first, answer, question, last])
    assert found.leaf == last
    assert (found.leaf_changed, found.reason, found.next_cursor) == (False, None, None)


def test_a_path_of_a_thousand_messages_takes_twenty_pages_with_each_message_once(conversation):
    path = make_path(conversation=conversation, length=1000)
    pages, cursor = [], None
    while True:
        found = page(conversation, cursor=cursor)
        pages.append(found)
        cursor = found.next_cursor
        if cursor is None:
            break
    assert [len(found.messages) for found in pages] == [50] * 20
    assert ids(message for found in reversed(pages) for message in found.messages) == ids(path)


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (-5, 1), (1, 1), (7, 7), (50, 50), (51, 50), (10**9, 50)])
def test_a_page_has_between_one_and_fifty_messages(conversation, asked, given):
    make_path(conversation=conversation, length=60)
    assert len(page(conversation, limit=asked).messages) == given


def test_the_page_above_a_first_message_is_empty(conversation):
    first, *_ = make_path(conversation=conversation, length=3)
    found = page(conversation, cursor=str(first.pk))
    assert found.messages == []
    assert found.next_cursor is None


def test_a_leaf_with_descendants_stands_for_the_newest_leaf_below_it(conversation):
    first, answer, *_ = make_path(conversation=conversation, length=4)
    newest = make_message(conversation=conversation, parent=answer, stand=False)
    found = page(conversation, leaf_id=str(first.pk))
    assert found.leaf == newest
    assert found.leaf_changed
    assert found.reason is None
    assert ids(found.messages) == ids([first, answer, newest])


def test_strict_reading_keeps_a_leaf_with_descendants(conversation):
    first, answer, *_ = make_path(conversation=conversation, length=4)
    found = page(conversation, leaf_id=str(answer.pk), strict=True)
    assert ids(found.messages) == ids([first, answer])
    assert (found.leaf, found.leaf_changed) == (answer, False)


@pytest.mark.parametrize("strict", [False, True])
def test_a_leaf_that_is_unknown_foreign_malformed_or_deleted_reads_where_the_owner_stands(
    conversation, user, stranger, strict
):
    first, _answer = make_path(conversation=conversation, length=2)
    deleted = make_message(conversation=conversation, parent=first, stand=False)
    branches.delete_message(user=user, conversation_id=conversation.pk, message_id=deleted.pk)
    foreign = make_message(conversation=make_conversation(owner=stranger))
    elsewhere = make_message(conversation=make_conversation(owner=user))
    expected = page(conversation).leaf
    for bad in (uuid4(), str(uuid4()), foreign.pk, elsewhere.pk, deleted.pk, "no id", "\x00", "x" * 5000):
        found = page(conversation, leaf_id=bad, strict=strict)
        assert (found.leaf, found.leaf_changed, found.reason) == (expected, True, "not_found")


def test_a_cursor_that_does_not_stand_here_is_not_found(conversation, stranger):
    make_path(conversation=conversation, length=2)
    foreign = make_message(conversation=make_conversation(owner=stranger))
    for bad in (uuid4(), foreign.pk, "no id"):
        with pytest.raises(NotFound):
            page(conversation, cursor=bad)


def test_reading_never_moves_the_stored_leaf(conversation):
    first, *_, last = make_path(conversation=conversation, length=6)
    sibling = make_message(conversation=conversation, parent=first, stand=False)
    for options in ({}, {"leaf_id": sibling.pk}, {"leaf_id": uuid4()}, {"cursor": last.pk}):
        page(conversation, **options)
    paths.page_around(conversation=reload(conversation), message_id=sibling.pk)
    assert reload(conversation).active_leaf == last


def test_a_lost_leaf_falls_back_to_the_newest(conversation):
    *_, last = make_path(conversation=conversation, length=3)
    conversation.active_leaf = None
    conversation.save()
    assert page(conversation).leaf == last


def test_a_page_costs_the_same_queries_at_any_depth(conversation, django_assert_num_queries):
    path = make_path(conversation=conversation, length=3)
    with django_assert_num_queries(3):
        paths.path_page(conversation=conversation)
    path += make_path(conversation=conversation, length=300, parent=path[-1])
    with django_assert_num_queries(3):
        paths.path_page(conversation=conversation)
    with django_assert_num_queries(4):
        paths.path_page(conversation=conversation, leaf_id=path[0].pk)
    with django_assert_num_queries(4):
        paths.path_page(conversation=conversation, cursor=path[-1].pk)


# --- deep links -------------------------------------------------------------------------------------------------


def test_a_link_to_a_message_near_the_leaf_opens_the_page_of_the_leaf(conversation):
    path = make_path(conversation=conversation, length=60)
    found = paths.page_around(conversation=conversation, message_id=path[20].pk)
    assert found.leaf == path[-1]
    assert ids(found.messages) == ids(path[10:])
    assert found.newer_cursor is None
    assert not found.leaf_changed


def test_a_link_to_a_message_far_above_opens_around_it_and_goes_on_both_ways(conversation):
    path = make_path(conversation=conversation, length=200)
    found = paths.page_around(conversation=conversation, message_id=path[100].pk)
    assert ids(found.messages) == ids(path[76:126])
    below = found
    seen = list(found.messages)
    while below.newer_cursor:
        below = paths.newer_page(conversation=conversation, leaf_id=found.leaf.pk, cursor=below.newer_cursor)
        seen += below.messages
    assert ids(seen) == ids(path[76:])
    above = page(conversation, cursor=found.next_cursor)
    assert ids(above.messages) == ids(path[26:76])


def test_a_link_into_another_branch_opens_that_branch_where_the_owner_last_stood(conversation):
    first, *_ = make_path(conversation=conversation, length=5)
    other = make_path(conversation=conversation, length=3, parent=first, stand=False)
    found = paths.page_around(conversation=conversation, message_id=other[0].pk)
    assert found.leaf == other[-1]
    assert found.leaf_changed
    assert ids(found.messages) == ids([first, *other])


def test_a_link_to_a_message_that_is_not_here_is_not_found(conversation, stranger):
    path = make_path(conversation=conversation, length=3)
    foreign = make_message(conversation=make_conversation(owner=stranger))
    for bad in (foreign.pk, "no id", uuid4()):
        with pytest.raises(NotFound):
            paths.page_around(conversation=conversation, message_id=bad)
    other = make_message(conversation=conversation, parent=path[0], stand=False)
    with pytest.raises(NotFound):
        paths.newer_page(conversation=conversation, leaf_id=path[-1].pk, cursor=other.pk)


def test_nothing_is_newer_than_the_leaf(conversation):
    *_, last = make_path(conversation=conversation, length=3)
    found = paths.newer_page(conversation=conversation, leaf_id=last.pk, cursor=last.pk)
    assert (found.messages, found.newer_cursor) == ([], None)


# --- siblings ---------------------------------------------------------------------------------------------------


def places(messages):
    paths.attach_siblings(messages)
    return [(m.sibling_index, m.sibling_count, m.previous_sibling_id, m.next_sibling_id) for m in messages]


def test_siblings_are_counted_in_the_order_of_their_times_then_ids(conversation):
    first = make_message(conversation=conversation)
    late = make_message(conversation=conversation, parent=first, now=NOON + timedelta(hours=1))
    same = [make_message(conversation=conversation, parent=first, now=NOON) for _ in range(2)]
    a, b = sorted(same, key=lambda message: message.pk)
    assert places([late, a, b]) == [(3, 3, b.pk, None), (1, 3, None, b.pk), (2, 3, a.pk, late.pk)]


def test_first_messages_are_siblings_of_each_other_and_of_no_other_conversation(conversation, user):
    a, b = make_message(conversation=conversation), make_message(conversation=conversation)
    make_message(conversation=make_conversation(owner=user))
    assert places([a]) == [(1, 2, None, b.pk)]
    assert places([b]) == [(2, 2, a.pk, None)]


def test_deleted_siblings_do_not_count(conversation, user):
    first = make_message(conversation=conversation)
    a, b, c = (make_message(conversation=conversation, parent=first) for _ in range(3))
    branches.delete_message(user=user, conversation_id=conversation.pk, message_id=b.pk)
    assert places([a, c]) == [(1, 2, None, c.pk), (2, 2, a.pk, None)]


def test_a_whole_page_of_siblings_is_one_query(conversation, django_assert_num_queries):
    path = make_path(conversation=conversation, length=50)
    for message in path[::5]:
        make_message(conversation=conversation, parent=message.parent, stand=False)
    with django_assert_num_queries(1):
        paths.attach_siblings(path)
    assert [message.sibling_count for message in path[:6]] == [2, 1, 1, 1, 1, 2]
    with django_assert_num_queries(0):
        paths.attach_siblings([])


def test_a_page_carries_the_places_of_its_messages(conversation):
    first, answer = make_path(conversation=conversation, length=2)
    other = make_message(conversation=conversation, parent=first, stand=False)
    found = page(conversation)
    assert [message.sibling_count for message in found.messages] == [1, 2]
    assert found.messages[1].next_sibling_id == other.pk
    assert found.messages[1] == answer


# --- lineages ---------------------------------------------------------------------------------------------------


@pytest.fixture
def forked(conversation):
    """a0 a1 a2 a3 a4, and from a1: b2 b3 b4, and from b3: c4."""
    a = make_path(conversation=conversation, length=5, text="a")
    b = make_path(conversation=conversation, length=3, parent=a[1], text="b")
    c = make_path(conversation=conversation, length=1, parent=b[1], text="c")
    return a, b, c


def test_a_lineage_is_one_stretch_per_run(forked):
    a, b, c = forked
    assert paths.lineage(a[4]).stretches == (Stretch(a[0].run_id, 0, 4),)
    assert paths.lineage(c[0]).stretches == (
        Stretch(c[0].run_id, 4, 4),
        Stretch(b[0].run_id, 2, 3),
        Stretch(a[0].run_id, 0, 1),
    )


def test_a_lineage_knows_its_ancestors_and_nobody_else(forked):
    a, b, c = forked
    path = paths.lineage(c[0])
    assert [path.contains(message) for message in [*a, *b, *c]] == [
        True,
        True,
        False,
        False,
        False,
        True,
        True,
        False,
        True,
    ]
    assert path.place_at(2) == Place(b[0].run_id, 2)
    assert path.place_at(5) is None


def test_two_paths_share_a_fork_the_shorter_one_or_nothing(conversation, forked):
    a, b, c = forked
    line = paths.lineage
    assert paths.common_fork(line(a[4]), line(c[0])) == Place(a[0].run_id, 1)
    assert paths.common_fork(line(b[2]), line(c[0])) == Place(b[0].run_id, 3)
    assert paths.common_fork(line(a[0]), line(c[0])) == Place(a[0].run_id, 0)
    assert paths.common_fork(line(b[1]), line(c[0])) == Place(b[0].run_id, 3)
    other = make_message(conversation=conversation)
    assert paths.common_fork(line(other), line(c[0])) is None


def test_the_leaf_below_is_the_newest(forked):
    a, b, c = forked
    assert paths.leaf_below(a[0]) == c[0]
    assert paths.leaf_below(a[2]) == a[4]
    assert paths.leaf_below(b[2]) == b[2]


def test_the_leaf_below_is_where_the_owner_last_stood_followed_to_what_was_added(conversation, forked):
    a, b, _ = forked
    Message.objects.filter(pk=a[1].pk).update(last_leaf=b[2])
    assert paths.leaf_below(reload(a[1])) == b[2]
    added = make_message(conversation=conversation, parent=b[2])
    assert paths.leaf_below(reload(a[1])) == added


def test_a_remembered_place_that_is_gone_or_elsewhere_is_forgotten(conversation, user, forked):
    a, b, c = forked
    Message.objects.filter(pk=a[1].pk).update(last_leaf=b[2])
    branches.delete_message(user=user, conversation_id=conversation.pk, message_id=b[2].pk)
    assert paths.leaf_below(reload(a[1])) == c[0]
    Message.objects.filter(pk=a[2].pk).update(last_leaf=c[0])
    assert paths.leaf_below(reload(a[2])) == a[4]


def test_lineages_and_leaves_cost_the_same_queries_at_any_size(user, django_assert_num_queries):
    for messages, forks in ((20, 2), (2000, 200)):
        conversation = bulk.build_conversation(user=user, messages=messages, forks=forks, seed=1)
        leaf, top = conversation.active_leaf, Message.objects.get(conversation=conversation, parent=None)
        with django_assert_num_queries(1):
            assert paths.lineage(leaf).contains(top)
        with django_assert_num_queries(1):
            paths.newest_leaf_below(top)


# --- the map of forks -------------------------------------------------------------------------------------------


def test_the_map_shows_each_place_with_several_children(conversation, forked):
    a, b, c = forked
    top, lower = paths.forks_of(conversation)
    assert (top.parent_id, lower.parent_id) == (a[1].pk, b[1].pk)
    assert [(child.id, child.size, child.active) for child in top.children] == [(a[2].pk, 3, False), (b[0].pk, 4, True)]
    assert [(child.id, child.size, child.active) for child in lower.children] == [
        (b[2].pk, 1, False),
        (c[0].pk, 1, True),
    ]
    assert top.children[0].excerpt == "a 2"


def test_the_map_counts_what_stands(conversation, user, forked):
    a, b, c = forked
    branches.delete_message(user=user, conversation_id=conversation.pk, message_id=c[0].pk)
    branches.delete_message(user=user, conversation_id=conversation.pk, message_id=a[3].pk)
    (fork,) = paths.forks_of(reload(conversation))
    assert [(child.id, child.size) for child in fork.children] == [(a[2].pk, 1), (b[0].pk, 3)]


def test_the_map_has_first_messages_as_a_fork_without_parent(conversation):
    a = make_path(conversation=conversation, length=2)
    b = make_path(conversation=conversation, length=3)
    (fork,) = paths.forks_of(conversation)
    assert fork.parent_id is None
    assert [(child.id, child.size, child.active) for child in fork.children] == [
        (a[0].pk, 2, False),
        (b[0].pk, 3, True),
    ]


def test_the_map_of_one_path_or_of_nothing_is_empty(conversation):
    assert paths.forks_of(conversation) == []
    make_path(conversation=conversation, length=4)
    assert paths.forks_of(conversation) == []


def test_the_map_costs_the_same_queries_at_any_size(user, django_assert_num_queries):
    for messages, forks in ((20, 2), (500, 100)):
        conversation = bulk.build_conversation(user=user, messages=messages, forks=forks, seed=1)
        with django_assert_num_queries(5):
            found = paths.forks_of(conversation)
        assert sum(len(fork.children) - 1 for fork in found) == forks


@pytest.mark.parametrize("act", ["branch", "delete"])
@pytest.mark.parametrize("moment", range(1, 6))
def test_the_map_holds_while_the_tree_changes_between_its_queries(conversation, user, forked, act, moment):
    a, b, _ = forked
    seen = 0

    def change(execute, sql, params, many, context):
        nonlocal seen
        seen += 1
        if seen == moment and act == "branch":
            make_message(conversation=conversation, parent=a[1])
        elif seen == moment:
            branches.delete_message(user=user, conversation_id=conversation.pk, message_id=b[0].pk)
        return execute(sql, params, many, context)

    conversation = reload(conversation)
    with connection.execute_wrapper(change):
        found = paths.forks_of(conversation)
    assert seen >= moment
    assert all(child.size >= 1 for fork in found for child in fork.children)
