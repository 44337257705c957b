"""Pages on which several answers to one message stand side by side, and the ways to them and back."""

import re

import pytest
from django.urls import reverse
from django.utils import timezone

from apps.conversations.models import Generation, GenerationState, MessageStatus, Purpose
from apps.core.ids import new_id
from tests.factories import make_conversation, make_message, make_path, reload

HTMX = {"HX-Request": "true"}


@pytest.fixture
def conversation(user):
    return make_conversation(owner=user, title="Trees")


@pytest.fixture
def question(conversation):
    return make_path(conversation=conversation, length=3)[-1]


def make_batch(question, *statuses, user):
    """Answer a message by one model for each status; the owner stands on the first."""
    batch, answers = new_id(), []
    for rank, status in enumerate(statuses):
        running = status == MessageStatus.STREAMING
        answer = make_message(
            conversation=question.conversation,
            parent=question,
            text=f"Answer {rank}.",
            stand=rank == 0,
            status=status,
            model_id=f"model-{rank}",
            provider="scripted",
        )
        Generation.objects.create(
            conversation=question.conversation,
            message=answer,
            user=user,
            purpose=Purpose.ANSWER,
            state=GenerationState.QUEUED if running else GenerationState.COMPLETED,
            batch=batch,
            rank=rank,
            queued_at=timezone.now(),
            finished_at=None if running else timezone.now(),
        )
        answers.append(answer)
    return answers


@pytest.fixture
def batch(question, user):
    return make_batch(question, *[MessageStatus.COMPLETE] * 3, user=user)


def address(name, *ids):
    return reverse(f"conversations:{name}", args=[getattr(one, "pk", one) for one in ids])


def comparing(conversation, question):
    return f"{address('detail', conversation)}?compare={question.pk}"


def html(response):
    return response.content.decode()


def columns(page):
    """List the ids of the columns, and the one that the path goes through."""
    found = re.findall(r'class="column" id="column-([0-9a-f-]{36})" data-column="[^"]+"( data-current)?', page)
    return [pk for pk, _ in found], [pk for pk, current in found if current]


def ids(*messages):
    return [str(message.pk) for message in messages]


def answer_below(answer):
    """Go on below an answer."""
    return make_path(conversation=answer.conversation, length=2, parent=answer)


# --- side by side -----------------------------------------------------------------------------------------------


def test_answers_of_a_batch_that_ends_the_path_stand_side_by_side(signed_in, conversation, batch):
    page = html(signed_in.get(address("detail", conversation)))
    assert columns(page) == (ids(*batch), ids(batch[0]))
    assert page.count('aria-pressed="true" ') + page.count('data-action="choose"') >= 3
    assert f'name="parent_id" value="{batch[0].pk}"' in page
    assert all(f"model-{rank}</h2>" in page for rank in range(3))


def test_answers_asked_for_one_after_the_other_do_not(signed_in, conversation, question):
    make_message(conversation=conversation, parent=question, text="One.")
    make_message(conversation=conversation, parent=question, text="Two.")
    page = html(signed_in.get(address("detail", conversation)))
    assert columns(page) == ([], [])
    assert f'href="{comparing(conversation, question)}#m-' in page


def test_once_the_conversation_goes_on_the_path_shows_one_of_them(signed_in, conversation, batch):
    answer_below(batch[1])
    page = html(signed_in.get(address("detail", conversation)))
    assert columns(page) == ([], [])
    assert "Answer 1." in page
    assert "Answer 0." not in page
    assert 'aria-label="Previous version, 2 of 3"' in page


def test_comparing_is_an_address_that_shows_them_again_with_what_came_below(signed_in, conversation, question, batch):
    below = answer_below(batch[1])
    page = html(signed_in.get(comparing(conversation, question)))
    assert columns(page) == (ids(*batch), ids(batch[1]))
    assert f'id="m-{below[-1].pk}"' in page
    assert 'data-version="close"' in page
    assert f'name="parent_id" value="{below[-1].pk}"' in page


def test_there_is_nothing_to_close_where_they_stand_side_by_side_anyway(signed_in, conversation, question, batch):
    assert 'data-version="close"' not in html(signed_in.get(comparing(conversation, question)))


def test_comparing_reaches_up_to_an_older_page(signed_in, conversation, question, batch):
    make_path(conversation=conversation, length=70, parent=batch[2])
    page = html(signed_in.get(comparing(conversation, question)))
    assert columns(page) == (ids(*batch), ids(batch[2]))


@pytest.mark.parametrize("compare", ["", "no-id", "00000000-0000-0000-0000-000000000000"])
def test_comparing_what_is_not_there_shows_the_path(signed_in, conversation, batch, compare):
    answer_below(batch[0])
    page = signed_in.get(address("detail", conversation), {"compare": compare})
    assert page.status_code == 200
    assert columns(html(page)) == ([], [])


