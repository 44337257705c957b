"""Conversations as rows: created, listed by keyset, renamed, pinned, archived, deleted with their forks, restored."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from apps.conversations.models import Conversation, ConversationStatus, GenerationState, TitleSource
from apps.conversations.services import conversations, forks, live, messages
from apps.core.db import in_db
from apps.core.errors import HasForks, InvalidField, Malformed, NotFound
from tests.factories import make_conversation, make_path, make_user, reload

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def conversation(user):
    return make_conversation(owner=user, title="Bread")


@pytest.fixture
def family(user, conversation):
    """A root, a fork of it, and a fork of the fork."""
    path = make_path(conversation=conversation, length=4)
    child = forks.fork(user=user, conversation_id=conversation.pk, message_id=path[2].pk)
    grandchild = forks.fork(user=user, conversation_id=child.pk, message_id=child.active_leaf_id)
    return reload(conversation), child, grandchild


def standing(user):
    return set(Conversation.objects.visible_to(user).values_list("pk", flat=True))


# --- creating and finding ---------------------------------------------------------------------------------------


def test_a_new_conversation_is_empty_and_first_in_the_list(user, conversation):
    created = conversations.create(user=user)
    assert (created.title, created.title_source, created.active_leaf) == ("", TitleSource.DEFAULT, None)
    assert created.root_conversation_id == created.pk
    assert created.branch_id is None
    assert conversations.list_page(user=user).items == [created, conversation]


def test_a_given_title_is_the_users(user):
    created = conversations.create(user=user, title="  Old\n bridges ")
    assert (created.title, created.title_source) == ("Old bridges", TitleSource.USER)
    assert conversations.create(user=user, title="   ").title_source == TitleSource.DEFAULT


def test_strangers_unknown_and_malformed_ids_find_nothing(user, stranger, conversation):
    assert conversations.get(user=user, conversation_id=str(conversation.pk)) == conversation
    for who, what in ((stranger, conversation.pk), (user, uuid4()), (user, "no id"), (user, ""), (user, "\x00")):
        for call in (
            lambda who=who, what=what: conversations.get(user=who, conversation_id=what),
            lambda who=who, what=what: conversations.rename(user=who, conversation_id=what, title="Mine"),
            lambda who=who, what=what: conversations.mark_seen(user=who, conversation_id=what),
            lambda who=who, what=what: conversations.delete(user=who, conversation_id=what),
            lambda who=who, what=what: conversations.restore(user=who, conversation_id=what),
        ):
            with pytest.raises(NotFound):
                call()
    assert reload(conversation).title == "Bread"


# --- the list ---------------------------------------------------------------------------------------------------


def make_many(user, number):
    rows = [
        make_conversation(owner=user, title=f"Number {i}", updated_at=NOON + timedelta(minutes=i // 3))
        for i in range(number)
    ]
    return sorted(rows, key=lambda row: (row.updated_at, row.pk), reverse=True)


def walk(user, **options):
    cursor, seen = None, []
    while True:
        page = conversations.list_page(user=user, cursor=cursor, **options)
        seen.append(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return seen


def test_pages_list_every_conversation_once_newest_change_first(user, stranger):
    make_conversation(owner=stranger)
    expected = make_many(user, 45)
    pages = walk(user)
    assert [len(page) for page in pages] == [20, 20, 5]
    assert [row for page in pages for row in page] == expected


def test_no_unchanged_row_is_repeated_or_missed_while_others_change(user):
    expected = make_many(user, 30)
    first = conversations.list_page(user=user, limit=10)
    conversations.rename(user=user, conversation_id=expected[20].pk, title="Moved up")
    conversations.delete(user=user, conversation_id=expected[9].pk)
    conversations.create(user=user)
    second = conversations.list_page(user=user, limit=10, cursor=first.next_cursor)
    third = conversations.list_page(user=user, limit=10, cursor=second.next_cursor)
    assert first.items + second.items + third.items == expected[:20] + expected[21:]
    assert third.next_cursor is None


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (-3, 1), (100, 100), (101, 100), (10**12, 100)])
def test_a_list_page_has_between_one_and_a_hundred_rows(user, asked, given):
    rows = [
        Conversation(owner=user, root_conversation_id=uuid4(), created_at=NOON, updated_at=NOON) for _ in range(105)
    ]
    Conversation.objects.bulk_create(rows)
    assert len(conversations.list_page(user=user, limit=asked).items) == given


def test_archived_pinned_and_deleted_ones_have_their_own_lists(user):
    plain, pinned, archived, deleted = (conversations.create(user=user, title=name) for name in "abcd")
    conversations.set_pinned(user=user, conversation_id=pinned.pk, pinned=True)
    conversations.set_status(user=user, conversation_id=archived.pk, status="archived")
    conversations.delete(user=user, conversation_id=deleted.pk)
    assert conversations.list_page(user=user).items == [pinned, plain]
    assert conversations.list_page(user=user, archived=True).items == [archived]
    assert conversations.list_page(user=user, pinned=True).items == [pinned]
    assert conversations.list_page(user=user, pinned=False).items == [plain]


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "\x00",
        "é",
        "bm9wZQ==",
        "MjAyNi0wMS0wMSBub3Bl",
        "a" * 5000,
        "MjAyNi0wMS0wMSAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMA==",
    ],
)
def test_a_cursor_that_is_not_ours_is_malformed(user, cursor):
    with pytest.raises(Malformed):
        conversations.list_page(user=user, cursor=cursor)


def test_a_list_page_is_one_query_at_any_size(user, django_assert_num_queries):
    for _ in range(2):
        make_many(user, 25)
        with django_assert_num_queries(1):
            conversations.list_page(user=user)


# --- changing ---------------------------------------------------------------------------------------------------


def test_a_new_name_is_the_users_and_moves_the_conversation_up(user, conversation):
    before = conversation.updated_at
    renamed = conversations.rename(user=user, conversation_id=conversation.pk, title=" Rye  bread ")
    assert (renamed.title, renamed.title_source) == ("Rye bread", TitleSource.USER)
    assert reload(conversation).updated_at > before


@pytest.mark.parametrize("title", ["", "   ", "x" * 501, "a\x00b", "a\ud800b", 7])
def test_a_name_that_does_not_fit_changes_nothing(user, conversation, title):
    with pytest.raises(InvalidField):
        conversations.update(user=user, conversation_id=conversation.pk, title=title, pinned=True)
    assert (reload(conversation).title, reload(conversation).is_pinned) == ("Bread", False)
    assert conversations.rename(user=user, conversation_id=conversation.pk, title="x" * 500).title == "x" * 500


def test_pinning_choosing_a_model_and_completing_do_not_reorder_the_list(user, conversation):
    before = reload(conversation).updated_at
    conversations.set_pinned(user=user, conversation_id=conversation.pk, pinned=True)
    conversations.set_model(user=user, conversation_id=conversation.pk, model="demo/demo")
    changed = conversations.set_status(user=user, conversation_id=conversation.pk, status="completed")
    assert (changed.is_pinned, changed.settings, changed.status) == (True, {"model": "demo/demo"}, "completed")
    assert reload(conversation).updated_at == before


def test_settings_are_merged_and_none_takes_one_away(user):
    created = conversations.create(user=user, settings={"model": "demo/demo", "temperature": 0.5})
    changed = conversations.update(
        user=user, conversation_id=created.pk, settings={"temperature": None, "topP": 1}, model="demo/other"
    )
    assert reload(changed).settings == {"model": "demo/other", "topP": 1}
    assert conversations.set_model(user=user, conversation_id=created.pk, model="").settings == {"topP": 1}


def nested(levels):
    """Build an object in an object, so many levels deep."""
    settings = {}
    for _ in range(levels - 1):
        settings = {"a": settings}
    return settings


def test_settings_may_be_twenty_levels_deep(user):
    created = conversations.create(user=user, settings=nested(20))
    assert reload(created).settings == nested(20)


@pytest.mark.parametrize(
    "settings",
    [
        {"model": 7},
        {"model": "x" * 201},
        {"a": "x" * 30_000},
        {"a": float("nan")},
        {"a": "\x00"},
        {"a\ud800": 1},
        {"a": {1}},
        nested(21),
        nested(900),
        {"a": [[nested(18)]]},
    ],
)
def test_settings_that_do_not_fit_are_refused(user, conversation, settings):
    with pytest.raises(InvalidField):
        conversations.update(user=user, conversation_id=conversation.pk, settings=settings)
    with pytest.raises(InvalidField):
        conversations.create(user=user, settings=settings)


def test_an_unknown_status_is_refused(user, conversation):
    with pytest.raises(InvalidField):
        conversations.set_status(user=user, conversation_id=conversation.pk, status="gone")


def test_archiving_stops_the_answers_inside(user):
    sent = messages.send(user=user, conversation_id=None, content="Hello")
    changed = conversations.set_status(user=user, conversation_id=sent.conversation.pk, status="archived")
    assert changed.is_archived
    assert reload(sent.generations[0]).state == GenerationState.STOPPED
    again = conversations.set_status(user=user, conversation_id=changed.pk, status="active")
    assert again.status == ConversationStatus.ACTIVE


def test_looking_clears_what_was_unread(user, conversation):
    Conversation.objects.filter(pk=conversation.pk).update(answered_at=conversation.created_at + timedelta(hours=1))
    Conversation.objects.filter(pk=conversation.pk).update(seen_at=conversation.created_at)
    assert reload(conversation).is_unread
    Conversation.objects.filter(pk=conversation.pk).update(answered_at=conversation.created_at + timedelta(seconds=0))
    Conversation.objects.filter(pk=conversation.pk).update(seen_at=None)
    assert not conversations.mark_seen(user=user, conversation_id=conversation.pk).is_unread
    seen_at = reload(conversation).seen_at
    conversations.mark_seen(user=user, conversation_id=conversation.pk)
    assert reload(conversation).seen_at == seen_at


@pytest.mark.django_db(transaction=True)
async def test_other_tabs_hear_of_each_change(bus):
    user = await in_db(make_user)
    async with await bus.subscribe(live.user_topic(user.pk)) as heard:
        created = await in_db(conversations.create, user=user)
        await in_db(conversations.rename, user=user, conversation_id=created.pk, title="Bread")
        await in_db(conversations.update, user=user, conversation_id=created.pk, pinned=False)
        await in_db(conversations.delete, user=user, conversation_id=created.pk)
        await in_db(conversations.restore, user=user, conversation_id=created.pk)
        events = []
        while len(events) < 4:
            events += await heard.take(within=5)
    assert [event["what"] for _, event in events] == ["created", "changed", "deleted", "restored"]


# --- deleting and restoring -------------------------------------------------------------------------------------


def test_a_deleted_conversation_is_gone_until_it_is_restored(user, conversation):
    conversations.delete(user=user, conversation_id=conversation.pk)
    with pytest.raises(NotFound):
        conversations.get(user=user, conversation_id=conversation.pk)
    restored = conversations.restore(user=user, conversation_id=conversation.pk)
    assert restored.deleted_at is None
    assert conversations.restore(user=user, conversation_id=conversation.pk) == restored


def test_deleting_stops_the_answers_inside(user):
    sent = messages.send(user=user, conversation_id=None, content="Hello")
    conversations.delete(user=user, conversation_id=sent.conversation.pk)
    assert reload(sent.generations[0]).state == GenerationState.STOPPED


def test_a_root_with_forks_is_not_deleted_by_accident(user, family):
    with pytest.raises(HasForks) as refused:
        conversations.delete(user=user, conversation_id=family[0].pk)
    assert refused.value.data == {"forks": 2}
    with pytest.raises(InvalidField):
        conversations.delete(user=user, conversation_id=family[0].pk, forks="both")
    assert len(standing(user)) == 3


def test_a_fork_is_deleted_alone(user, family):
    root, child, grandchild = family
    conversations.delete(user=user, conversation_id=child.pk)
    assert standing(user) == {root.pk, grandchild.pk}
    conversations.delete(user=user, conversation_id=grandchild.pk, forks="delete")
    conversations.delete(user=user, conversation_id=root.pk)
    assert standing(user) == set()


def test_a_family_is_deleted_and_restored_together(user, family):
    root, child, grandchild = family
    conversations.delete(user=user, conversation_id=grandchild.pk)
    conversations.delete(user=user, conversation_id=root.pk, forks="delete")
    assert standing(user) == set()
    conversations.restore(user=user, conversation_id=child.pk)
    assert standing(user) == {root.pk, child.pk}


def test_detached_forks_become_roots_and_their_own_forks_follow(user, family):
    root, child, grandchild = family
    conversations.delete(user=user, conversation_id=root.pk, forks="detach")
    child, grandchild = reload(child), reload(grandchild)
    assert standing(user) == {child.pk, grandchild.pk}
    assert (child.root_conversation_id, child.parent_conversation, child.branch_from_message) == (child.pk, None, None)
    assert (grandchild.root_conversation_id, grandchild.parent_conversation_id) == (child.pk, child.pk)
    assert child.branch_id == grandchild.branch_id != root.branch_id


def test_a_fork_of_a_deleted_fork_is_detached_as_a_root_of_its_own(user, family):
    root, child, grandchild = family
    conversations.delete(user=user, conversation_id=child.pk)
    conversations.delete(user=user, conversation_id=root.pk, forks="detach")
    grandchild = reload(grandchild)
    assert (grandchild.root_conversation_id, grandchild.parent_conversation, grandchild.branch_id) == (
        grandchild.pk,
        None,
        None,
    )
    restored = conversations.restore(user=user, conversation_id=child.pk)
    assert (restored.root_conversation_id, restored.parent_conversation) == (child.pk, None)


def test_deleted_forks_follow_the_forks_that_they_were_made_from(user, family):
    root, child, grandchild = family
    conversations.delete(user=user, conversation_id=grandchild.pk)
    conversations.delete(user=user, conversation_id=root.pk, forks="detach")
    conversations.restore(user=user, conversation_id=root.pk)
    restored, child = conversations.restore(user=user, conversation_id=grandchild.pk), reload(child)
    assert (restored.root_conversation_id, restored.parent_conversation_id) == (child.pk, child.pk)
    assert restored.branch_id == child.branch_id != reload(root).branch_id


def test_what_was_deleted_a_month_ago_is_gone(user, conversation):
    conversations.delete(user=user, conversation_id=conversation.pk)
    Conversation.objects.filter(pk=conversation.pk).update(deleted_at=timezone.now() - timedelta(days=30, minutes=1))
    with pytest.raises(NotFound):
        conversations.restore(user=user, conversation_id=conversation.pk)
    assert reload(conversation).deleted_at is not None


def test_deleting_a_root_with_forks_costs_one_update_for_all(user, family, django_assert_max_num_queries):
    with django_assert_max_num_queries(8):
        conversations.delete(user=user, conversation_id=family[0].pk, forks="delete")
