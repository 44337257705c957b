"""Each rule of the database broken by hand, found as that alone, and repaired; healthy databases found healthy."""

import asyncio
import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from apps.conversations.models import Conversation, Generation, Message, MessageRevision, Run
from apps.conversations.services import (
    branches,
    conversations,
    forks,
    invariants,
    leases,
    messages,
    repairs,
    tree_repairs,
)
from apps.core.db import in_db
from apps.core.ids import new_id
from apps.providers.base import Finished, TextDelta
from tests.conversations.answers import end_all
from tests.factories import make_conversation, make_message, make_path, reload

pytestmark = pytest.mark.django_db


def broken():
    """Name the rules that don't hold, with the rows that break them."""
    return {problem.rule.name: set(problem.ids) for problem in invariants.find_problems()}


def texts(conversation=None):
    rows = Message.objects.filter(conversation=conversation) if conversation else Message.objects.all()
    return sorted(rows.values_list("text", flat=True))


def change(*rows, **fields):
    """Write past the rules of services, as a bug or a careless hand would."""
    assert type(rows[0]).objects.filter(pk__in=[row.pk for row in rows]).update(**fields) == len(rows)


def repaired():
    """Repair, and check that nothing is wrong afterwards, nor written down that was not."""
    before = texts()
    result = repairs.repair_problems()
    assert result.left == []
    assert broken() == {}
    assert texts() == before
    return {name: count for name, count in result.repaired.items() if count}


@pytest.fixture
def conversation(user):
    return make_conversation(owner=user)


@pytest.fixture
def a(conversation):
    """The longer path, from the first message."""
    return make_path(conversation=conversation, length=6, text="a")


@pytest.fixture
def b(conversation, a):
    """A branch below the longer path's second message; the owner stands on its end."""
    return make_path(conversation=conversation, length=3, parent=a[1], text="b")


@pytest.fixture
def sent(user):
    """A question whose answer is queued."""
    return messages.send(user=user, conversation_id=None, content="Hello")


def path_of(message):
    """Name a message's ancestors from the top by walking parents."""
    return [row.text for row in Message.objects.walk_up(message.pk, limit=99)]


class TestHealthy:
    def test_an_empty_database(self, db):
        assert broken() == {}

    def test_branches_deleted_and_restored(self, user, conversation, a, b):
        act = {"user": user, "conversation_id": conversation.pk}
        branches.select(message_id=a[2].pk, **act)
        branches.delete_message(message_id=b[0].pk, **act)
        branches.delete_message(message_id=a[3].pk, **act)
        assert broken() == {}
        branches.restore_message(message_id=b[0].pk, **act)
        assert broken() == {}

    def test_answers_queued_running_and_ended(self, user, sent):
        assert broken() == {}
        leases.claim(owner="test:1:a", limit=1)
        assert broken() == {}
        Generation.objects.update(state="queued", lease_owner="", lease_until=None)
        end_all()
        end_all()
        assert broken() == {}
        messages.continue_answer(user=user, conversation_id=sent.conversation.pk, message_id=sent.answers[0].pk)
        assert broken() == {}

    def test_families_parted_and_brought_back(self, user, conversation, a):
        child = forks.fork(user=user, conversation_id=conversation.pk, message_id=a[3].pk)
        grandchild = forks.fork(user=user, conversation_id=child.pk, message_id=child.active_leaf_id)
        for pk in (grandchild.pk, conversation.pk):
            conversations.delete(user=user, conversation_id=pk, forks="detach")
            assert broken() == {}
        for pk in (conversation.pk, grandchild.pk):
            conversations.restore(user=user, conversation_id=pk)
            assert broken() == {}


