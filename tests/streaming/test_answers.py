"""Live answers and readers: whatever a bus loses, repeats or mixes up, a reader ends with the writer's text."""

from hypothesis import given
from hypothesis import strategies as st

from apps.streaming.answers import Delta, LiveAnswer, Parts, PartText, Reader, Snapshot

kinds = st.sampled_from(["text", "reasoning", "tool_call"])
texts = st.text(alphabet="ab é字🌳\n", min_size=1, max_size=6)
flushes = st.lists(st.lists(st.tuples(kinds, texts), max_size=3), min_size=1, max_size=12)


def flush(answer: LiveAnswer, pieces: list[tuple[str, str]]) -> list[Delta]:
    for kind, text in pieces:
        answer.add(kind, text)
    return answer.take()


def snapshot_of(answer: LiveAnswer) -> Snapshot:
    return Snapshot(answer.attempt, answer.parts)


def merged(pieces: list[tuple[str, str]]) -> tuple[PartText, ...]:
    """Join neighbours of one kind: what an answer made of these pieces must say."""
    parts: list[PartText] = []
    for kind, text in pieces:
        if parts and parts[-1].kind == kind:
            parts[-1] = PartText(kind, parts[-1].text + text)
        else:
            parts.append(PartText(kind, text))
    return tuple(parts)


def assert_is_beginning(known: tuple[PartText, ...], truth: tuple[PartText, ...]) -> None:
    assert known[:-1] == truth[: len(known) - 1] if known else True
    assert all(truth[i].text.startswith(part.text) for i, part in enumerate(known))


def test_a_change_of_kind_opens_a_new_part():
    answer = LiveAnswer("g", 1)
    for kind, text in [("reasoning", "hm"), ("reasoning", "m"), ("text", ""), ("text", "Yes"), ("reasoning", "?")]:
        answer.add(kind, text)
    assert answer.parts == (PartText("reasoning", "hmm"), PartText("text", "Yes"), PartText("reasoning", "?"))
    assert answer.size == 7


def test_take_gives_one_delta_for_each_part_touched_since_the_last_take():
    answer = LiveAnswer("g", 2)
    assert answer.take() == []
    answer.add("reasoning", "🌳")
    assert answer.take() == [Delta("g", 2, 0, "reasoning", 0, "🌳")]
    answer.add("reasoning", "a")
    answer.add("reasoning", "b")
    answer.add("text", "c")
    assert answer.take() == [Delta("g", 2, 0, "reasoning", 1, "ab"), Delta("g", 2, 1, "text", 0, "c")]
    assert answer.take() == []


def test_a_continued_answer_hands_on_only_what_is_added():
    answer = LiveAnswer("g", 1, [PartText("text", "Once ")])
    answer.add("text", "upon")
    assert answer.take() == [Delta("g", 1, 0, "text", 5, "upon")]
    assert answer.parts == (PartText("text", "Once upon"),)


def test_what_was_given_out_does_not_change_afterwards():
    answer = LiveAnswer("g", 1)
    answer.add("text", "a" * 100)
    before = answer.parts
    answer.add("text", "b" * 100)
    assert before == (PartText("text", "a" * 100),)


def test_a_reader_drops_what_it_knows_and_slices_what_it_knows_in_part():
    reader = Reader()
    assert reader.apply(Delta("g", 1, 0, "text", 0, "abc"))
    assert reader.apply(Delta("g", 1, 0, "text", 0, "abc"))
    assert reader.apply(Delta("g", 1, 0, "text", 1, "bcd"))
    assert reader.parts == (PartText("text", "abcd"),)
    assert reader.position == (0, 4)


def test_a_gap_is_reported_and_changes_nothing():
    reader = Reader()
    assert not reader.apply(Delta("g", 1, 0, "text", 2, "c"))
    assert not reader.apply(Delta("g", 1, 1, "text", 0, "c"))
    assert reader.parts == ()
    assert reader.position == (0, 0)


def test_a_new_part_asks_for_a_snapshot_because_the_end_of_the_one_before_may_be_lost():
    reader = Reader()
    reader.apply(Delta("g", 1, 0, "reasoning", 0, "so"))
    assert not reader.apply(Delta("g", 1, 1, "text", 0, "Yes"))
    reader.load(Snapshot(1, (PartText("reasoning", "so far"), PartText("text", "Yes"))))
    assert reader.apply(Delta("g", 1, 1, "text", 3, "!"))
    assert reader.parts == (PartText("reasoning", "so far"), PartText("text", "Yes!"))


