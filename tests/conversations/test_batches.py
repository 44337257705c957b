"""Several models answering one message: one batch, one lock, siblings in the order in which the models were named."""

import pytest

from apps.conversations.models import Conversation, Generation, Message, MessageRevision
from apps.conversations.services import batches, generations, leases, messages, paths
from apps.core import errors
from tests.factories import make_conversation, make_path, reload

pytestmark = pytest.mark.django_db
THREE = ["demo/bough", "scripted/model", "demo/bough"]
EIGHT = ["scripted/model", "demo/bough"] * 4


def rows():
    """Everything that a refused act must leave as it was."""
    kinds = (Conversation, Message, MessageRevision, Generation)
    return [list(kind.objects.order_by("pk").values()) for kind in kinds]


@pytest.fixture
def path(user):
    """A question and its answer."""
    return make_path(conversation=make_conversation(owner=user, title="Trees"), length=2)


@pytest.fixture
def where(user, path):
    return {"user": user, "conversation_id": path[0].conversation_id}


@pytest.fixture
def acts(where, path):
    """Every act that can be answered by several models, as functions of what they are given."""
    question, answer = path
    return {
        "send": lambda **given: messages.send(**where, content="More", **given),
        "regenerate": lambda **given: messages.regenerate(**where, message_id=answer.pk, **given),
        "edit": lambda **given: messages.edit(**where, message_id=question.pk, content="Other words", **given),
    }


ACTS = pytest.mark.parametrize("act", ["send", "regenerate", "edit"])


def names(answers):
    return [f"{answer.provider}/{answer.model_id}" for answer in answers]


def end(generation, state="completed", text="An answer.", owner="test:1:a"):
    """End one claimed generation, as its runner would."""
    lease = generations.Lease(generation.pk, owner, generation.attempt)
    parts = [{"type": "text", "text": text}] if text else []
    leases.finish(generations.Ending(lease, generation.message_id, generation.conversation_id, state, parts, "stop"))


def claim():
    """Take all queued answers, in the order of their ranks."""
    return leases.claim(owner="test:1:a", limit=50)


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
    assert [(generation.rank, generation.message_id) for generation in begun] == list(
        enumerate(answer.pk for answer in answers)
    )
    assert len({generation.batch for generation in begun}) == 1
    assert reload(sent.conversation).active_leaf == answers[0]


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


# --- what a page shows ------------------------------------------------------------------------------------------


def page(conversation):
    return paths.path_page(conversation=reload(conversation)).messages


@ACTS
def test_a_page_finds_the_batch_of_an_answer_with_all_its_members(acts, act, django_assert_num_queries):
    sent = acts[act](models=THREE)
    shown = page(sent.conversation)
    with django_assert_num_queries(2):
        found = batches.on_path(shown)
    assert list(found) == [sent.answers[0].pk]
    batch = found[sent.answers[0].pk]
    assert batch.id == sent.generations[0].batch
    assert batch.members == sent.answers
    assert batch.members[0] is shown[-1]
    afresh = list(Message.objects.filter(pk__in=[member.pk for member in batch.members]).siblings_in_order())
    paths.attach_siblings(afresh)
    for member, other in zip(batch.members, afresh, strict=True):
        for name in ("sibling_index", "sibling_count", "previous_sibling_id", "next_sibling_id"):
            assert getattr(member, name) == getattr(other, name)
