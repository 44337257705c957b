"""What was deleted a month ago goes for good; what others named of it is named by its nearest relative."""

from datetime import timedelta
from itertools import count

import pytest
from django.utils import timezone

from apps.conversations.models import Conversation, Generation, Message, MessageRevision, Run
from apps.conversations.services import branches, bulk, conversations, forks, invariants, messages, purge
from apps.core.errors import NotFound
from apps.core.ids import first_id_at
from tests.conversations.answers import end_all
from tests.factories import make_conversation, make_message, make_path, reload

pytestmark = pytest.mark.django_db

LONG_AGO = timedelta(days=30, hours=1)
LATELY = timedelta(days=29)


@pytest.fixture
def conversation(user):
    return make_conversation(owner=user)


@pytest.fixture
def a(conversation):
    return make_path(conversation=conversation, length=6, text="a")


@pytest.fixture
def b(conversation, a):
    """A branch below the second message."""
    return make_path(conversation=conversation, length=4, parent=a[1], text="b")


def delete(row, *, ago=LONG_AGO, **more):
    """Delete a conversation or a message as services do, and let time pass."""
    if isinstance(row, Conversation):
        conversations.delete(user=row.owner, conversation_id=row.pk, **more)
        Conversation.objects.filter(deleted_at__gt=timezone.now() - timedelta(hours=1)).update(
            deleted_at=timezone.now() - ago
        )
        return
    act = branches.delete_message(user=row.owner, conversation_id=row.conversation_id, message_id=row.pk)
    when = first_id_at(timezone.now() - ago).int + (act.deletion.int & (2**62 - 1))
    Message.objects.filter(deletion=act.deletion).update(deletion=type(act.deletion)(int=when))


def purged():
    """Purge, after asking what would go; what is left keeps all rules."""
    before = everything()
    asked = purge.purge(dry_run=True)
    assert everything() == before
    done = purge.purge()
    assert done == asked
    assert purge.purge() == purge.Purged(0, 0)
    assert invariants.find_problems() == []
    return done.conversations, done.messages


def everything():
    return {
        model: sorted(model.objects.values_list(), key=str)
        for model in (Conversation, Message, MessageRevision, Run, Generation)
    }


def standing_texts(conversation):
    return sorted(Message.objects.filter(conversation=conversation).values_list("text", flat=True))


class TestConversations:
    def test_what_stands_or_was_deleted_lately_stays(self, user, conversation, a):
        delete(make_conversation(owner=user), ago=LATELY)
        assert purged() == (0, 0)
        assert Conversation.objects.count() == 2

    def test_a_conversation_goes_with_all_it_holds(self, user, conversation, a, b):
        sent = messages.send(user=user, conversation_id=conversation.pk, content="Hello")
        end_all()
        messages.edit(
            user=user, conversation_id=conversation.pk, message_id=sent.answers[0].pk, content="Hm.", mode="save"
        )
        other = make_path(conversation=make_conversation(owner=user), length=2)
        delete(a[3], ago=LATELY)
        delete(conversation)
        assert purged() == (1, 12)
        assert {message.conversation_id for message in Message.objects.all()} == {other[0].conversation_id}
        assert (MessageRevision.objects.count(), Generation.objects.count(), Run.objects.count()) == (0, 0, 1)

    def test_forks_of_a_removed_fork_hang_on_its_parent(self, user, conversation, a):
        child = forks.fork(user=user, conversation_id=conversation.pk, message_id=a[3].pk)
        own = make_path(conversation=child, length=2, parent=child.active_leaf, text="own")
        grandchild = forks.fork(user=user, conversation_id=child.pk, message_id=own[1].pk)
        delete(child)
        assert purged() == (1, 6)
        grandchild = reload(grandchild)
        assert (grandchild.parent_conversation, grandchild.root_conversation) == (conversation, conversation)
        assert grandchild.branch_from_message == a[3]
        copies = Message.objects.filter(conversation=grandchild).order_by("depth")
        assert [copy.copied_from_id for copy in copies] == [*(row.pk for row in a[:4]), None, None]
        assert forks.family(user=user, conversation_id=grandchild.pk)[1].snippet == "own 0"

    def test_forks_of_a_removed_root_are_roots(self, user, conversation, a):
        child = forks.fork(user=user, conversation_id=conversation.pk, message_id=a[3].pk)
        grandchild = forks.fork(user=user, conversation_id=child.pk, message_id=child.active_leaf_id)
        delete(grandchild, ago=LATELY)
        delete(conversation, forks="detach")
        assert purged() == (1, 6)
        child, grandchild = reload(child), reload(grandchild)
        assert (child.parent_conversation, child.root_conversation, child.branch_from_message) == (None, child, None)
        assert (grandchild.parent_conversation, grandchild.root_conversation) == (child, child)
        assert conversations.restore(user=user, conversation_id=grandchild.pk).deleted_at is None

    def test_a_fork_deleted_later_than_its_root_outlives_it(self, user, conversation, a):
        child = forks.fork(user=user, conversation_id=conversation.pk, message_id=a[3].pk)
        delete(conversation, forks="delete")
        Conversation.objects.filter(pk=child.pk).update(deleted_at=timezone.now() - LATELY)
        assert purged() == (1, 6)
        assert (reload(child).parent_conversation, reload(child).root_conversation) == (None, child)

    def test_a_family_goes_together(self, user, conversation, a):
        child = forks.fork(user=user, conversation_id=conversation.pk, message_id=a[3].pk)
        forks.fork(user=user, conversation_id=child.pk, message_id=child.active_leaf_id)
        delete(conversation, forks="delete")
        assert purged() == (3, 14)
        assert not Run.objects.exists()


