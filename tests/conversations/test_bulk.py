"""Conversations built at once: trees with the invariants of those made message by message, and the command for them."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from apps.conversations.models import Conversation, Message, Run
from apps.conversations.services import branches, bulk, paths
from tests.factories import make_message, reload

pytestmark = pytest.mark.django_db


def check_tree(conversation):
    """Check what must hold in every tree."""
    rows = {row.pk: row for row in Message.objects.filter(conversation=conversation).select_related("run__parent")}
    for row in rows.values():
        parent = rows.get(row.parent_id)
        assert (row.parent_id is None) == (row.depth == 0)
        assert row.conversation_id == row.run.conversation_id == conversation.pk
        assert row.owner_id == conversation.owner_id
        if parent is not None:
            assert row.depth == parent.depth + 1
            assert row.created_at > parent.created_at
            assert row.role != parent.role
            same_run = row.run_id == parent.run_id
            assert same_run or (row.run.parent_id, row.run.parent_depth) == (parent.run_id, parent.depth)
    children = [row.parent_id for row in rows.values() if row.parent_id]
    assert Run.objects.filter(conversation=conversation).count() == 1 + len(children) - len(set(children))
    assert conversation.active_leaf_id == max(rows.values(), key=lambda row: (row.created_at, row.pk)).pk
    return rows


@pytest.mark.parametrize(("size", "forks"), [(1, 0), (2, 5), (3, 1), (4, 1), (30, 6), (30, 100), (2500, 300)])
def test_a_built_tree_has_the_invariants_of_a_grown_one(user, size, forks):
    conversation = bulk.build_conversation(user=user, messages=size, forks=forks, seed=1)
    rows = check_tree(conversation)
    assert len(rows) == size
    assert Run.objects.filter(conversation=conversation).count() == 1 + min(forks, max(0, size // 2 - 1))


def test_a_built_tree_can_be_lived_in(user):
    conversation = bulk.build_conversation(user=user, messages=200, forks=20, seed=1)
    top = Message.objects.get(conversation=conversation, parent=None)
    fork = paths.forks_of(conversation)[0]
    for child in fork.children:
        leaf = branches.select(user=user, conversation_id=conversation.pk, message_id=child.id)
        make_message(conversation=reload(conversation), parent=leaf)
    assert branches.delete_message(user=user, conversation_id=conversation.pk, message_id=top.pk).count == 200 + len(
        fork.children
    )


def test_the_same_seed_gives_the_same_tree_and_another_one_another(user, stranger):
    def texts(conversation):
        return list(Message.objects.filter(conversation=conversation).order_by("id").values_list("id", "text"))

    first = bulk.build_conversation(user=user, messages=40, forks=5, seed=1)
    before = texts(first)
    assert bulk.build_conversation(user=user, messages=40, forks=5, seed=1) == first
    assert Conversation.objects.count() == 1
    others = [
        bulk.build_conversation(user=user, messages=40, forks=5, seed=2),
        bulk.build_conversation(user=user, messages=40, forks=5, seed=1, number=2),
        bulk.build_conversation(user=user, messages=41, forks=5, seed=1),
        bulk.build_conversation(user=stranger, messages=40, forks=5, seed=1),
    ]
    assert len({first, *others}) == 5
    Message.objects.filter(conversation=first).delete()
    Conversation.objects.filter(pk=first.pk).delete()
    assert texts(bulk.build_conversation(user=user, messages=40, forks=5, seed=1)) == before


# --- the command ------------------------------------------------------------------------------------------------


def create_demo_data(*arguments):
    out = StringIO()
    call_command("create_demo_data", *arguments, "--json", stdout=out, stderr=StringIO())
    return json.loads(out.getvalue())


def test_the_command_makes_as_much_as_it_is_told_and_repeating_it_makes_nothing(user):
    told = (user.email, "--conversations", "3", "--messages", "10", "--deep", "120", "--seed", "5")
    first = create_demo_data(*told)
    assert (first["created"], first["skipped"], first["messages"]) == (4, 0, 150)
    assert (Conversation.objects.filter(owner=user).count(), Message.objects.filter(owner=user).count()) == (4, 150)
    for conversation in Conversation.objects.filter(owner=user):
        check_tree(conversation)
    deep = Conversation.objects.get(pk=first["deep"])
    assert deep.active_leaf.depth == 119
    again = create_demo_data(*told)
    assert (again["created"], again["skipped"], again["messages"]) == (0, 4, 0)
    assert Message.objects.count() == 150
    more = create_demo_data(user.email, "--conversations", "5", "--messages", "10", "--seed", "5")
    assert (more["created"], more["skipped"]) == (2, 3)


def test_the_command_only_tells_when_asked_to(user):
    found = create_demo_data(user.email, "--conversations", "2", "--messages", "4", "--dry-run")
    assert (found["created"], found["messages"]) == (2, 8)
    assert Conversation.objects.count() == 0


def test_the_command_prints_a_line_for_people(user):
    out = StringIO()
    call_command(
        "create_demo_data", user.email, "--conversations", "1", "--messages", "2", stdout=out, stderr=StringIO()
    )
    assert out.getvalue() == "1 conversation with 2 messages made, 0 were there.\n"


def test_the_command_refuses_unknown_users_and_sizes_beyond_reason(user):
    for bad in (("nobody@example.org",), (user.email, "--messages", "0"), (user.email, "--deep", "99999999")):
        with pytest.raises(CommandError):
            create_demo_data(*bad)
    assert Conversation.objects.count() == 0