class TestTrees:
    def test_a_parent_in_another_conversation(self, user, a, b):
        other = make_message(conversation=make_conversation(owner=user), text="other")
        change(b[0], parent=other)
        assert broken() == {"message_parent": {b[0].pk}}
        assert repaired() == {"message_parent": 1}
        assert path_of(b[2]) == ["a 0", "a 1", "b 0", "b 1", "b 2"]

    def test_a_message_that_lies_in_another_conversation(self, user, conversation, a, b):
        change(a[3], conversation=make_conversation(owner=user))
        assert broken() == {"message_parent": {a[3].pk, a[4].pk}}
        repaired()
        assert reload(a[3]).conversation == conversation
        assert path_of(a[5]) == [f"a {number}" for number in range(6)]

    def test_whichever_of_the_two_conversations_is_looked_at_first(self, user, a):
        other = make_conversation(owner=user)
        change(a[3], conversation=other)
        tree_repairs.hang_anew(a[4].conversation_id, [a[4].pk])
        assert broken() == {}
        assert path_of(a[5]) == [f"a {number}" for number in range(6)]

    def test_a_first_message_that_lies_with_a_stranger_comes_back(self, stranger, conversation, a):
        change(a[0], conversation=make_conversation(owner=stranger))
        assert set(broken()) == {"message_parent", "message_run", "message_owner", "conversation_leaf"}
        repaired()
        assert reload(a[0]).conversation == conversation

    def test_a_parent_that_nothing_tells_makes_a_first_message(self, user, conversation, a):
        lost = make_message(conversation=conversation, parent=a[2], text="lost", stand=False)
        other = make_message(conversation=make_conversation(owner=user), text="other")
        change(lost, parent=other)
        change(lost.run, parent=a[2].run, parent_depth=7)
        repaired()
        assert (reload(lost).parent, reload(lost).depth, reload(lost).conversation) == (None, 0, conversation)

    def test_a_ring(self, a, b):
        change(a[2], parent=a[4])
        assert broken() == {"message_cycle": {a[2].pk}}
        assert repaired() == {"message_cycle": 1}
        assert path_of(a[5]) == [f"a {number}" for number in range(6)]

    def test_a_ring_that_the_runs_tell_as_well(self, conversation, a):
        """Two messages above each other, in runs above each other: one of them becomes a first message."""
        lower = make_message(conversation=conversation, parent=a[2], text="lower", stand=False)
        change(lower, parent=a[3])
        change(a[3], parent=lower)
        assert set(broken()) == {"message_cycle"}
        repaired()
        assert len(texts(conversation)) == 7

    @pytest.mark.parametrize("depth", [1, 9])
    def test_a_wrong_depth(self, conversation, a, b, depth):
        change(b[1], depth=depth)
        assert broken() == {"message_depth": {b[1].pk, b[2].pk}}
        assert set(repaired()) == {"message_depth"}
        assert [reload(row).depth for row in b] == [2, 3, 4]
        assert Run.objects.filter(conversation=conversation).count() == 3

    def test_a_message_in_a_run_that_it_does_not_go_on_in(self, conversation, a, b):
        change(a[5], run=b[0].run)
        assert broken() == {"message_run": {a[5].pk}}
        assert set(repaired()) == {"message_run"}
        assert path_of(a[5]) == [f"a {number}" for number in range(6)]

    def test_a_run_that_hangs_elsewhere_than_its_first_message(self, a, b):
        change(b[0].run, parent_depth=3)
        assert broken() == {"message_run": {b[0].pk, b[1].pk, b[2].pk}}
        repaired()
        assert path_of(b[2]) == ["a 0", "a 1", "b 0", "b 1", "b 2"]

    def test_a_run_of_another_conversation(self, user, a, b):
        change(b[0].run, conversation=make_conversation(owner=user))
        assert broken() == {"message_run": {row.pk for row in b}}
        repaired()

    def test_parents_are_believed_and_runs_follow(self, conversation, a, b):
        change(b[0], parent=a[3])
        assert broken() == {"message_depth": {b[0].pk}}
        repaired()
        assert path_of(b[2]) == ["a 0", "a 1", "a 2", "a 3", "b 0", "b 1", "b 2"]

    def test_a_run_without_messages(self, conversation, a):
        empty = Run.objects.create(conversation=conversation, parent=a[0].run, parent_depth=1)
        below = Run.objects.create(conversation=conversation, parent=empty, parent_depth=2)
        assert broken() == {"run_empty": {empty.pk, below.pk}}
        repaired()
        assert Run.objects.filter(conversation=conversation).count() == 1
        rings = [Run.objects.create(conversation=conversation) for _ in range(2)]
        change(rings[0], parent=rings[1], parent_depth=0)
        change(rings[1], parent=rings[0], parent_depth=0)
        repaired()

    def test_a_message_that_stands_below_a_deleted_one_lifts_it(self, user, conversation, a, b):
        branches.delete_message(user=user, conversation_id=conversation.pk, message_id=a[3].pk)
        change(a[5], deletion=None)
        assert broken() == {"message_deleted_above": {a[5].pk}}
        assert repaired() == {"message_deleted_above": 1}
        assert {reload(row).deletion for row in a} == {None}

    def test_a_message_of_another_owner(self, stranger, a, b):
        change(b[1], owner=stranger)
        assert broken() == {"message_owner": {b[1].pk}}
        assert repaired() == {"message_owner": 1}

    def test_an_owner_who_used_the_client_id_already(self, user, stranger, conversation, a):
        mine = make_message(conversation=conversation, parent=a[5], client_id="once", text="mine")
        change(mine, owner=stranger)
        make_message(conversation=conversation, parent=mine, client_id="once", text="again")
        repaired()
        assert (reload(mine).owner, reload(mine).client_id) == (mine.conversation.owner, None)

    def test_a_remembered_place_elsewhere(self, user, conversation, a, b):
        other = make_message(conversation=make_conversation(owner=user), text="other")
        change(a[0], last_leaf=b[2])
        assert broken() == {}
        change(a[3], last_leaf=b[2])
        change(b[0], last_leaf=a[0])
        change(b[1], last_leaf=other)
        change(a[4], last_leaf=new_id())
        assert broken() == {"message_last_leaf": {a[3].pk, b[0].pk, b[1].pk, a[4].pk}}
        assert repaired() == {"message_last_leaf": 4}
        assert reload(a[0]).last_leaf == b[2]

    def test_a_wrong_tree_is_not_told_again_as_wrong_places(self, a, b):
        change(a[0], last_leaf=b[2])
        change(b[0], parent=a[2])
        assert set(broken()) == {"message_depth"}
        repaired()

    def test_an_original_that_is_gone(self, a):
        change(a[1], copied_from=new_id())
        assert broken() == {"message_copied_from": {a[1].pk}}
        assert repaired() == {"message_copied_from": 1}