class TestSubtrees:
    def test_what_was_deleted_inside_goes_and_the_rest_stays(self, conversation, a, b):
        delete(b[1])
        delete(a[4], ago=LATELY)
        assert purged() == (0, 3)
        assert standing_texts(conversation) == ["a 0", "a 1", "a 2", "a 3", "a 4", "a 5", "b 0"]
        assert make_message(conversation=reload(conversation), parent=b[0]).run_id == b[0].run_id
        assert invariants.find_problems() == []

    def test_deletions_inside_of_deletions(self, conversation, a, b):
        delete(b[2])
        delete(a[3])
        delete(b[0])
        delete(a[1])
        assert purged() == (0, 9)
        assert standing_texts(conversation) == ["a 0"]

    def test_a_whole_tree_goes_and_the_conversation_stays(self, user, conversation, a, b):
        delete(a[0])
        assert purged() == (0, 10)
        assert reload(conversation).active_leaf is None
        assert messages.send(user=user, conversation_id=conversation.pk, content="Again").user_message.depth == 0
        assert invariants.find_problems() == []

    def test_a_branch_that_began_below_what_went_keeps_its_run(self, conversation, a, b):
        """The first child goes; the second's run goes on hanging below their parent."""
        delete(a[2])
        assert purged() == (0, 4)
        assert reload(b[0]).run.parent_id == a[1].run_id
        later = make_message(conversation=reload(conversation), parent=reload(a[1]))
        assert later.run_id == a[1].run_id
        assert invariants.find_problems() == []

    def test_places_remembered_inside_are_forgotten(self, user, conversation, a, b):
        branches.select(user=user, conversation_id=conversation.pk, message_id=a[2].pk)
        Message.objects.filter(pk=a[0].pk).update(last_leaf=b[3])
        delete(b[2])
        assert purged() == (0, 2)
        assert (reload(a[0]).last_leaf, reload(b[0]).last_leaf) == (None, None)

    def test_forks_made_inside_name_the_deepest_message_that_is_left(self, user, conversation, a):
        inside = forks.fork(user=user, conversation_id=conversation.pk, message_id=a[5].pk)
        above = forks.fork(user=user, conversation_id=conversation.pk, message_id=a[1].pk)
        delete(a[3])
        assert purged() == (0, 3)
        assert reload(inside).branch_from_message == a[2]
        assert reload(above).branch_from_message == a[1]
        assert standing_texts(inside) == [f"a {number}" for number in range(6)]
        assert Message.objects.filter(conversation=inside, copied_from=None).count() == 3
        delete(a[0])
        assert purged() == (0, 3)
        assert reload(inside).branch_from_message is None
        assert reload(inside).parent_conversation == conversation

    def test_nothing_goes_that_has_something_newer_below(self, conversation, a, b):
        """As after a clock that jumped: the whole waits for the newest of it."""
        delete(b[2], ago=LATELY)
        delete(b[0])
        assert purged() == (0, 0)
        Message.objects.filter(pk__in=[b[2].pk, b[3].pk]).update(deletion=reload(b[0]).deletion)
        assert purged() == (0, 4)

    def test_what_the_owner_brings_back_meanwhile_stays(self, conversation, a, b):
        delete(b[0])
        calls = count()

        def go_on():
            if next(calls) == 1:
                Message.objects.filter(deletion__isnull=False).update(deletion=None)
            return True

        assert purge.purge(go_on=go_on).messages == 0
        assert len(standing_texts(conversation)) == 10

    def test_a_message_that_was_deleted_a_month_ago_can_not_be_restored(self, user, conversation, a):
        delete(a[3])
        purged()
        with pytest.raises(NotFound):
            branches.restore_message(user=user, conversation_id=conversation.pk, message_id=a[3].pk)


