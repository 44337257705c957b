"""Forms that change something: what each does, and that bad input changes nothing and loses no text."""

import re

import pytest
from django.urls import reverse
from django.utils import timezone

from apps.conversations.models import Conversation, Generation, GenerationState, Message, MessageStatus
from apps.conversations.services import branches, conversations, forks
from apps.core.ids import new_id
from tests.factories import make_conversation, make_message, make_path, reload

HTMX = {"HX-Request": "true"}


@pytest.fixture
def conversation(user):
    return make_conversation(owner=user, title="Trees")


@pytest.fixture
def path(conversation):
    """A question, its answer, a second question, its answer."""
    return make_path(conversation=conversation, length=4)


def address(name, *ids):
    return reverse(f"conversations:{name}", args=[getattr(one, "pk", one) for one in ids])


def html(response):
    return response.content.decode()


def state():
    """Everything that a refused action must leave as it was."""
    return (
        list(Conversation.objects.order_by("pk").values()),
        list(Message.objects.order_by("pk").values()),
        list(Generation.objects.order_by("pk").values("pk", "state")),
    )


# --- sending ----------------------------------------------------------------------------------------------------


def test_sending_from_the_start_makes_a_conversation_and_leads_to_it(signed_in, user):
    response = signed_in.post(reverse("conversations:send_new"), {"content": "Why are tides twice a day?"})
    conversation = Conversation.objects.get(owner=user)
    question = Message.objects.get(conversation=conversation, role="user")
    assert response.status_code == 303
    assert response["Location"] == f"{address('detail', conversation)}#m-{question.pk}"


def test_the_start_asks_the_five_questions_too(client, signed_in, user):
    url = reverse("conversations:send_new")
    assert signed_in.get(url).status_code == 405
    assert signed_in.post(url, {"content": "  "}).status_code == 400
    client.logout()
    assert client.post(url, {"content": "Hello"}).status_code == 302
    assert not Conversation.objects.exists()


def test_a_refused_first_message_is_back_in_the_box(signed_in, settings):
    settings.MESSAGE_CHARACTERS = 5
    response = signed_in.post(reverse("conversations:send_new"), {"content": "too long <b>"})
    assert response.status_code == 413
    assert "too long &lt;b&gt;</textarea>" in html(response)
    assert 'role="alert">The message has 12 characters; the limit is 5.' in html(response)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"content": "   "}, 400),
        ({"content": "Kept\x00words"}, 422),
        ({"content": "Kept words", "model": "none/such"}, 422),
        ({"content": "Kept words", "parent_id": "00000000-0000-0000-0000-000000000000"}, 409),
        ({"content": "Kept words", "client_id": "x" * 101}, 422),
    ],
)
def test_a_bad_message_changes_nothing_and_keeps_the_text(signed_in, conversation, path, body, status):
    before = state()
    response = signed_in.post(address("send", conversation), body)
    assert response.status_code == status
    assert 'role="alert"' in html(response)
    assert body["content"].strip().replace("\x00", "\x00") in html(response)
    assert signed_in.post(address("send", conversation), body, headers=HTMX).status_code == status
    assert state() == before


def test_sending_while_an_answer_runs_is_refused_with_the_text_kept(signed_in, conversation, path):
    signed_in.post(address("send", conversation), {"content": "First"})
    before = state()
    response = signed_in.post(address("send", conversation), {"content": "Second"})
    assert response.status_code == 409
    assert "Second</textarea>" in html(response)
    assert "http-equiv" not in html(response), "a page that reloads itself would lose the text"
    assert state() == before


def test_scripts_get_the_turn_and_learn_the_address(signed_in, user):
    response = signed_in.post(reverse("conversations:send_new"), {"content": "Why?"}, headers=HTMX)
    conversation = Conversation.objects.get(owner=user)
    page = html(response)
    assert response.status_code == 200
    assert response["X-Bough-Conversation"] == str(conversation.pk)
    assert response["HX-Push-Url"] == address("detail", conversation)
    assert re.findall(r'data-role="(\w+)"', page) == ["user", "assistant"]
    assert f'data-live="{Generation.objects.get().pk}"' in page