class TestTexts:
    def test_a_text_that_is_not_of_its_parts_is_derived_anew(self, a):
        change(a[1], text="")
        change(a[2], text="a")
        assert broken() == {"message_text": {a[1].pk, a[2].pk}}
        repairs.repair_problems()
        assert (reload(a[1]).text, reload(a[2]).text) == ("a 1", "a 2")
        assert broken() == {}
        assert not MessageRevision.objects.exists()

    def test_a_text_that_no_part_holds_is_not_lost(self, a):
        thought = [{"type": "reasoning", "text": "Hm."}]
        change(a[1], parts=thought)
        change(a[2], text="Something else.")
        repairs.repair_problems()
        assert reload(a[1]).parts == [*thought, {"type": "text", "text": "a 1"}]
        assert reload(a[2]).text == "a 2"
        assert [one.parts[0]["text"] for one in reload(a[2]).revisions.all()] == ["Something else."]
        assert broken() == {}

    @pytest.mark.parametrize("parts", [{"type": "text", "text": "x"}, [{"text": "x"}], ["x"], 7, [{"type": "text"}]])
    def test_parts_that_nobody_can_read_are_left_alone(self, a, parts):
        change(a[1], parts=parts)
        assert broken() == {"message_parts": {a[1].pk}}
        result = repairs.repair_problems()
        assert [(problem.rule.name, problem.repaired) for problem in result.left] == [("message_parts", 0)]
        assert "backup" in result.left[0].rule.advice
        assert reload(a[1]).parts == parts

    def test_a_revision_without_its_message_is_left_alone(self, a):
        lost = MessageRevision.objects.create(message_id=new_id(), parts=[], created_at=timezone.now())
        MessageRevision.objects.create(message=a[0], parts=[], created_at=timezone.now())
        assert broken() == {"revision_message": {lost.pk}}
        repairs.repair_problems()
        assert MessageRevision.objects.count() == 2
        lost.delete()  # the database itself refuses it at the end of a transaction


