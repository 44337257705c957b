"""Pages that are read: each answers whole without a script, and in part to htmx, at a constant number of queries."""

import json
import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from apps.conversations.models import ConversationStatus, Generation, GenerationState, MessageStatus, Purpose
from apps.conversations.services import conversations
from apps.core.ids import new_id
from tests.factories import make_conversation, make_message, make_path, reload

HTMX = {"HX-Request": "true"}
NOW = timezone.now()


@pytest.fixture
def conversation(user):
    return make_conversation(owner=user, title="Trees")


@pytest.fixture
def path(conversation):
    return make_path(conversation=conversation, length=4)


@pytest.fixture
def live_answer(conversation, user):
    question = make_message(conversation=conversation, text="Why?")
    answer = make_message(
        conversation=conversation, parent=question, text="Becau", status=MessageStatus.STREAMING, model_id="bough"
    )
    fields = {"state": GenerationState.RUNNING, "purpose": Purpose.ANSWER, "queued_at": timezone.now()}
    lease = {"lease_owner": "elsewhere:1:x", "lease_until": timezone.now() + timedelta(minutes=1)}
    Generation.objects.create(conversation=conversation, message=answer, user=user, attempt=1, **fields, **lease)
    return answer


def address(name, *ids):
    return reverse(f"conversations:{name}", args=[getattr(one, "pk", one) for one in ids])


def html(response):
    return response.content.decode()


# --- the start --------------------------------------------------------------------------------------------------


def test_the_start_has_a_greeting_a_composer_and_four_starters(signed_in):
    page = html(signed_in.get("/"))
    assert 'aria-label="Message"' in page
    assert page.count("data-starter=") == 4
    assert f'action="{reverse("conversations:send_new")}"' in page


def test_a_starter_fills_the_box_without_a_script(signed_in):
    assert ">Explain tides.</textarea>" in html(signed_in.get("/?q=Explain tides."))


def test_the_start_writes_nothing(signed_in, user):
    signed_in.get("/")
    assert not user.conversations.exists()


def test_the_demo_model_says_what_it_is_only_where_it_is_alone(signed_in, scripted):
    from apps.models.services import catalogue
    from apps.providers import registry
    from apps.providers.demo import DemoChat

    assert "built-in demo model" not in html(signed_in.get("/"))
    with registry.installed(DemoChat()):
        catalogue.forget()
        assert "built-in demo model" in html(signed_in.get("/"))


@pytest.mark.parametrize("name", ["home", "sidebar", "archive_list"])
def test_lists_ask_for_sign_in(client, db, name):
    response = client.get(address(name))
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("account_login"))


# --- a conversation ---------------------------------------------------------------------------------------------


def test_a_conversation_shows_its_path_with_names(signed_in, conversation, path):
    page = html(signed_in.get(address("detail", conversation)))
    assert all(f'id="m-{message.pk}"' in page for message in path)
    assert page.count('<h2 class="sr-only"') >= 2
    assert "Trees · Bough" in page
    assert f'name="parent_id" value="{path[-1].pk}"' in page


def test_a_strangers_conversation_looks_like_none(client, stranger, conversation):
    client.force_login(stranger)
    answers = [client.get(address("detail", pk)) for pk in (conversation.pk, new_id(), "no-id")]
    assert {answer.status_code for answer in answers} == {404}
    assert len({re.sub(r"Reference: \w+", "", html(answer)) for answer in answers}) == 1


def test_the_newest_fifty_come_first_and_the_rest_in_pages_to_the_root(signed_in, conversation):
    path = make_path(conversation=conversation, length=130)
    seen, next_page = [], address("detail", conversation)
    for _page in range(3):
        page = html(signed_in.get(next_page, headers=HTMX))
        seen = re.findall(r'id="m-([0-9a-f-]{36})"', page) + seen
        found = re.search(r'id="older" href="([^"]+)"', page)
        next_page = found[1].replace("&amp;", "&") if found else None
    assert seen == [str(message.pk) for message in path]
    assert next_page is None


def test_an_older_page_is_a_whole_page_without_a_script(signed_in, conversation):
    path = make_path(conversation=conversation, length=60)
    page = html(signed_in.get(address("older", conversation), {"before": path[10].pk}))
    assert "<html" in page
    assert f'id="m-{path[9].pk}"' in page
    assert f'id="m-{path[10].pk}"' not in page
    assert 'id="composer"' not in page, "a message written here would begin a branch nobody asked for"


def test_reading_a_branch_shows_it_and_moves_nothing(signed_in, conversation, path):
    other = make_message(conversation=conversation, parent=path[0], text="Another answer.", stand=False)
    page = html(signed_in.get(address("detail", conversation), {"leaf": other.pk}))
    assert "Another answer." in page
    assert f'name="parent_id" value="{other.pk}"' in page
    assert reload(conversation).active_leaf_id == path[-1].pk


