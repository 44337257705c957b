"""Server-Sent Events as bytes: positions count code points, every event is whole, and writing one is cheap."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.conversations.api.events import MAX_PLACE, Position, cut_before, delta_event, named_event, parse_position
from apps.core.errors import Malformed
from apps.streaming.answers import Delta
from tests.conversations.event_streams import read_events

LIVE = "01a1fbb7-4903-7411-9093-0c075dce76dd"
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


def delta(text, *, part=0, offset=0, kind="text", attempt=1):
    return Delta(LIVE, attempt, part, kind, offset, text)


@given(texts, st.integers(0, 9), st.integers(0, 99_999))
def test_any_text_comes_out_as_it_went_in_with_the_position_behind_it(text, part, offset):
    (event,) = read_events(delta_event(delta(text, part=part, offset=offset)))
    assert event.data == {"part": part, "offset": offset, "text": text}
    assert event.id == f"{LIVE}:1:{part}:{offset + len(text)}"


def test_offsets_count_code_points_not_bytes_or_utf16():
    (event,) = read_events(delta_event(delta("👩‍👩‍👧é")))
    assert event.id.endswith(":6")


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\rb", "\n\n", "a\u2028b", "data: x", "\x85"])
def test_line_ends_inside_a_text_never_end_a_line_of_the_stream(text):
    raw = delta_event(delta(text))
    assert raw.count(b"\n") == 4
    assert b"\r" not in raw
    assert read_events(raw)[0].data["text"] == text


@pytest.mark.parametrize(("kind", "name"), [("text", "delta"), ("reasoning", "reasoning"), ("tool_call", "tool")])
def test_the_kind_of_a_part_names_its_events(kind, name):
    assert read_events(delta_event(delta("x", kind=kind)))[0].name == name


def test_half_a_surrogate_pair_keeps_its_place_without_breaking_the_stream():
    (event,) = read_events(delta_event(delta("a\ud800b")))
    assert (event.data["text"], event.id.rpartition(":")[2]) == ("a?b", "3")


@given(st.integers(0, MAX_PLACE), st.integers(0, MAX_PLACE), st.integers(1, 999))
def test_a_position_reads_back_as_it_was_written(part, offset, attempt):
    position = Position(LIVE, attempt, min(part, 999_999_999), min(offset, 999_999_999))
    assert parse_position(str(position)) == position


def test_numbers_beyond_any_answer_are_clamped():
    assert parse_position(f"{LIVE}:1:{'9' * 5000}:99999999999").part == MAX_PLACE


@pytest.mark.parametrize(
    "text",
    ["", "x", LIVE, f"{LIVE}:1:2", f"{LIVE}:1:2:-3", f"{LIVE}:a:0:0", f"{LIVE}:1:0:0:0", f"{LIVE}:1:0:²"],
)
def test_what_is_no_position_is_refused(text):
    with pytest.raises(Malformed):
        parse_position(text)


@given(texts, st.integers(0, 80), st.integers(0, 80), st.integers(0, 2))
def test_cutting_before_a_place_leaves_exactly_what_lies_behind_it(text, offset, place, part):
    left = cut_before(delta(text, part=1, offset=offset), part, place)
    kept = [offset + index for index in range(len(text)) if (1, offset + index) >= (part, place)]
    assert (left.text if left else "") == "".join(text[index - offset] for index in kept)
    assert left is None or left.offset == kept[0]


def test_named_events_are_json_with_an_id():
    (event,) = read_events(named_event("end", Position(LIVE, 2, 1, 5), {"status": "complete"}))
    assert (event.name, event.id, event.data) == ("end", f"{LIVE}:2:1:5", {"status": "complete"})


def test_writing_an_event_costs_far_less_than_sixty_microseconds():
    piece = delta("some words of an answer, as twenty a second carry them\n", offset=1200)
    best = min(_seconds_for(500, piece) for _ in range(5))
    assert best / 500 < 30e-6


def _seconds_for(times, piece):
    start = time.perf_counter()
    for _ in range(times):
        delta_event(piece)
    return time.perf_counter() - start


def test_data_is_one_line_of_json():
    raw = delta_event(delta('"quoted" \\ and / more'))
    assert json.loads(raw.split(b"data: ")[1])["text"] == '"quoted" \\ and / more'