def test_nobody_compares_anothers_answers(client, stranger, conversation, question, batch):
    client.force_login(stranger)
    assert client.get(comparing(conversation, question)).status_code == 404
    other = make_conversation(owner=stranger)
    make_path(conversation=other, length=2)
    page = html(client.get(comparing(other, question)))
    assert "Answer 0." not in page


def test_of_many_the_newest_eight_are_shown_and_the_one_of_the_path(signed_in, conversation, question, user):
    many = [make_message(conversation=conversation, parent=question, stand=number == 0) for number in range(12)]
    page = html(signed_in.get(comparing(conversation, question)))
    assert columns(page) == (ids(many[0], *many[5:]), ids(many[0]))
    assert "of 12, the newest" in page


def test_a_deleted_answer_has_no_column(signed_in, conversation, batch):
    signed_in.post(address("message_delete", conversation, batch[1]))
    assert columns(html(signed_in.get(address("detail", conversation))))[0] == ids(batch[0], batch[2])


def test_each_column_says_how_its_answer_ended_and_what_can_be_done(signed_in, conversation, question, user):
    done, failed, running = make_batch(
        question, MessageStatus.COMPLETE, MessageStatus.FAILED, MessageStatus.STREAMING, user=user
    )
    page = html(signed_in.get(address("detail", conversation)))
    words = re.findall(r"<small data-word>(\w+)</small>", page)
    assert words == ["done", "failed", "writing"]
    assert f'formaction="{address("message_regenerate", conversation, failed)}"' in page
    generation = Generation.objects.get(message=running)
    assert f'name="generation" value="{generation.pk}" data-action="stop" aria-label="Stop model-2"' in page
    assert f'name="generation" value="{Generation.objects.get(message=done).pk}"' not in page


def test_stop_says_whether_it_stops_one_or_all(signed_in, conversation, question, user):
    running = make_batch(question, MessageStatus.STREAMING, MessageStatus.STREAMING, user=user)
    assert '<span class="label">Stop all</span>' in html(signed_in.get(address("detail", conversation)))
    body = {"generation": Generation.objects.get(message=running[1]).pk}
    assert signed_in.post(address("stop", conversation), body).status_code == 303
    states = Generation.objects.order_by("rank").values_list("state", flat=True)
    assert list(states) == [GenerationState.QUEUED, GenerationState.STOPPED]
    assert '<span class="label">Stop</span>' in html(signed_in.get(address("detail", conversation)))


def test_an_article_alone_is_the_same_as_in_its_column(signed_in, conversation, batch):
    page = html(signed_in.get(address("detail", conversation)))
    for answer in batch:
        alone = html(signed_in.get(address("message", conversation, answer), headers=HTMX)).strip()
        assert re.sub(r"\s+", " ", alone) in re.sub(r"\s+", " ", page)


# --- going on with one ------------------------------------------------------------------------------------------


def test_continuing_with_one_moves_the_path_and_keeps_the_columns(signed_in, conversation, batch):
    response = signed_in.post(address("message_select", conversation, batch[2]), {"compare": ""}, headers=HTMX)
    assert reload(conversation).active_leaf_id == batch[2].pk
    assert columns(html(response)) == (ids(*batch), ids(batch[2]))


def test_continuing_with_one_ends_the_comparison(signed_in, conversation, question, batch):
    answer_below(batch[1])
    here = HTMX | {"HX-Current-URL": f"http://testserver{comparing(conversation, question)}#m-{batch[1].pk}"}
    url = address("message_select", conversation, batch[1])
    response = signed_in.post(url, {"compare": ""}, headers=here)
    assert columns(html(response)) == ([], [])
    assert response["HX-Push-Url"] == address("detail", conversation)
    plain = signed_in.post(url, {"compare": "", "next": comparing(conversation, question)})
    assert plain["Location"] == f"{address('detail', conversation)}#m-{batch[1].pk}"


def test_other_acts_keep_the_comparison(signed_in, conversation, question, batch):
    below = answer_below(batch[1])
    here = HTMX | {"HX-Current-URL": f"http://testserver{comparing(conversation, question)}"}
    response = signed_in.post(address("message_delete", conversation, below[-1]), headers=here)
    assert columns(html(response))[0] == ids(*batch)
    assert "HX-Push-Url" not in response
    form = {"next": comparing(conversation, question)}
    plain = signed_in.post(address("message_delete", conversation, below[0]), form)
    assert plain["Location"].startswith(f"{comparing(conversation, question)}#m-")


# --- asking another model ---------------------------------------------------------------------------------------


def test_asking_another_model_offers_the_others_first(signed_in, conversation, question):
    answer = make_message(conversation=conversation, parent=question, provider="scripted", model_id="model")
    page = html(signed_in.get(address("message_ask", conversation, answer)))
    assert "<html" in page
    assert re.search(r'<option value="demo/bough" selected>', page)
    part = html(signed_in.get(address("message_ask", conversation, answer), headers=HTMX)).strip()
    assert part.startswith("<form")
    assert f'name="compare" value="{question.pk}"' in part