def test_a_deleted_leaf_is_told_and_not_a_404(signed_in, conversation, path):
    page = html(signed_in.get(address("detail", conversation), {"leaf": new_id()}))
    assert "That message was deleted." in page
    assert f'id="m-{path[-1].pk}"' in page


def test_siblings_have_named_buttons_and_ends_are_disabled(signed_in, conversation, path):
    make_message(conversation=conversation, parent=path[0], text="Second.", stand=False)
    page = html(signed_in.get(address("detail", conversation)))
    assert 'aria-label="Previous version, 1 of 2"' in page
    assert 'aria-label="Next version, 1 of 2"' in page
    previous = re.search(r'<button[^>]*data-version="previous"[^>]*>', page)[0]
    assert "disabled" in previous


def test_htmx_gets_the_main_part_alone(signed_in, conversation, path):
    response = signed_in.get(address("detail", conversation), headers=HTMX)
    page = html(response)
    assert "<html" not in page
    assert "<title>Trees · Bough</title>" in page
    assert 'id="scroller"' in page
    assert "HX-Request" in response["Vary"]


def test_the_page_reloads_itself_without_a_script_only_while_an_answer_runs(signed_in, conversation, live_answer):
    url = address("detail", conversation)
    refresh = f'<noscript><meta http-equiv="refresh" content="2; url={url}"></noscript>'
    assert refresh in html(signed_in.get(address("detail", conversation)))
    Generation.objects.update(state=GenerationState.COMPLETED, finished_at=timezone.now())
    assert refresh not in html(signed_in.get(address("detail", conversation)))


def test_a_running_answer_shows_its_text_so_far_and_stop(signed_in, conversation, live_answer):
    page = html(signed_in.get(address("detail", conversation)))
    generation = Generation.objects.get()
    assert f'data-live="{generation.pk}"' in page
    assert "Becau" in page
    stop = re.search(r"<button[^>]*data-action=\"stop\"[^>]*>", page)[0]
    assert "hidden" not in stop


def test_text_of_users_and_models_never_becomes_markup(signed_in, conversation):
    bad = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    question = make_message(conversation=conversation, text=bad)
    make_message(conversation=conversation, parent=question, text=bad)
    conversations.rename(user=conversation.owner, conversation_id=conversation.pk, title=bad)
    page = html(signed_in.get(address("detail", conversation)))
    assert "<script>alert" not in page
    assert "<img src=x" not in page


def test_pages_have_no_inline_script_or_style(signed_in, conversation, path):
    for page in (html(signed_in.get("/")), html(signed_in.get(address("detail", conversation)))):
        scripts = re.findall(r"<script([^>]*)>", page)
        assert all("src=" in one or "importmap" in one or "application/json" in one for one in scripts)
        assert not re.search(r"\sstyle=|\son\w+=|<style", page)


def test_the_configuration_of_htmx_is_what_we_rely_on(signed_in):
    found = re.search(r"<meta name=\"htmx-config\" content='([^']+)'>", html(signed_in.get("/")))
    config = json.loads(found[1])
    assert config["historyCacheSize"] == 0
    assert config["historyRestoreAsHxRequest"] is False
    assert config["allowEval"] is False
    assert "style" not in config["attributesToSettle"], "the policy refuses style attributes"
    assert {"code": "(409|422)", "swap": True, "error": False} in config["responseHandling"]


def test_an_archived_conversation_shows_a_banner_and_no_way_to_send(signed_in, conversation, path, user):
    conversations.set_status(user=user, conversation_id=conversation.pk, status=ConversationStatus.ARCHIVED)
    page = html(signed_in.get(address("detail", conversation)))
    assert "This conversation is archived." in page
    assert re.search(r"<textarea[^>]*disabled", page)
    assert 'data-action="regenerate"' not in page


def test_the_theme_is_in_the_page_from_its_first_byte(signed_in, user):
    from apps.accounts.services import preferences

    assert "data-theme" not in html(signed_in.get("/")).split("<head>")[0]
    preferences.set_theme(user=user, theme="dark")
    assert 'data-theme="dark"' in html(signed_in.get("/")).split("<head>")[0]


# --- articles ---------------------------------------------------------------------------------------------------


def test_scripts_get_one_article(signed_in, conversation, path):
    page = html(signed_in.get(address("message", conversation, path[1]), headers=HTMX))
    assert page.count("<article") == 1
    assert f'id="m-{path[1].pk}"' in page