class TestWhereOwnersStand:
    def test_on_a_deleted_message(self, user, conversation, a, b):
        branches.delete_message(user=user, conversation_id=conversation.pk, message_id=b[0].pk)
        change(conversation, active_leaf=b[2])
        assert broken() == {"conversation_leaf": {conversation.pk}}
        assert repaired() == {"conversation_leaf": 1}
        assert reload(conversation).active_leaf == a[5]

    def test_in_another_conversation_or_nowhere(self, user, conversation, a):
        other = make_conversation(owner=user)
        for leaf in (make_message(conversation=other, text="other").pk, new_id(), None):
            change(conversation, active_leaf=leaf)
            assert broken() == {"conversation_leaf": {conversation.pk}}
            repaired()
            assert reload(conversation).active_leaf == a[5]

    def test_nowhere_is_right_in_an_empty_conversation(self, user, conversation):
        (only,) = make_path(conversation=conversation, length=1)
        branches.delete_message(user=user, conversation_id=conversation.pk, message_id=only.pk)
        assert broken() == {}


class TestFamilies:
    @pytest.fixture
    def family(self, user, conversation, a):
        """A root, a fork of it, a fork of the fork."""
        child = forks.fork(user=user, conversation_id=conversation.pk, message_id=a[3].pk)
        make_path(conversation=child, length=2, parent=child.active_leaf, text="own")
        grandchild = forks.fork(user=user, conversation_id=child.pk, message_id=child.active_leaf_id)
        return reload(conversation), reload(child), reload(grandchild)

    def links(self, *members):
        rows = [reload(member) for member in members]
        return [(row.parent_conversation_id, row.root_conversation_id) for row in rows]

    def test_a_wrong_root(self, user, family):
        root, child, grandchild = family
        before = self.links(*family)
        change(grandchild, root_conversation=grandchild.pk)
        assert broken() == {"family_root": {grandchild.pk}}
        repaired()
        change(root, root_conversation=new_id())
        assert broken() == {"family_root": {root.pk, child.pk}}
        repaired()
        change(child, root_conversation=make_conversation(owner=user))
        assert broken() == {"family_root": {child.pk, grandchild.pk}}
        repaired()
        assert self.links(*family) == before

    def test_a_fork_of_itself(self, family):
        root, child, grandchild = family
        change(child, parent_conversation=grandchild, branch_from_message=grandchild.active_leaf)
        assert broken() == {"family_cycle": {child.pk}}
        assert set(repaired()) == {"family_cycle"}
        assert self.links(*family) == [(None, root.pk), (None, child.pk), (child.pk, child.pk)]
        change(root, parent_conversation=root)
        assert broken() == {"family_cycle": {root.pk}}
        repaired()

    def test_what_hangs_below_a_ring_waits_until_it_is_open(self, user, family):
        root, _child, grandchild = family
        other = forks.fork(user=user, conversation_id=grandchild.pk, message_id=grandchild.active_leaf_id)
        change(root, parent_conversation=grandchild)
        change(other, root_conversation=other.pk)
        repaired()
        assert {reload(member).root_conversation_id for member in (*family, other)} == {root.pk}

    def test_branch_ids_that_differ(self, family):
        root, child, grandchild = family
        change(child, branch_id=new_id())
        assert broken() == {"family_branch_id": {child.pk}}
        repaired()
        change(root, branch_id=None)
        assert broken() == {"family_branch_id": {child.pk, grandchild.pk}}
        repaired()
        assert len({reload(member).branch_id for member in family}) == 1

    def test_a_branch_id_of_two_families(self, user, family):
        other = make_conversation(owner=user, branch_id=family[0].branch_id)
        source = make_conversation(owner=user)
        fork = forks.fork(user=user, conversation_id=source.pk, message_id=make_message(conversation=source).pk)
        change(source, fork, branch_id=family[0].branch_id)
        assert broken() == {"family_branch_id": {other.pk, source.pk}}
        repaired()
        assert reload(other).branch_id is None
        assert reload(source).branch_id == reload(fork).branch_id != reload(family[0]).branch_id

    def test_a_parent_of_somebody_else(self, stranger, family):
        _root, child, grandchild = family
        theirs = make_conversation(owner=stranger)
        change(child, parent_conversation=theirs)
        assert set(broken()) == {"family_owner", "family_branch_from"}
        repaired()
        assert self.links(child, grandchild) == [(None, child.pk), (child.pk, child.pk)]

    def test_an_origin_that_is_not_in_the_parent(self, family, a):
        root, child, grandchild = family
        change(child, branch_from_message=child.active_leaf)
        change(grandchild, branch_from_message=new_id())
        change(root, branch_from_message=a[0])
        assert broken() == {"family_branch_from": {row.pk for row in family}}
        repaired()
        assert reload(child).branch_from_message == a[3]
        assert reload(grandchild).branch_from_message == reload(child).active_leaf
        assert reload(root).branch_from_message is None
        Message.objects.filter(conversation=child).update(copied_from=None)
        change(child, branch_from_message=new_id())
        repaired()
        assert reload(child).branch_from_message is None