class TestLargeTrees:
    """Larger than one transaction takes."""

    @pytest.fixture
    def large(self, user):
        return bulk.build_conversation(user=user, messages=1200, forks=150, seed=7)

    def test_they_go_in_pieces_from_the_leaves_up(self, user, large):
        first = Message.objects.get(conversation=large, parent=None)
        below = Message.objects.filter(conversation=large, run=first.run, depth=20).get()
        inside = branches.delete_message(user=user, conversation_id=large.pk, message_id=below.pk)
        branches.restore_message(user=user, conversation_id=large.pk, message_id=below.pk)
        assert inside.count > purge.BATCH
        delete(below)
        assert purged() == (0, inside.count)
        delete(large)
        assert purged() == (1, 1200 - inside.count)

    @pytest.mark.parametrize("steps", range(2, 8))
    def test_whenever_time_runs_out_the_rest_is_a_tree_and_the_next_time_goes_on(self, user, large, steps):
        first = Message.objects.get(conversation=large, parent=None)
        fork = forks.fork(user=user, conversation_id=large.pk, message_id=first.pk)
        grandchild = forks.fork(user=user, conversation_id=fork.pk, message_id=fork.active_leaf_id)
        delete(Message.objects.get(conversation=large, run=first.run, depth=20))
        delete(fork)
        calls = count()
        purge.purge(go_on=lambda: next(calls) < steps)
        assert invariants.find_problems() == []
        purge.purge()
        assert invariants.find_problems() == []
        assert reload(grandchild).parent_conversation == large
        assert reload(grandchild).branch_from_message == first

    def test_what_is_restored_while_it_is_purged_keeps_a_tree(self, user, large):
        delete(large)
        calls = count()

        def go_on():
            if next(calls) == 3:
                Conversation.objects.filter(pk=large.pk).update(deleted_at=None)
            return True

        done = purge.purge(go_on=go_on)
        assert done.conversations == 0
        assert 0 < done.messages < 1200
        assert not {problem.rule.name for problem in invariants.find_problems()} - {"conversation_leaf"}


class TestEntangled:
    def test_what_stands_below_is_never_taken_along(self, user, conversation, a, caplog):
        other = make_conversation(owner=user)
        lost = make_message(conversation=other, text="not mine")
        delete(conversation)
        Message.objects.filter(pk=lost.pk).update(parent=a[2], depth=3)
        assert purge.purge().conversations == 0
        assert "purge-entangled" in caplog.text
        assert reload(lost).text == "not mine"

    def test_nor_what_lies_in_its_runs(self, user, conversation, a, caplog):
        other = make_path(conversation=make_conversation(owner=user), length=2)
        delete(conversation)
        Message.objects.filter(pk=other[1].pk).update(run=a[0].run, depth=90)
        assert purge.purge().conversations == 0
        assert "purge-entangled" in caplog.text
        assert reload(other[1]).text == "Message 1"
