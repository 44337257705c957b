"""Frames as they leave: their JSON, and tails sent as what was added."""

import json

from hypothesis import given
from hypothesis import strategies as st

from apps.streaming import frames

texts = st.text(alphabet="ab<é🌳", max_size=80)


def test_frames_are_compact_json_in_the_language_they_are_written_in():
    assert frames.encode({"type": "status", "a": 1, "word": "denkt über 🌳"}) == (
        '{"type":"status","a":1,"word":"denkt über 🌳"}'
    )


def test_half_a_surrogate_pair_still_makes_a_frame_that_can_be_sent():
    encoded = frames.encode({"tail": "a\ud83d"})
    encoded.encode()
    assert json.loads(encoded) == {"tail": "a\ud83d"}


def test_what_is_no_news_is_left_out():
    assert frames.answer(3, []) == {"type": "answer", "a": 3, "parts": []}
    assert frames.part(0, 2, [], "") == {"i": 0, "from": 2}
    assert frames.part(0, 2, ["<p>"], "x", kind="text") == {
        "i": 0,
        "from": 2,
        "kind": "text",
        "settled": ["<p>"],
        "tail": "x",
    }
    assert frames.ended(1, "m", "complete", {}, None)["html"] is None


def test_a_tail_that_shares_little_is_sent_whole():
    assert frames.patch_tail("<p>one</p>", "<p>two</p>") == "<p>two</p>"
    assert frames.patch_tail("", "x" * 100) == "x" * 100


def test_a_growing_tail_is_sent_as_what_was_added():
    before, now = "<p>" + "word " * 20 + "</p>", "<p>" + "word " * 20 + "more</p>"
    assert frames.patch_tail(before, now) == {"keep": 103, "add": "more</p>"}


@given(texts, texts, texts)
def test_a_patched_tail_is_the_new_tail(common, one, other):
    before, now = common + one, common + other
    length = frames.common_prefix(before, now)
    assert before[:length] == now[:length]
    assert length == min(len(before), len(now)) or before[length] != now[length]
    tail = frames.patch_tail(before, now)
    assert now == (tail if isinstance(tail, str) else before[: tail["keep"]] + tail["add"])