def test_others_are_led_to_the_message_on_its_path(signed_in, conversation, path):
    response = signed_in.get(address("message", conversation, path[1]))
    assert response.status_code == 303
    assert response["Location"].endswith(f"?leaf={path[1].pk}#m-{path[1].pk}")


def test_an_article_of_another_conversation_is_not_found(signed_in, user, path):
    other = make_conversation(owner=user)
    assert signed_in.get(address("message", other, path[0]), headers=HTMX).status_code == 404


def test_polling_stops_with_the_answer(signed_in, conversation, live_answer):
    url = f"{address('live', conversation)}?m={live_answer.pk}"
    assert signed_in.get(url, headers=HTMX).status_code == 200
    Generation.objects.update(state=GenerationState.COMPLETED, finished_at=timezone.now())
    assert signed_in.get(url, headers=HTMX).status_code == 286


# --- lists ------------------------------------------------------------------------------------------------------


def make_list(user, number):
    for index in range(number):
        conversation = make_conversation(owner=user, title=f"Number {index}")
        conversations.Conversation.objects.filter(pk=conversation.pk).update(updated_at=NOW - timedelta(hours=index))


def test_the_list_pages_by_key_without_repeating_or_missing_a_row(signed_in, user):
    make_list(user, 95)
    seen, next_page = [], address("sidebar")
    while next_page:
        page = html(signed_in.get(next_page, headers=HTMX))
        seen += re.findall(r'id="row-([0-9a-f-]{36})"', page)
        found = re.search(r'class="sidebar-older" href="([^"]+)"', page)
        next_page = found[1].replace("&amp;", "&") if found else None
    assert len(seen) == len(set(seen)) == 95


def test_a_later_page_of_the_list_has_its_heading_once(signed_in, user):
    for _index in range(50):
        make_conversation(owner=user)
    page = html(signed_in.get(address("sidebar"), headers=HTMX))
    older = re.search(r'class="sidebar-older" href="([^"]+)"', page)[1].replace("&amp;", "&")
    assert page.count("<h3>Today</h3>") == 1
    assert "<h3>" not in html(signed_in.get(older, headers=HTMX))


def test_the_list_is_a_page_without_a_script(signed_in, conversation):
    page = html(signed_in.get(address("sidebar")))
    assert "<h1" in page
    assert "Trees" in page


def test_a_broken_cursor_is_400(signed_in):
    assert signed_in.get(address("sidebar"), {"before": "rubbish"}, headers=HTMX).status_code == 400


def test_pinned_ones_come_first_and_once(signed_in, user, conversation):
    make_list(user, 2)
    conversations.set_pinned(user=user, conversation_id=conversation.pk, pinned=True)
    page = html(signed_in.get(address("sidebar"), headers=HTMX))
    assert page.count(f'id="row-{conversation.pk}"') == 1
    assert page.index("Pinned") < page.index("Number 0")


def test_archived_ones_are_on_their_own_page(signed_in, user, conversation):
    conversations.set_status(user=user, conversation_id=conversation.pk, status=ConversationStatus.ARCHIVED)
    assert "Trees" not in html(signed_in.get(address("sidebar"), headers=HTMX))
    assert "Trees" in html(signed_in.get(address("archive_list")))
    assert html(signed_in.get(address("row", conversation), headers=HTMX)) == ""


def test_a_row_says_that_an_answer_runs(signed_in, conversation, live_answer):
    assert 'data-state="running"' in html(signed_in.get(address("row", conversation), headers=HTMX))


def test_nobody_sees_anothers_list(client, stranger, conversation):
    client.force_login(stranger)
    assert "Trees" not in html(client.get("/"))
    assert "Trees" not in html(client.get(address("archive_list")))


# --- cost -------------------------------------------------------------------------------------------------------

# One of them asks whether the last answer is one of several, for it has siblings.
PAGE_QUERIES = 12
LIST_QUERIES = 5


@pytest.mark.parametrize("length", [10, 200])
def test_opening_a_conversation_costs_the_same_at_any_length(
    signed_in, conversation, length, django_assert_num_queries
):
    path = make_path(conversation=conversation, length=length)
    make_message(conversation=conversation, parent=path[-2], text="Another.", stand=False)
    signed_in.get(address("detail", conversation))
    with django_assert_num_queries(PAGE_QUERIES):
        assert signed_in.get(address("detail", conversation)).status_code == 200


@pytest.mark.parametrize("number", [5, 39])
def test_the_list_costs_the_same_at_any_length(signed_in, user, number, django_assert_num_queries):
    make_list(user, number)
    signed_in.get(address("sidebar"), headers=HTMX)
    with django_assert_num_queries(LIST_QUERIES):
        assert signed_in.get(address("sidebar"), headers=HTMX).status_code == 200