def test_the_same_client_id_is_one_message(signed_in, conversation, path):
    body = {"content": "Once", "client_id": "5f0c"}
    first = signed_in.post(address("send", conversation), body)
    again = signed_in.post(address("send", conversation), body)
    assert first["Location"] == again["Location"]
    assert Message.objects.filter(text="Once").count() == 1


def test_sending_below_an_older_message_makes_a_branch_and_says_so(signed_in, conversation, path):
    body = {"content": "Instead", "parent_id": str(path[1].pk)}
    response = signed_in.post(address("send", conversation), body, headers=HTMX)
    assert "this is a new branch" in html(response)
    assert 'aria-label="Previous version, 2 of 2"' in html(response)


def test_line_ends_of_forms_are_undone(signed_in, conversation):
    signed_in.post(address("send", conversation), {"content": "one\r\ntwo"})
    assert Message.objects.get(role="user").text == "one\ntwo"


# --- answers ----------------------------------------------------------------------------------------------------


def test_stopping_keeps_the_text_and_is_harmless_twice(signed_in, conversation, path):
    signed_in.post(address("send", conversation), {"content": "Go"})
    assert signed_in.post(address("stop", conversation)).status_code == 303
    assert signed_in.post(address("stop", conversation), headers=HTMX).status_code == 204
    assert Generation.objects.get().state == GenerationState.STOPPED


def test_regenerating_stands_on_a_sibling_and_keeps_the_old_answer(signed_in, conversation, path):
    page = html(signed_in.post(address("message_regenerate", conversation, path[3]), headers=HTMX))
    leaf = reload(conversation).active_leaf
    assert leaf.parent_id == path[2].pk
    assert leaf.pk != path[3].pk
    assert 'aria-label="Previous version, 2 of 2"' in page
    assert reload(path[3]).deletion is None


def test_regenerating_a_users_message_is_refused(signed_in, conversation, path):
    before = state()
    assert signed_in.post(address("message_regenerate", conversation, path[2])).status_code == 400
    assert state() == before


def test_an_error_to_htmx_goes_beside_the_page(signed_in, conversation, path):
    signed_in.post(address("send", conversation), {"content": "Go"})
    response = signed_in.post(address("message_regenerate", conversation, path[3]), headers=HTMX)
    assert response.status_code == 409
    assert (response["HX-Retarget"], response["HX-Reswap"]) == ("#toasts", "beforeend")
    assert 'role="alert"' in html(response)


def test_continuing_writes_on_in_the_same_message(signed_in, conversation, path):
    Message.objects.filter(pk=path[3].pk).update(status=MessageStatus.STOPPED)
    page = html(signed_in.post(address("message_continue", conversation, path[3]), headers=HTMX))
    assert page.count("<article") == 1
    assert "data-live" in page
    assert Generation.objects.get().message_id == path[3].pk


def test_continuing_a_users_message_is_refused(signed_in, conversation, path):
    before = state()
    assert signed_in.post(address("message_continue", conversation, path[2])).status_code == 400
    assert state() == before


# --- editing ----------------------------------------------------------------------------------------------------


def test_an_edited_question_is_a_sibling_with_a_new_answer(signed_in, conversation, path):
    url = address("message_edit", conversation, path[2])
    page = html(signed_in.post(url, {"content": "Changed.", "mode": "branch"}, headers=HTMX))
    assert "Changed." in page
    assert "data-live" in page
    assert reload(path[2]).text == "Message 2"


def test_saving_only_keeps_place_and_answers(signed_in, conversation, path):
    url = address("message_edit", conversation, path[2])
    response = signed_in.post(url, {"content": "Changed.", "mode": "save"})
    assert response["Location"].endswith(f"#m-{path[2].pk}")
    assert reload(path[2]).text == "Changed."
    assert reload(conversation).active_leaf_id == path[3].pk


@pytest.mark.parametrize(("content", "mode", "status"), [("  ", "branch", 400), ("Kept", "other", 422)])
def test_a_bad_edit_changes_nothing_and_keeps_the_text(signed_in, conversation, path, content, mode, status):
    before = state()
    url = address("message_edit", conversation, path[2])
    response = signed_in.post(url, {"content": content, "mode": mode})
    part = signed_in.post(url, {"content": content, "mode": mode}, headers=HTMX)
    assert response.status_code == part.status_code == status
    assert f"{content}</textarea>" in html(response)
    assert part["HX-Retarget"] == f"#m-{path[2].pk}"
    assert state() == before


