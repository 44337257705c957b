import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.providers.base import Finished, ReasoningDelta, TextDelta, ToolCallDelta, UsageReport
from apps.providers.openai_chunks import ChunkReader, CutChunk, ErrorChunk, MalformedChunk


def read(*pieces: bytes, line_limit: int = 10_000):
    reader = ChunkReader(line_limit=line_limit)
    return [event for piece in pieces for event in reader.feed(piece)] + list(reader.end())


def line(chunk: object) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def delta(**fields: object) -> bytes:
    return line({"choices": [{"delta": fields}]})


def text_of(events) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@given(
    words=st.lists(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), max_size=8),
    cuts=st.lists(st.integers(0, 2_000), max_size=30),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    as_ascii=st.booleans(),
)
def test_any_cut_of_a_stream_gives_the_same_text(words, cuts, end, as_ascii):
    chunks = [json.dumps({"choices": [{"delta": {"content": word}}]}, ensure_ascii=as_ascii) for word in words]
    body = b"".join(b"data: " + chunk.encode() + end + end for chunk in chunks) + b"data: [DONE]" + end + end
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    pieces = [body[a:b] for a, b in itertools.pairwise(places)]
    assert text_of(read(*pieces)) == "".join(words)


@given(st.text(st.characters(codec=None), min_size=1), st.lists(st.integers(0, 200), max_size=5))
def test_text_cut_anywhere_even_within_surrogate_pairs_is_storable_and_the_same(text, cuts):
    utf16 = text.encode("utf-16-le", "surrogatepass")
    halves = [utf16[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(utf16), 2)]
    places = sorted({0, len(halves), *(cut for cut in cuts if cut < len(halves))})
    pieces = ["".join(halves[a:b]) for a, b in itertools.pairwise(places)]
    got = text_of(read(*(delta(content=piece) for piece in pieces)))
    assert got == utf16.decode("utf-16-le", "replace").replace("\x00", "\ufffd")
    assert all(event.text for event in read(*(delta(content=piece) for piece in pieces)))


def test_a_half_character_at_the_end_is_replaced_in_text_and_reasoning():
    events = read(delta(content="a\ud83c"), delta(reasoning="b\ud83c"))
    assert events == [TextDelta("a"), ReasoningDelta("b"), ReasoningDelta("\ufffd"), TextDelta("\ufffd")]


def test_bytes_that_are_no_utf8_are_replaced():
    assert text_of(read(b'data: {"choices":[{"delta":{"content":"a\xffb"}}]}\n\n')) == "a\ufffdb"


def test_the_last_line_may_lack_its_end():
    assert text_of(read(delta(content="a").rstrip())) == "a"


def test_an_end_inside_a_line_is_a_cut():
    with pytest.raises(CutChunk):
        read(b'data: {"choices":[{"del')


def test_nothing_after_done_is_read():
    reader = ChunkReader()
    assert list(reader.feed(b"data: [DONE]\n\n" + delta(content="late") + b"data: {broken\n\n")) == []
    assert reader.is_done


def test_other_lines_of_server_sent_events_say_nothing():
    assert read(b": ping\n\nevent: x\nid: 4\nretry: 9\ndata:\ndata: \n\nfoo\n") == []


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_has_two_names(name):
    assert read(delta(**{name: "hm", "content": None})) == [ReasoningDelta("hm")]


def test_typed_parts_are_read_as_text_and_reasoning():
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "so"}, {"type": "text", "text": " so"}]},
        {"type": "text", "text": "yes"},
    ]
    assert read(delta(content=parts)) == [ReasoningDelta("so so"), TextDelta("yes")]


def test_a_refusal_of_the_model_is_text():
    assert read(delta(refusal="I can't.")) == [TextDelta("I can't.")]


def test_tool_calls_without_index_are_counted_and_empty_names_are_none():
    calls = [{"id": "a", "function": {"name": "f", "arguments": None}}, {"id": "", "function": {"name": ""}}, {}]
    assert read(delta(tool_calls=calls)) == [
        ToolCallDelta(0, "a", "f", ""),
        ToolCallDelta(1, None, None, ""),
        ToolCallDelta(2, None, None, ""),
    ]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("eos_token", "stop"),
    ],
)
def test_finish_reasons_are_translated(theirs, ours):
    assert read(line({"choices": [{"delta": {}, "finish_reason": theirs}]})) == [Finished(ours)]


