"""Views of messages and lists: words, groups, actions; most without a database."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from apps.conversations import presenters
from apps.conversations.models import Conversation, Generation, GenerationState, Message, MessageStatus, Role
from apps.core.ids import new_id

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NAMES = {"demo/bough": "Bough demo"}


def make_answer(**fields):
    values = {"role": Role.ASSISTANT, "provider": "demo", "model_id": "bough", "text": "Words.", "created_at": NOW}
    values["parts"] = [{"type": "text", "text": "Words."}]
    return Message(id=new_id(), conversation_id=new_id(), **{**values, **fields})


def make_row(updated_at, **fields):
    conversation = Conversation(id=new_id(), title="Title", updated_at=updated_at, created_at=updated_at, **fields)
    return presenters.present_row(conversation)


def headings(*moments, zone=UTC):
    return [group.key for group in presenters.group_rows(map(make_row, moments), now=NOW, zone=zone)]


def test_rows_are_grouped_by_the_day_of_their_last_change():
    days = [0, 1, 2, 7, 8, 30]
    assert headings(*(NOW - timedelta(days=day) for day in days)) == ["today", "yesterday", "week", "month"]


def test_older_rows_are_grouped_by_month_and_then_by_year():
    moments = [datetime(2026, 9, 3, tzinfo=UTC), datetime(2026, 9, 1, tzinfo=UTC), datetime(2025, 12, 31, tzinfo=UTC)]
    assert headings(*moments) == ["2026-09", "2025"]


def test_the_day_is_the_readers_day():
    late = datetime(2026, 11, 19, 23, 30, tzinfo=UTC)
    assert headings(late) == ["yesterday"]
    assert headings(late, zone=ZoneInfo("Europe/Berlin")) == ["today"]


def test_a_later_page_does_not_repeat_the_heading_it_continues():
    rows = [make_row(NOW), make_row(NOW - timedelta(days=1))]
    groups = presenters.group_rows(rows, now=NOW, zone=UTC, continues="today")
    assert [group.is_continued for group in groups] == [True, False]


def test_a_row_says_whether_it_is_unread_or_being_answered():
    conversation = Conversation(id=new_id(), updated_at=NOW, answered_at=NOW, seen_at=NOW - timedelta(seconds=1))
    assert presenters.present_row(conversation).state == "unread"
    assert presenters.present_row(conversation, {conversation.pk}).state == "running"
    conversation.seen_at = NOW
    assert presenters.present_row(conversation).state == "idle"


def test_turns_begin_with_each_message_of_the_user():
    question, answer = make_answer(role=Role.USER), make_answer()
    turns = presenters.present_turns([answer, question, answer, question], names=NAMES)
    assert [len(turn.messages) for turn in turns] == [1, 2, 1]


@pytest.mark.parametrize(
    ("fields", "name", "can_continue"),
    [
        ({"status": MessageStatus.STOPPED}, "stopped", True),
        ({"status": MessageStatus.STOPPED, "text": ""}, "stopped", False),
        ({"status": MessageStatus.INTERRUPTED}, "interrupted", True),
        ({"status": MessageStatus.FAILED, "error_code": "key_refused"}, "failed", True),
        ({"status": MessageStatus.FAILED, "error_code": "overloaded"}, "waits", True),
        ({"finish_reason": "length"}, "stopped", True),
        ({"finish_reason": "content_filter"}, "waits", False),
    ],
)
def test_an_answer_that_is_not_whole_says_so_and_what_can_be_done(fields, name, can_continue):
    view = presenters.present_message(make_answer(**fields), names=NAMES)
    assert view.state is not None
    assert (view.state.name, view.state.can_continue, view.state.can_retry) == (name, can_continue, True)
    assert not view.can_regenerate, "the words offer it already"


def test_a_failure_is_told_in_the_providers_sentence():
    message = make_answer(status=MessageStatus.FAILED, error_message="OpenAI refused the API key.")
    assert presenters.present_message(message, names=NAMES).state.words == "OpenAI refused the API key."


@pytest.mark.parametrize(
    ("fields", "text", "name"),
    [
        ({"state": GenerationState.QUEUED}, "", "waiting"),
        ({"state": GenerationState.RUNNING}, "", "thinking"),
        ({"state": GenerationState.RUNNING}, "Words.", "writing"),
        ({"state": GenerationState.RUNNING, "stop_requested_at": NOW}, "Words.", "stopping"),
    ],
)
def test_an_answer_being_written_says_what_it_does(fields, text, name):
    generation = Generation(id=new_id(), **fields)
    parts = [{"type": "text", "text": text}] if text else []
    view = presenters.present_message(make_answer(text="", parts=parts), generation=generation, names=NAMES)
    assert view.state.name == name
    assert view.live == str(generation.pk)
    assert not view.can_continue


def test_a_whole_answer_can_be_regenerated_and_continued_unless_archived():
    view = presenters.present_message(make_answer(), names=NAMES)
    assert (view.state, view.can_regenerate, view.can_continue) == (None, True, True)
    archived = presenters.present_message(make_answer(), names=NAMES, is_writable=False)
    assert (archived.can_regenerate, archived.can_continue) == (False, False)


def test_an_answer_has_its_models_name_whatever_became_of_the_model():
    assert presenters.assistant_name(make_answer(), NAMES) == "Bough demo"
    assert presenters.assistant_name(make_answer(model_id="gpt-4-0314"), NAMES) == "gpt-4-0314"
    assert presenters.assistant_name(make_answer(model_id=""), NAMES) == "Assistant"


def test_a_users_text_is_shown_as_typed_and_an_answer_is_rendered():
    parts = [{"type": "text", "text": "**bold** <b>"}]
    said = presenters.present_message(make_answer(role=Role.USER, parts=parts), names=NAMES)
    answer = presenters.present_message(make_answer(parts=parts), names=NAMES)
    assert (said.parts[0].text, said.parts[0].html) == ("**bold** <b>", "")
    assert "<strong>bold</strong> &lt;b&gt;" in answer.parts[0].html


@pytest.mark.parametrize(
    ("milliseconds", "label"),
    [
        (None, "Reasoning"),
        (200, "Thought for 1 second"),
        (14_200, "Thought for 14 seconds"),
        (61_000, "Thought for 1 minute"),
        (150_000, "Thought for 2 minutes"),
    ],
)
def test_reasoning_says_how_long_it_took(milliseconds, label):
    assert presenters.reasoning_label(milliseconds) == label


def test_siblings_show_only_where_there_are_some():
    alone, second = make_answer(), make_answer()
    second.sibling_index, second.sibling_count = 2, 2
    second.previous_sibling_id, second.next_sibling_id = new_id(), None
    assert presenters.present_message(alone, names=NAMES).siblings is None
    shown = presenters.present_message(second, names=NAMES).siblings
    assert (shown.index, shown.count, shown.next_url) == (2, 2, "")
    assert shown.previous_url.endswith(f"/m/{second.previous_sibling_id}/select/")


def test_models_are_grouped_by_provider_in_the_order_given():
    models = [SimpleNamespace(model_id=f"{p}/{n}", name=n, provider=p) for p, n in [("b", "x"), ("a", "y"), ("b", "z")]]
    groups = presenters.group_models(models)
    assert [(group.provider, len(group.models)) for group in groups] == [("b", 2), ("a", 1)]


def test_rows_without_a_zone_use_the_sites_own():
    assert presenters.group_rows([make_row(timezone.now())], now=timezone.now())[0].key == "today"


def test_an_answer_says_its_model_tokens_and_speed_and_nothing_it_does_not_know():
    message = Message(provider="openai", model_id="x", completion_tokens=50, ttft_ms=500, duration_ms=2500)
    info = dict(presenters.present_info(message))
    assert info["Model"] == "openai/x"
    assert info["Tokens in / out"] == "– / 50"
    assert info["First token"] == "0.50 s"
    assert info["Speed"] == "25 tokens/s"
    assert dict(presenters.present_info(Message()))["Speed"] == "–"