def test_the_editor_holds_the_text_and_htmx_gets_it_in_the_messages_place(signed_in, conversation, path):
    page = html(signed_in.get(address("message_edit", conversation, path[2]), headers=HTMX))
    assert page.strip().startswith("<article")
    assert f'id="m-{path[2].pk}"' in page
    assert "Message 2</textarea>" in page


# --- branches ---------------------------------------------------------------------------------------------------


def test_choosing_a_version_moves_there_for_good(signed_in, conversation, path):
    other = make_message(conversation=conversation, parent=path[0], text="Other.", stand=False)
    page = html(signed_in.post(address("message_select", conversation, other), headers=HTMX))
    assert "Other." in page
    assert reload(conversation).active_leaf_id == other.pk


def test_a_version_far_above_the_leaf_comes_with_all_below_it(signed_in, conversation, path):
    other = make_message(conversation=conversation, parent=path[0], text="Short.", stand=False)
    make_path(conversation=conversation, length=120, parent=path[3])
    signed_in.post(address("message_select", conversation, other))
    page = html(signed_in.post(address("message_select", conversation, path[1]), headers=HTMX))
    assert f'id="m-{path[1].pk}"' in page
    assert page.count("<article") >= 123


def test_deleting_says_how_many_would_go(signed_in, conversation, path):
    page = html(signed_in.get(address("message_delete", conversation, path[1])))
    assert "Delete this message and the 2 below it?" in page
    assert "Yours: 1, answers: 2." in page
    assert "Delete this message?" in html(signed_in.get(address("message_delete", conversation, path[3])))


def test_the_count_knows_branches_and_not_what_was_deleted(signed_in, user, conversation, path):
    make_message(conversation=conversation, parent=path[1], text="Branch.", stand=False)
    branches.delete_message(user=user, conversation_id=conversation.pk, message_id=path[3].pk)
    page = html(signed_in.get(address("message_delete", conversation, path[1])))
    assert "the 2 below it" in page


def test_deleting_offers_to_undo_and_undo_brings_all_back(signed_in, conversation, path):
    response = signed_in.post(address("message_delete", conversation, path[1]), follow=True)
    undo = address("message_restore", conversation, path[1])
    assert "3 messages deleted." in html(response)
    assert f'action="{undo}"' in html(response)
    signed_in.post(undo)
    assert Message.objects.standing().count() == 4
    assert reload(conversation).active_leaf_id == path[3].pk


def test_deleting_by_htmx_brings_the_path_and_the_way_back(signed_in, conversation, path):
    page = html(signed_in.post(address("message_delete", conversation, path[2]), headers=HTMX))
    assert f'id="m-{path[1].pk}"' in page
    assert f'id="m-{path[2].pk}"' not in page
    assert 'hx-swap-oob="beforeend:#toasts"' in page
    assert f'action="{address("message_restore", conversation, path[2])}"' in page


def test_a_favourite_is_marked_and_unmarked(signed_in, conversation, path):
    url = address("message_favourite", conversation, path[1])
    assert "Favourite" in html(signed_in.post(url, {"favourite": "1"}, headers=HTMX))
    assert reload(path[1]).is_favourite
    signed_in.post(url, {"favourite": "0"})
    assert not reload(path[1]).is_favourite


def test_a_fork_at_an_answer_waits_and_one_at_a_question_is_answered(signed_in, conversation, path):
    response = signed_in.post(address("message_fork", conversation, path[1]))
    fork = Conversation.objects.get(parent_conversation=conversation)
    assert response["Location"] == address("detail", fork)
    assert not Generation.objects.exists()
    signed_in.post(address("message_fork", conversation, path[2]), headers=HTMX)
    assert Generation.objects.count() == 1


def test_a_fork_that_may_not_be_answered_is_not_made(signed_in, conversation, path, settings):
    settings.GENERATIONS_AT_ONCE = 0
    before = state()
    assert signed_in.post(address("message_fork", conversation, path[2])).status_code == 429
    assert state() == before


