"""What waits to go to Redis: order, limits, and what remains of it when a connection breaks. No server here."""

import asyncio

import pytest

from apps.streaming import redis_wire as wire
from apps.streaming.answers import Delta, PartText
from apps.streaming.redis_outbox import BATCH_BYTES, End, Forget, Mark, Operation, Outbox, Piece, Publish, Whole


@pytest.fixture
def outbox() -> Outbox:
    """An outbox that knows Redis to be there."""
    outbox = Outbox(keep_seconds=60, limit=10)
    outbox.tidy()
    return outbox


def x(offset: int, text: str = "x", attempt: int = 1) -> Delta:
    return Delta("g", attempt, 0, "text", offset, text)


def kinds(batch: list[Operation]) -> list[type]:
    return [type(operation) for operation in batch]


def test_everything_leaves_in_the_order_in_which_it_was_said(outbox):
    outbox.open("g", 1, ())
    outbox.append(x(0))
    outbox.publish("live:g", {"type": "status", "word": "thinking"})
    outbox.append(x(1))
    outbox.drop("g")
    outbox.publish("live:g", {"type": "ended"})
    assert kinds(outbox.take()) == [Whole, Piece, Publish, Piece, End, Publish]
    assert kinds(outbox.take()) == []


def test_one_call_carries_a_megabyte_and_what_goes_over_it_waits_for_the_next(outbox):
    outbox.open("g", 1, [PartText("text", "x" * BATCH_BYTES)])
    outbox.append(x(BATCH_BYTES))
    assert kinds(outbox.take()) == [Whole]
    assert kinds(outbox.take()) == [Piece]


async def test_events_beyond_the_limit_are_refused_counted_and_reported(outbox, caplog):
    await asyncio.to_thread(lambda: [outbox.publish("user:1", {"type": "notice"}) for _ in range(25)])
    assert outbox.refused == 15
    assert [record.fields for record in caplog.records] == [{"topic": "user", "dropped": 1}]
    assert kinds(outbox.take()) == [Publish] * 10


async def test_a_break_leaves_events_and_waiters_and_has_text_written_whole(outbox):
    outbox.open("g", 1, ())
    outbox.append(x(0))
    outbox.open("h", 1, [PartText("text", "all")])
    outbox.drop("h")
    outbox.publish("user:1", {"type": "one"})
    batch = outbox.take()
    reached = outbox.mark()
    outbox.publish("user:1", {"type": "two"})
    outbox.lost(batch)
    outbox.append(x(1))
    outbox.open("i", 1, ())
    outbox.drop("i")
    outbox.lost(())
    kept = outbox.take()
    assert kinds(kept) == [Forget, Publish, Mark, Publish, Forget]
    outbox.lost(kept)
    outbox.tidy()
    kept = outbox.take()
    assert kinds(kept) == [Forget, Publish, Mark, Publish, Forget, Whole]
    assert kept[-1].texts == [b"xx"]
    outbox.written(kept, [])
    assert reached.done()


async def test_who_waits_is_told_after_what_had_to_be_written_again(outbox):
    outbox.open("g", 1, ())
    outbox.append(x(0))
    reached = outbox.mark()
    batch = outbox.take()
    outbox.written(batch, [1])
    assert not reached.done()
    batch = outbox.take()
    assert kinds(batch) == [Whole, Mark]
    reached.cancel()
    outbox.written(batch, [])


def test_what_failed_before_it_was_written_whole_is_not_written_whole_twice(outbox):
    outbox.open("g", 1, ())
    outbox.append(x(0))
    outbox.append(x(1))
    batch = outbox.take()
    outbox.append(x(2))
    outbox.written(batch, [1, 2])
    late = outbox.take()
    assert kinds(late) == [Piece, Whole]
    outbox.written(late, [0])
    assert kinds(outbox.take()) == []


def test_whole_answers_that_are_refused_are_tried_again_by_tidy_alone(outbox):
    outbox.open("g", 1, ())
    outbox.written(outbox.take(), [0])
    outbox.append(x(0))
    batch = outbox.take()
    assert kinds(batch) == [Piece]
    outbox.written(batch, [0])
    assert len(outbox) == 0
    outbox.tidy()
    assert kinds(outbox.take()) == [Whole]
    outbox.tidy()
    assert len(outbox) == 0


def test_an_answer_that_ended_while_it_was_refused_is_taken_away(outbox):
    outbox.open("g", 1, ())
    outbox.written(outbox.take(), [0])
    outbox.drop("g")
    assert kinds(outbox.take()) == [Forget]
    outbox.drop("g")
    outbox.written([Whole("g", 1, 1, "", [], b"")], [0])
    assert len(outbox) == 0


def test_answers_that_nobody_ends_are_let_go_of_some_day():
    outbox = Outbox(keep_seconds=60, forsaken_seconds=-1)
    outbox.tidy()
    outbox.append(x(0))
    outbox.tidy()
    with pytest.raises(ValueError, match="does not continue"):
        outbox.append(x(1))


def test_an_older_attempt_is_ignored(outbox):
    outbox.open("g", 2, ())
    outbox.open("g", 1, [PartText("text", "zombie")])
    outbox.append(x(0, attempt=1))
    assert kinds(outbox.take()) == [Whole]


def test_an_epoch_is_later_than_every_one_before(outbox):
    epochs = []
    for attempt in (1, 1, 2):
        outbox.open("g", attempt, ())
        epochs += [operation.epoch for operation in outbox.take()]
    assert epochs == sorted(set(epochs))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"1 2\n", b"a b c d\n", b"1 0 text 0\n\xff", b"1 0 \xff 0\n"])
def test_what_nobody_of_ours_wrote_is_told_apart(data):
    with pytest.raises(ValueError, match=r".*"):
        wire.unpack("live:g", data)


@pytest.mark.parametrize("reply", [[], [b"h"], [b"h", b"1", b"1 live text", b"secret"], [b"g", b"1", b"1 live text"]])
def test_a_reply_that_is_not_about_this_answer_or_not_whole_is_refused(reply):
    with pytest.raises(ValueError, match=r".*"):
        wire.unpack_snapshot("g", reply)