class TestAnswers:
    def running(self):
        return leases.claim(owner="test:1:a", limit=9)

    def test_nobody_writes_what_is_marked_as_written(self, a):
        written = [{"type": "text", "text": "Half an ans"}]
        change(a[1], status="streaming", parts=written, text="")
        assert broken() == {"message_streaming": {a[1].pk}}
        repairs.repair_problems()
        answer = reload(a[1])
        assert (answer.status, answer.error_code, answer.text) == ("interrupted", "restarted", "Half an ans")
        change(a[2], status="streaming")
        repaired()
        assert reload(a[2]).status == "complete"

    def test_a_message_that_says_otherwise_than_its_last_generation(self, sent):
        change(sent.answers[0], status="complete")
        assert broken() == {"message_status": {sent.answers[0].pk}}
        repaired()
        assert reload(sent.answers[0]).status == "streaming"
        end_all()
        end_all()
        change(sent.answers[0], status="failed")
        assert broken() == {"message_status": {sent.answers[0].pk}}
        repaired()
        change(sent.answers[0], status="streaming")
        assert broken() == {"message_streaming": {sent.answers[0].pk}}
        repaired()
        assert reload(sent.answers[0]).status == "complete"

    def test_a_generation_in_another_conversation_or_name(self, user, stranger, sent):
        generation = sent.generations[0]
        change(generation, conversation=make_conversation(owner=user))
        assert broken() == {"generation_place": {generation.pk}}
        repaired()
        change(generation, user=stranger)
        assert broken() == {"generation_place": {generation.pk}}
        repaired()
        assert (reload(generation).conversation, reload(generation).user) == (sent.conversation, user)

    def test_a_lease_that_ran_out_is_swept(self, sent):
        (running,) = self.running()
        change(running, lease_until=timezone.now() - timedelta(seconds=1))
        assert broken() == {}, "sweepers get the time of a lease"
        change(running, lease_until=timezone.now() - timedelta(hours=1))
        assert broken() == {"generation_lease": {running.pk}}
        repaired()
        assert reload(running).state == "queued"

    def test_a_running_generation_without_any_lease_is_swept(self, sent):
        (running,) = self.running()
        change(running, lease_until=None, first_delta_at=timezone.now())
        assert broken() == {"generation_lease": {running.pk}}
        repaired()
        assert (reload(running).state, reload(sent.answers[0]).status) == ("interrupted", "interrupted")

    def test_what_nobody_begins_needs_a_runner_and_no_repair(self, sent):
        change(sent.generations[0], queued_at=timezone.now() - timedelta(minutes=59))
        assert broken() == {}
        change(sent.generations[0], queued_at=timezone.now() - timedelta(minutes=61))
        assert broken() == {"generation_waiting": {sent.generations[0].pk}}
        (left,) = repairs.repair_problems().left
        assert "run_generations" in left.rule.advice
        assert reload(sent.generations[0]).state == "queued"

    def test_a_second_batch_is_stopped(self, user, sent):
        conversation = reload(sent.conversation)
        answer = make_message(conversation=conversation, parent=sent.user_message, stand=False, status="streaming")
        second = Generation.objects.create(
            conversation=conversation, message=answer, user=user, purpose="answer", rank=1, queued_at=timezone.now()
        )
        assert broken() == {"generation_batch": {second.pk}}
        repaired()
        assert (reload(second).state, reload(sent.generations[0]).state) == ("stopped", "queued")
        change(second, state="queued", batch=sent.generations[0].batch)
        change(answer, status="streaming")
        assert broken() == {}