def test_a_family_is_listed_in_its_members(signed_in, user, conversation, path):
    fork = forks.fork(user=user, conversation_id=conversation.pk, message_id=path[1].pk, title="A fork")
    page = html(signed_in.get(address("detail", fork)))
    assert 'id="family"' in page
    assert f'href="{address("detail", conversation)}"' in page
    assert "A fork" in page


# --- conversations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", ["  ", "x" * 501, "NUL\x00"])
def test_a_bad_title_changes_nothing_and_is_kept(signed_in, conversation, title):
    before = state()
    response = signed_in.post(address("rename", conversation), {"title": title})
    part = signed_in.post(address("rename", conversation), {"title": title}, headers=HTMX)
    assert response.status_code == part.status_code == 422
    assert 'aria-invalid="true"' in html(response)
    assert 'class="rename"' in html(part)
    assert state() == before


def test_renaming_by_htmx_brings_the_row(signed_in, conversation):
    page = html(signed_in.post(address("rename", conversation), {"title": "Boughs"}, headers=HTMX))
    assert page.strip().startswith(f'<li class="row" id="row-{conversation.pk}"')
    assert "Boughs" in page


def test_pinning_leads_back_to_where_the_form_stood(signed_in, user, conversation):
    other = address("detail", make_conversation(owner=user))
    response = signed_in.post(address("pin", conversation), {"pinned": "1", "next": other})
    assert response["Location"] == other
    assert reload(conversation).is_pinned
    signed_in.post(address("pin", conversation), {"pinned": "0"})
    assert not reload(conversation).is_pinned


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_no_form_leads_to_another_site(signed_in, conversation, target):
    response = signed_in.post(address("pin", conversation), {"pinned": "1", "next": target})
    assert response["Location"] == address("detail", conversation)


def test_archiving_the_open_one_leads_home_with_a_way_back(signed_in, conversation, path):
    body = {"next": address("detail", conversation)}
    response = signed_in.post(address("archive", conversation), body, follow=True)
    assert response.redirect_chain == [("/", 303)]
    assert f'action="{address("unarchive", conversation)}"' in html(response)
    assert reload(conversation).is_archived


def test_deleting_offers_undo_and_undo_leads_back(signed_in, conversation, path):
    page = html(signed_in.post(address("delete", conversation), follow=True))
    assert f'action="{address("restore", conversation)}"' in page
    assert signed_in.get(address("detail", conversation)).status_code == 404
    assert signed_in.post(address("restore", conversation))["Location"] == address("detail", conversation)
    assert signed_in.get(address("detail", conversation)).status_code == 200


def test_a_root_with_forks_asks_what_becomes_of_them(signed_in, user, conversation, path):
    fork = forks.fork(user=user, conversation_id=conversation.pk, message_id=path[1].pk)
    response = signed_in.post(address("delete", conversation))
    assert response.status_code == 409
    assert 'value="detach"' in html(response)
    assert reload(conversation).deleted_at is None
    signed_in.post(address("delete", conversation), {"forks": "detach"})
    assert reload(conversation).deleted_at is not None
    assert reload(fork).root_conversation_id == fork.pk


def test_bad_choices_are_refused_and_nothing_changes(signed_in, conversation, path):
    before = state()
    assert signed_in.post(address("delete", conversation), {"forks": "eat"}).status_code in (400, 422)
    assert signed_in.post(address("model", conversation), {"model": "x\x00"}).status_code == 422
    assert state() == before


def test_the_model_is_kept_with_the_conversation_and_shown_as_chosen(signed_in, conversation):
    assert signed_in.post(address("model", conversation), {"model": "demo/bough"}, headers=HTMX).status_code == 204
    assert '<option value="demo/bough" selected>' in html(signed_in.get(address("detail", conversation)))


def test_looking_marks_as_seen(signed_in, conversation):
    conversations.Conversation.objects.filter(pk=conversation.pk).update(answered_at=timezone.now(), seen_at=None)
    assert signed_in.post(address("seen", conversation), headers=HTMX).status_code == 204
    assert not reload(conversation).is_unread


def test_forged_forms_are_refused(user, conversation, path):
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    before = state()
    assert client.post(address("archive", conversation)).status_code == 403
    assert state() == before


def test_a_new_id_is_nobodys(signed_in):
    assert signed_in.post(address("stop", new_id())).status_code == 404