def test_a_repeated_finish_reason_counts_once():
    finish = line({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    assert read(finish, finish) == [Finished("stop")]


def test_a_whole_message_in_place_of_deltas_is_read():
    whole = {"choices": [{"message": {"content": "all"}, "finish_reason": "stop"}]}
    assert read(line(whole)) == [TextDelta("all"), Finished("stop")]


@pytest.mark.parametrize(
    ("usage", "report"),
    [
        ({"prompt_tokens": 1, "completion_tokens": 2}, UsageReport(1, 2, None, None)),
        (
            {"prompt_tokens_details": {"cached_tokens": 3}, "completion_tokens_details": {"reasoning_tokens": 4}},
            UsageReport(None, None, 4, 3),
        ),
        ({"prompt_cache_hit_tokens": 5, "prompt_tokens_details": None}, UsageReport(None, None, None, 5)),
        ({"prompt_tokens": -1, "completion_tokens": "many"}, UsageReport()),
    ],
)
def test_usage_is_read_and_what_is_no_count_is_unknown(usage, report):
    assert read(line({"choices": [], "usage": usage})) == [report]


def test_usage_repeated_in_each_chunk_is_told_when_it_changes():
    events = read(*(line({"usage": {"prompt_tokens": count}}) for count in (1, 1, 2)))
    assert events == [UsageReport(prompt_tokens=1), UsageReport(prompt_tokens=2)]


@pytest.mark.parametrize("form", [b"data: %b\n\n", b"%b\n", b"event: error\ndata: %b\n\n"])
def test_an_error_is_raised_after_the_events_before_it(form):
    reader = ChunkReader()
    events = reader.feed(delta(content="a") + form % b'{"error": {"message": "m"}}')
    assert next(events) == TextDelta("a")
    with pytest.raises(ErrorChunk) as caught:
        next(events)
    assert caught.value.error == {"message": "m"}


def test_error_as_finish_reason_is_an_error():
    with pytest.raises(ErrorChunk) as caught:
        read(line({"choices": [{"finish_reason": "error", "error": {"code": 502}}]}))
    assert caught.value.error == {"code": 502}


@pytest.mark.parametrize(
    "data",
    [
        b"{broken",
        b"[]",
        b"7",
        b"null",
        b'"text"',
        b'{"choices": 7}',
        b'{"choices": [7]}',
        b'{"choices": {"a": 1}}',
        b'{"choices": [{"delta": [1]}]}',
        b'{"choices": [{"delta": {"content": 7}}]}',
        b'{"choices": [{"delta": {"content": [{"type": "image"}]}}]}',
        b'{"choices": [{"delta": {"content": [7]}}]}',
        b'{"choices": [{"delta": {"reasoning": {"a": 1}}}]}',
        b'{"choices": [{"delta": {"tool_calls": 7}}]}',
        b'{"choices": [{"delta": {"tool_calls": [7]}}]}',
        b'{"choices": [{"delta": {"tool_calls": [{"index": "x"}]}}]}',
        b'{"choices": [{"delta": {"tool_calls": [{"function": {"arguments": {"a": 1}}}]}}]}',
        b'{"choices": [{"delta": {"tool_calls": [{"id": 7}]}}]}',
        b'{"choices": [{"delta": {}, "finish_reason": ["stop"]}]}',
        b'{"usage": 7}',
        b"[" * 100_000,
    ],
)
def test_what_is_not_of_the_wires_form_is_malformed(data):
    with pytest.raises(MalformedChunk):
        read(b"data: " + data + b"\n\n", line_limit=1_000_000)


def test_a_line_longer_than_the_limit_is_malformed_before_it_ends():
    reader = ChunkReader(line_limit=100)
    assert list(reader.feed(b"data: " + b"x" * 94)) == []
    with pytest.raises(MalformedChunk):
        list(reader.feed(b"x"))


def test_a_huge_line_in_many_pieces_is_joined_once():
    body = delta(content="x" * 1_000_000)
    pieces = [body[at : at + 100] for at in range(0, len(body), 100)]
    assert text_of(read(*pieces, line_limit=2_000_000)) == "x" * 1_000_000