class TestRepairing:
    def test_every_rule_has_a_repair_or_advice(self):
        without = {name for name, rule in invariants.RULES.items() if rule.advice}
        assert set(repairs.REPAIRS) | without == set(invariants.RULES)
        assert not set(repairs.REPAIRS) & without

    def test_ids_are_shown_up_to_twenty_and_counted_all(self, conversation):
        path = make_path(conversation=conversation, length=30)
        change(*path, text="Something else.")
        (problem,) = invariants.find_problems()
        assert (problem.count, len(problem.ids), problem.repaired) == (30, 20, 0)

    def test_what_a_constraint_refuses_is_told_and_left(self, user, sent, caplog):
        """A generation can't go where its message is while another one is active there."""
        other = messages.send(user=user, conversation_id=None, content="Other")
        change(other.answers[0], conversation=sent.conversation, parent=sent.user_message)
        (left,) = repairs.repair_problems().left
        assert (left.rule.name, left.count, left.repaired) == ("generation_place", 1, 0)
        assert "repair-refused" in caplog.text
        end_all()
        assert repaired() == {"generation_place": 1}

    def test_everything_at_once(self, user, stranger, conversation, a, b):
        child = forks.fork(user=user, conversation_id=conversation.pk, message_id=a[3].pk)
        change(a[2], parent=a[4], owner=stranger)
        change(b[0], depth=9)
        change(b[1], last_leaf=a[0], copied_from=new_id())
        change(conversation, active_leaf=new_id())
        change(child, root_conversation=child.pk, branch_id=None)
        change(child.active_leaf, status="streaming")
        repaired()
        assert path_of(a[5]) == [f"a {number}" for number in range(6)]
        assert path_of(b[2]) == ["a 0", "a 1", "b 0", "b 1", "b 2"]


@pytest.mark.django_db(transaction=True)
class TestBesideOthers:
    async def test_answers_that_are_being_written_are_no_problem(self, runner, user, scripted):
        looks = 0
        answering = asyncio.create_task(self.answer_many(user, scripted))
        while not answering.done() or not looks:
            assert await in_db(invariants.find_problems) == []
            looks += 1
        await answering
        assert await in_db(broken) == {}

    async def answer_many(self, user, scripted):
        for _ in range(12):
            chat = await in_db(conversations.create, user=user, title="A chat")
            scripted.add([TextDelta(word) for word in ("So ", "it ", "goes.")] + [Finished("stop")])
            await in_db(messages.send, user=user, conversation_id=chat.pk, content="Hello")
        async with asyncio.timeout(10):
            while await in_db(Generation.objects.active().exists):
                await asyncio.sleep(0.01)

    def test_what_is_put_right_before_the_second_look_is_no_problem(self, conversation, a):
        locked, seen = threading.Event(), threading.Event()

        def heal():
            with transaction.atomic():
                Conversation.objects.select_for_update().get(pk=conversation.pk)
                locked.set()
                assert seen.wait(10)
                change(a[3], depth=3)
            connection.close()

        def tell(execute, sql, *rest):
            result = execute(sql, *rest)
            if "LEFT JOIN conversations_run" in sql:
                seen.set()
            return result

        change(a[3], depth=9)
        healer = threading.Thread(target=heal)
        healer.start()
        assert locked.wait(10)
        with connection.execute_wrapper(tell):
            assert invariants.find_problems() == []
        healer.join(10)