def test_a_newer_attempt_starts_from_nothing_and_an_older_one_is_dropped():
    reader = Reader()
    reader.apply(Delta("g", 1, 0, "text", 0, "first"))
    assert reader.apply(Delta("g", 2, 0, "text", 0, "second"))
    assert reader.apply(Delta("g", 1, 0, "text", 5, " more"))
    reader.load(Snapshot(1, (PartText("text", "first and last"),)))
    assert (reader.attempt, reader.parts) == (2, (PartText("text", "second"),))


def test_an_older_snapshot_never_takes_text_away():
    reader = Reader()
    reader.apply(Delta("g", 1, 0, "text", 0, "abcdef"))
    reader.load(Snapshot(1, (PartText("text", "abc"),)))
    reader.load(Snapshot(1, ()))
    assert reader.parts == (PartText("text", "abcdef"),)


def test_what_lies_behind_a_position_is_given_part_by_part():
    parts = Parts([PartText("reasoning", "abc"), PartText("text", ""), PartText("text", "def")])
    assert list(parts.since(0, 1)) == [(0, "reasoning", 1, "bc"), (2, "text", 0, "def")]
    assert list(parts.since(2, 3)) == []
    assert list(parts.since(7, 0)) == []
    assert len(parts) == 3


@given(flushes)
def test_deltas_alone_rebuild_every_answer_once_its_parts_are_vouched_for(stream):
    answer, reader = LiveAnswer("g", 1), Reader()
    for pieces in stream:
        for delta in flush(answer, pieces):
            if not reader.apply(delta):
                assert delta.part > 0
                assert delta.offset == 0
                reader.load(snapshot_of(answer))
    assert reader.parts == answer.parts == merged([piece for pieces in stream for piece in pieces])


@given(flushes, st.data())
def test_a_reader_cut_off_after_any_delta_comes_back_to_exactly_the_same_text(stream, data):
    answer, reader = LiveAnswer("g", 1), Reader()
    cut = data.draw(st.integers(0, len(stream)))
    back = data.draw(st.integers(cut, len(stream)))
    for number, pieces in enumerate(stream):
        if number == back:
            reader.load(snapshot_of(answer))
        for delta in flush(answer, pieces):
            away = cut <= number < back
            if not away and not reader.apply(delta):
                reader.load(snapshot_of(answer))
            assert_is_beginning(reader.parts, answer.parts)
    if back == len(stream):
        reader.load(snapshot_of(answer))
    assert reader.parts == answer.parts


@given(flushes, st.data())
def test_lost_repeated_and_reordered_deltas_heal_by_a_snapshot(stream, data):
    answer, reader = LiveAnswer("g", 1), Reader()
    under_way: list[Delta] = []
    for pieces in stream:
        for delta in flush(answer, pieces):
            under_way += [delta] * data.draw(st.integers(0, 2), label="copies")
        under_way = data.draw(st.permutations(under_way))
        arriving = data.draw(st.integers(0, len(under_way)), label="arriving")
        for delta in under_way[:arriving]:
            if not reader.apply(delta):
                reader.load(snapshot_of(answer))
            assert_is_beginning(reader.parts, answer.parts)
        under_way = under_way[arriving:]
    # One delta that does arrive shows whatever is missing before it.
    for delta in flush(answer, [("text", "end")]):
        if not reader.apply(delta):
            reader.load(snapshot_of(answer))
    assert reader.parts == answer.parts


@given(flushes, flushes, st.data())
def test_a_second_attempt_replaces_the_first_however_late_its_deltas_come(first, second, data):
    old, new, reader = LiveAnswer("g", 1), LiveAnswer("g", 2), Reader()
    stale = [delta for pieces in first for delta in flush(old, pieces)]
    for pieces in second:
        for delta in flush(new, pieces):
            if stale and data.draw(st.booleans()):
                assert reader.attempt < 2 or reader.apply(stale.pop())
            if not reader.apply(delta):
                reader.load(data.draw(st.sampled_from([snapshot_of(old), snapshot_of(new)])))
                reader.load(snapshot_of(new))
    assert reader.parts == new.parts
