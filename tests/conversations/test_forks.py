"""Forking: what a copy keeps, what it does not share, and what a family shows."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from apps.conversations.models import Conversation, Message, MessageStatus, Role, Run, TitleSource
from apps.conversations.services import branches, bulk, conversations, forks, messages, nodes, paths
from apps.core.errors import InvalidField, NotFound, TooManyRequests
from tests.factories import make_conversation, make_message, make_path, reload, standing_ids

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def source(user):
    return make_conversation(owner=user, title="Bread", settings={"model": "demo/demo"})


@pytest.fixture
def path(source):
    return make_path(conversation=source, length=6, now=NOON)


@pytest.fixture
def fork(user):
    def call(message, **more):
        return forks.fork(user=user, conversation_id=str(message.conversation_id), message_id=str(message.pk), **more)

    return call


def copies(conversation):
    return list(Message.objects.filter(conversation=conversation).order_by("depth"))


def test_a_fork_copies_the_path_up_to_and_including_the_message(source, path, fork):
    make_message(conversation=source, parent=path[1], stand=False)
    copy = fork(path[3])
    rows = copies(copy)
    assert [row.copied_from_id for row in rows] == [message.pk for message in path[:4]]
    assert [row.text for row in rows] == [message.text for message in path[:4]]
    assert [row.created_at for row in rows] == [message.created_at for message in path[:4]]
    assert [row.parent_id for row in rows] == [None, *(row.pk for row in rows[:3])]
    assert [row.depth for row in rows] == [0, 1, 2, 3]
    assert {row.pk for row in rows}.isdisjoint(message.pk for message in path)
    assert [row.pk for row in rows] == sorted(row.pk for row in rows)
    assert {row.run_id for row in rows} == {Run.objects.get(conversation=copy).pk}
    assert reload(copy).active_leaf == rows[-1]


def test_a_fork_names_where_it_comes_from(source, path, fork):
    copy = reload(fork(path[3]))
    assert (copy.parent_conversation, copy.branch_from_message, copy.root_conversation) == (source, path[3], source)
    assert isinstance(copy.branch_id, UUID)
    assert copy.branch_id == reload(source).branch_id
    assert copy.branch_id != source.pk
    assert copy.settings == {"model": "demo/demo"}


def test_forks_at_any_depth_carry_the_roots_id_and_one_branch_id(source, path, fork):
    child = fork(path[3])
    grandchild = fork(copies(child)[1])
    sister = fork(path[0])
    assert {member.root_conversation_id for member in (child, grandchild, sister)} == {source.pk}
    assert len({reload(member).branch_id for member in (source, child, grandchild, sister)}) == 1
    assert grandchild.parent_conversation_id == child.pk
    assert reload(source).root_conversation_id == source.pk


def test_a_fork_keeps_everything_an_answer_carries(source, fork):
    parts = [
        {"type": "reasoning", "text": "Hm.", "durationMs": 900},
        {"type": "tool_call", "id": "1", "name": "clock", "arguments": {}, "status": "done"},
        {"type": "tool_result", "id": "1", "text": "noon"},
        {"type": "text", "text": "It is noon."},
    ]
    kept = {
        "model_id": "demo", "provider": "demo", "prompt_tokens": 7, "completion_tokens": 8, "reasoning_tokens": 2,
        "cached_tokens": 1, "ttft_ms": 100, "duration_ms": 900, "finish_reason": "stop", "is_favourite": True,
        "error_code": "timeout", "error_message": "Too slow.", "status": MessageStatus.FAILED,
    }  # fmt: skip
    question = make_message(conversation=source, client_id="once")
    answer = make_message(conversation=source, parent=question, parts=parts, now=NOON, **kept)
    Message.objects.filter(pk=answer.pk).update(last_leaf=answer)
    row = copies(fork(answer))[1]
    assert row.parts == parts
    assert {name: getattr(row, name) for name in kept} == kept
    assert (row.text, row.role, row.token_estimate) == ("It is noon.", Role.ASSISTANT, answer.token_estimate)
    assert (row.last_leaf, row.client_id, row.deletion) == (None, None, None)


def test_every_column_is_either_copied_or_known_not_to_be():
    assert set(forks.COPIED) == {
        "role", "parts", "text", "status", "error_code", "error_message", "model_id", "provider", "prompt_tokens",
        "completion_tokens", "reasoning_tokens", "cached_tokens", "ttft_ms", "duration_ms", "finish_reason",
        "token_estimate", "is_favourite", "created_at",
    }  # fmt: skip


def test_an_answer_that_is_still_written_is_copied_as_interrupted_with_its_text(user, fork):
    sent = messages.send(user=user, conversation_id=None, content="Hello")
    parts = [{"type": "text", "text": "So far"}]
    # As a checkpoint leaves it: the parts alone.
    Message.objects.filter(pk=sent.answers[0].pk).update(parts=parts)
    copy = fork(sent.answers[0])
    assert [(row.status, row.text) for row in copies(copy)] == [("complete", "Hello"), ("interrupted", "So far")]
    assert reload(sent.answers[0]).status == MessageStatus.STREAMING
    assert copy.generations.count() == 0
    assert copies(copy)[1].token_estimate == nodes.estimate_tokens("So far")


def test_a_copy_of_half_an_answer_can_be_continued(user, fork):
    sent = messages.send(user=user, conversation_id=None, content="Hello")
    Message.objects.filter(pk=sent.answers[0].pk).update(parts=[{"type": "text", "text": "So far"}])
    copy = fork(sent.answers[0])
    messages.continue_answer(user=user, conversation_id=copy.pk, message_id=copy.active_leaf_id)
    assert copy.generations.count() == 1


def test_an_answer_that_was_interrupted_before_is_copied_as_it_is(user, source, path, fork):
    Message.objects.filter(pk=path[1].pk).update(status=MessageStatus.INTERRUPTED, token_estimate=4711)
    assert copies(fork(path[1]))[1].token_estimate == 4711


def test_a_fork_goes_through_every_run_of_the_path(source, path, fork):
    side = make_path(conversation=source, length=3, parent=path[2])
    deeper = make_path(conversation=source, length=2, parent=side[1])
    make_message(conversation=source, parent=side[0], stand=False)
    rows = copies(fork(deeper[-1]))
    assert [row.copied_from_id for row in rows] == [m.pk for m in (*path[:3], *side[:2], *deeper)]
    page = paths.path_page(conversation=Conversation.objects.get(pk=rows[0].conversation_id))
    assert [message.sibling_count for message in page.messages] == [1] * 7


def test_a_fork_may_have_a_title_of_its_own(source, path, fork):
    assert (fork(path[1]).title, fork(path[1]).title_source) == ("Bread", source.title_source)
    named = fork(path[1], title=" Rye ")
    assert (named.title, named.title_source) == ("Rye", TitleSource.USER)
    for bad in ("x" * 501, "a\x00", "  "):
        with pytest.raises(InvalidField):
            fork(path[1], title=bad)
    assert Conversation.objects.count() == 4


def test_what_happens_in_a_fork_stays_there(user, source, path, fork):
    copy = fork(path[3])
    rows = copies(copy)
    conversations.rename(user=user, conversation_id=copy.pk, title="Rye")
    messages.set_favourite(user=user, conversation_id=copy.pk, message_id=rows[1].pk, favourite=True)
    branches.delete_message(user=user, conversation_id=copy.pk, message_id=rows[2].pk)
    make_message(conversation=reload(copy), parent=rows[1])
    assert [message.text for message in copies(source)] == [message.text for message in path]
    assert standing_ids(source) == {message.pk for message in path}
    assert (reload(source).title, reload(source).active_leaf) == ("Bread", path[-1])
    assert not reload(path[1]).is_favourite
    branches.delete_message(user=user, conversation_id=source.pk, message_id=path[0].pk)
    assert len(standing_ids(copy)) == 3


def test_foreign_unknown_and_deleted_messages_are_not_forked(user, stranger, source, path, fork):
    branches.delete_message(user=user, conversation_id=source.pk, message_id=path[4].pk)
    for who, where, what in (
        (stranger, source.pk, path[1].pk), (user, source.pk, path[5].pk), (user, source.pk, uuid4()),
        (user, uuid4(), path[1].pk), (user, "no id", path[1].pk), (user, source.pk, "no id"),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            forks.fork(user=who, conversation_id=where, message_id=what)
    assert Conversation.objects.count() == 1


def test_a_long_path_is_copied_in_batches(user, django_assert_max_num_queries):
    source = bulk.build_conversation(user=user, messages=1300, forks=20, seed=3)
    leaf = source.active_leaf
    copy = forks.fork(user=user, conversation_id=source.pk, message_id=leaf.pk)
    assert Message.objects.filter(conversation=copy).count() == leaf.depth + 1
    assert reload(copy).active_leaf.copied_from == leaf


# --- with its first answer --------------------------------------------------------------------------------------


def test_a_fork_at_a_question_is_answered_by_the_model_that_answered_last(user, source, path):
    Message.objects.filter(pk=path[1].pk).update(provider="demo", model_id="bough")
    Message.objects.filter(pk=path[3].pk).update(provider="scripted", model_id="model")
    copy = forks.fork_and_answer(user=user, conversation_id=source.pk, message_id=path[4].pk)
    (generation,) = copy.generations.all()
    assert generation.request["model"] == "scripted/model"
    assert copies(copy)[-1].role == Role.ASSISTANT
    assert reload(copy).active_leaf == copies(copy)[-1]


def test_a_model_that_is_gone_is_no_reason_to_refuse_a_fork(user, source, path):
    Message.objects.filter(pk=path[3].pk).update(provider="elsewhere", model_id="gone")
    copy = forks.fork_and_answer(user=user, conversation_id=source.pk, message_id=path[4].pk)
    assert copy.generations.count() == 1


def test_a_fork_at_an_answer_is_left_unanswered(user, source, path):
    copy = forks.fork_and_answer(user=user, conversation_id=source.pk, message_id=path[3].pk, title="Rye")
    assert (copy.title, copy.generations.count()) == ("Rye", 0)


def test_where_no_answer_may_begin_there_is_no_fork(user, source, path, settings):
    settings.GENERATIONS_AT_ONCE = 0
    with pytest.raises(TooManyRequests):
        forks.fork_and_answer(user=user, conversation_id=source.pk, message_id=path[4].pk)
    assert list(Conversation.objects.all()) == [source]
    assert Message.objects.count() == len(path)


# --- the family -------------------------------------------------------------------------------------------------


def members(user, conversation):
    found = forks.family(user=user, conversation_id=conversation.pk)
    return [(member.pk, member.snippet, member.messages_after) for member in found]


def test_a_family_is_the_root_and_its_forks_by_age_from_every_member(user, source, path, fork):
    child = fork(path[3])
    grandchild = fork(copies(child)[1])
    expected = [source.pk, child.pk, grandchild.pk]
    for member in (source, child, grandchild):
        assert [pk for pk, *_ in members(user, member)] == expected
    conversations.delete(user=user, conversation_id=child.pk)
    assert [pk for pk, *_ in members(user, source)] == [source.pk, grandchild.pk]


def test_a_member_shows_its_first_own_question_and_how_far_it_went_on(user, source, path, fork):
    child = fork(path[3])
    assert members(user, child) == [(source.pk, "Message 0", 6), (child.pk, "Message 2", 0)]
    leaf = reload(child).active_leaf
    make_path(conversation=child, length=4, parent=leaf, text="Own")
    assert members(user, child)[1] == (child.pk, "Own 0", 4)


def test_members_of_equal_age_are_told_apart_by_their_ids(user, source, path, fork):
    a, b = fork(path[1]), fork(path[2])
    Conversation.objects.filter(pk__in=[source.pk, a.pk, b.pk]).update(created_at=NOON)
    assert [pk for pk, *_ in members(user, b)] == [source.pk, *sorted([a.pk, b.pk])]


def test_an_empty_member_has_no_snippet(user, source, path, fork):
    child = fork(path[0])
    branches.delete_message(user=user, conversation_id=child.pk, message_id=child.active_leaf_id)
    assert members(user, child)[1] == (child.pk, "", 0)


def test_a_family_of_one_is_the_conversation_itself(user, stranger, source):
    assert members(user, source) == [(source.pk, "", 0)]
    with pytest.raises(NotFound):
        forks.family(user=stranger, conversation_id=source.pk)


def test_a_family_costs_the_same_queries_at_any_size(user, source, path, fork, django_assert_num_queries):
    for _ in range(2):
        for message in path:
            fork(message)
        with django_assert_num_queries(3):
            forks.family(user=user, conversation_id=source.pk)