def test_the_model_that_was_asked_answers_beside_the_first(signed_in, conversation, question):
    answer = make_message(conversation=conversation, parent=question, provider="scripted", model_id="model")
    body = {"model": "demo/bough", "compare": str(question.pk)}
    here = HTMX | {"HX-Current-URL": f"http://testserver{address('detail', conversation)}"}
    response = signed_in.post(address("message_regenerate", conversation, answer), body, headers=here)
    begun = reload(conversation).active_leaf
    assert (begun.provider, begun.model_id) == ("demo", "bough")
    assert columns(html(response)) == (ids(answer, begun), ids(begun))
    assert response["HX-Push-Url"] == f"{comparing(conversation, question)}#m-{begun.pk}"


def test_without_a_script_asking_leads_to_the_comparison(signed_in, conversation, question):
    answer = make_message(conversation=conversation, parent=question)
    body = {"model": "demo/bough", "compare": str(question.pk)}
    response = signed_in.post(address("message_regenerate", conversation, answer), body)
    assert response.status_code == 303
    begun = reload(conversation).active_leaf
    assert response["Location"] == f"{comparing(conversation, question)}#m-{begun.pk}"


def test_regenerating_asks_the_model_that_answered_whatever_is_chosen_below(signed_in, conversation, question):
    answer = make_message(conversation=conversation, parent=question, provider="demo", model_id="bough")
    page = html(signed_in.get(address("detail", conversation)))
    assert 'name="model" value="demo/bough" data-action="regenerate"' in page
    signed_in.post(address("message_regenerate", conversation, answer), {"model": "demo/bough"})
    assert reload(conversation).active_leaf.model_id == "bough"


def test_what_is_asked_anew_in_a_column_comes_beside_the_others(signed_in, conversation, question, batch):
    response = signed_in.post(
        address("message_regenerate", conversation, batch[1]), {"model": "demo/bough"}, headers=HTMX
    )
    begun = reload(conversation).active_leaf
    assert columns(html(response)) == (ids(*batch, begun), ids(begun))


def test_an_edited_message_is_answered_by_all_that_are_chosen(signed_in, conversation, question):
    url = address("message_edit", conversation, question)
    assert 'name="model" aria-label="Model to answer"' in html(signed_in.get(url, headers=HTMX))
    body = {"content": "Anew", "mode": "branch", "model": "demo/bough", "models": ["scripted/model", "demo/bough"]}
    page = html(signed_in.post(url, body, headers=HTMX))
    assert len(columns(page)[0]) == 3
    names = Generation.objects.order_by("rank").values_list("request__model", flat=True)
    assert list(names) == ["demo/bough", "scripted/model", "demo/bough"]


def test_sending_to_several_gives_the_turn_with_its_columns(signed_in, conversation, question):
    body = {"content": "Go", "model": "demo/bough", "models": ["scripted/model"]}
    page = html(signed_in.post(address("send", conversation), body, headers=HTMX))
    leaf = reload(conversation).active_leaf_id
    assert len(columns(page)[0]) == 2
    assert columns(page)[1] == [str(leaf)]
    assert page.count("data-live=") == 2
    plain = signed_in.get(address("detail", conversation))
    shown, fresh = (re.findall(r'<section class="beside".*?</section>', one, re.S)[0] for one in (page, html(plain)))
    assert shown == fresh


def test_what_several_refused_is_back_in_the_form_with_the_choice(signed_in, conversation, question):
    body = {"content": "  ", "model": "demo/bough", "models": ["scripted/model"]}
    page = html(signed_in.post(address("send", conversation), body))
    assert re.search(r'<details class="more-models no-script-only" open>', page)
    assert '<option value="scripted/model" selected>' in page
    many = signed_in.post(address("send", conversation), {"content": "Go", "models": ["demo/bough"] * 9})
    assert many.status_code == 422
    assert not Generation.objects.exists()


def test_a_model_that_is_not_there_is_refused(signed_in, conversation, question, batch):
    url = address("message_regenerate", conversation, batch[1])
    assert signed_in.post(url, {"model": "none/such"}).status_code == 422
    assert reload(conversation).active_leaf_id == batch[0].pk


# --- cost -------------------------------------------------------------------------------------------------------

BATCH_QUERIES = 15


@pytest.mark.parametrize(("length", "number"), [(4, 2), (200, 8)])
def test_columns_cost_the_same_at_any_length_and_number(
    signed_in, conversation, user, length, number, django_assert_num_queries
):
    question = make_path(conversation=conversation, length=length + 1)[-1]
    make_batch(question, *[MessageStatus.COMPLETE] * number, user=user)
    signed_in.get(address("detail", conversation))
    with django_assert_num_queries(BATCH_QUERIES):
        page = signed_in.get(address("detail", conversation))
    assert len(columns(html(page))[0]) == number


def test_a_path_without_siblings_asks_nothing_more(signed_in, conversation, django_assert_num_queries):
    make_path(conversation=conversation, length=60)
    signed_in.get(address("detail", conversation))
    with django_assert_num_queries(BATCH_QUERIES - 4):
        signed_in.get(address("detail", conversation))
