"""Following an answer as plain deltas: what a client of the API reads is the writer's text, from any position on."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from apps.streaming.answers import Delta, LiveAnswer, PartText, Snapshot
from apps.streaming.bus import live_topic
from apps.streaming.readers import End, Follower, follow
from tests.streaming.doubles import SOON, FrailBus


class Writer:
    """Write one answer as a runner does, with its row beside."""

    def __init__(self, attempt: int = 1) -> None:
        self.bus = FrailBus()
        self.answer = LiveAnswer("g", attempt)
        self.row: Snapshot | None = Snapshot(attempt, ())
        self.row_reads = 0

    async def load_row(self, live: str) -> Snapshot | None:
        assert live == "g"
        self.row_reads += 1
        return self.row

    async def say(self, text: str, kind: str = "text") -> None:
        self.answer.add(kind, text)
        for delta in self.answer.take():
            await self.bus.append(delta)

    def checkpoint(self) -> None:
        self.row = Snapshot(self.answer.attempt, self.answer.parts)

    async def end(self, status: str = "complete") -> None:
        self.row = Snapshot(self.answer.attempt, self.answer.parts, True, status)
        await self.bus.drop("g")
        self.bus.publish(live_topic("g"), {"type": "ended", "status": status, "message": "m"})

    def follow(self, **options) -> AsyncIterator[Delta | End]:
        return follow(self.bus, "g", load_row=self.load_row, **options)


async def following(stream: AsyncIterator[Delta | End]) -> Delta | End:
    async with asyncio.timeout(SOON):
        return await anext(stream)


async def whole(stream: AsyncIterator[Delta | End]) -> tuple[list[Delta], End]:
    async with asyncio.timeout(SOON):
        *deltas, end = [item async for item in stream]
    assert isinstance(end, End)
    return deltas, end


def joined(deltas: list[Delta], start: tuple[int, int] = (0, 0)) -> dict[int, str]:
    """Join deltas by part, checking that none leaves a gap or repeats."""
    texts: dict[int, str] = {}
    for delta in deltas:
        begin = start[1] if delta.part == start[0] else 0
        assert delta.offset == begin + len(texts.get(delta.part, ""))
        assert delta.text
        texts[delta.part] = texts.get(delta.part, "") + delta.text
    return texts


async def test_a_follower_gets_what_there_is_then_deltas_then_the_end():
    writer = Writer()
    await writer.say("so", kind="reasoning")
    await writer.say("One ")
    stream = writer.follow()
    assert await following(stream) == Delta("g", 1, 0, "reasoning", 0, "so")
    assert await following(stream) == Delta("g", 1, 1, "text", 0, "One ")
    await writer.say("two")
    assert await following(stream) == Delta("g", 1, 1, "text", 4, "two")
    await writer.end("stopped")
    assert await following(stream) == End("stopped")
    with pytest.raises(StopAsyncIteration):
        await following(stream)
    assert writer.bus._topics == {}


async def test_what_waits_comes_as_one_delta_for_each_part():
    writer = Writer()
    await writer.bus.open("g", 1)
    stream = writer.follow()
    await writer.say("a", kind="reasoning")
    assert (await following(stream)).text == "a"
    for text in "bcd":
        await writer.say(text, kind="reasoning")
    for text in "efg":
        await writer.say(text)
    assert await following(stream) == Delta("g", 1, 0, "reasoning", 1, "bcd")
    assert await following(stream) == Delta("g", 1, 1, "text", 0, "efg")


@pytest.mark.parametrize("position", [(0, 0), (0, 1), (0, 3), (1, 0), (1, 2), (1, 4)])
async def test_a_position_resumes_a_running_and_an_ended_answer(position):
    writer = Writer()
    await writer.say("abc", kind="reasoning")
    await writer.say("de🌳f")
    await writer.end()
    parts = ["abc", "de🌳f"]
    expected = {i: text[position[1] if i == position[0] else 0 :] for i, text in enumerate(parts) if i >= position[0]}
    for source in ("bus", "row"):
        if source == "row":
            writer.bus._held.clear()
        deltas, end = await whole(writer.follow(start_part=position[0], start_offset=position[1]))
        assert joined(deltas, position) == {i: text for i, text in expected.items() if text}
        assert end == End("complete")


async def test_a_position_the_answer_has_not_reached_waits_for_it():
    writer = Writer()
    await writer.say("ab")
    stream = writer.follow(start_offset=5)
    reading = asyncio.ensure_future(whole(stream))
    await asyncio.sleep(0)
    await writer.say("cdefg")
    await writer.end()
    deltas, _ = await reading
    assert joined(deltas, (0, 5)) == {0: "fg"}


async def test_a_new_attempt_begins_again():
    writer = Writer()
    await writer.say("first")
    stream = writer.follow()
    assert (await following(stream)).text == "first"
    writer.answer = LiveAnswer("g", 2)
    await writer.bus.open("g", 2)
    await writer.say("second")
    await writer.end()
    deltas, _ = await whole(stream)
    assert deltas == [Delta("g", 2, 0, "text", 0, "second")]


async def test_a_position_of_another_attempt_begins_again():
    writer = Writer(attempt=2)
    await writer.say("second")
    await writer.end()
    deltas, _ = await whole(writer.follow(start_attempt=1, start_offset=3))
    assert joined(deltas) == {0: "second"}
    deltas, _ = await whole(writer.follow(start_attempt=2, start_offset=3))
    assert joined(deltas, (0, 3)) == {0: "ond"}


async def test_an_answer_nobody_knows_is_gone():
    writer = Writer()
    writer.row = None
    assert await whole(writer.follow()) == ([], End("gone"))


async def test_a_lost_end_heals_from_the_row_after_a_silence():
    writer = Writer()
    await writer.say("nearly")
    stream = writer.follow(quiet=0.01)
    assert (await following(stream)).text == "nearly"
    writer.bus.deaf = True
    await writer.say(" done")
    await writer.end()
    deltas, end = await whole(stream)
    assert ([delta.text for delta in deltas], end) == ([" done"], End("complete"))


async def test_silence_is_told_with_empty_deltas_to_those_who_want_it():
    writer = Writer()
    await writer.say("so")
    stream = writer.follow(quiet=0.01, keepalive=True)
    assert (await following(stream)).text == "so"
    for _ in range(3):
        assert await following(stream) == Delta("g", 1, 0, "text", 2, "")
    await writer.end()
    async with asyncio.timeout(SOON):
        assert [item async for item in stream][-1] == End("complete")


async def test_while_the_bus_is_away_the_row_is_followed():
    writer = Writer()
    await writer.bus.open("g", 1)
    stream = writer.follow(quiet=0.01)
    writer.bus.away = True
    await writer.say("unheard")
    writer.checkpoint()
    assert (await following(stream)).text == "unheard"
    writer.bus.away = False
    await writer.say(" and heard")
    await writer.end()
    deltas, _ = await whole(stream)
    assert "".join(delta.text for delta in deltas) == " and heard"


async def test_a_source_that_lags_is_read_until_it_has_caught_up():
    writer = Writer()
    await writer.bus.open("g", 1)
    stream = writer.follow()
    reading = asyncio.ensure_future(following(stream))
    await asyncio.sleep(0)
    writer.bus.deaf = True
    await writer.say("lost ")
    writer.bus.deaf = False
    writer.bus._held.clear()
    writer.answer.add("text", "found")
    writer.bus.publish(live_topic("g"), {"type": "delta", "delta": Delta("g", 1, 0, "text", 5, "found")})
    async with asyncio.timeout(SOON):
        while writer.row_reads < 2:
            await asyncio.sleep(0.001)
    writer.checkpoint()
    assert (await reading).text == "lost found"


async def test_an_end_heard_while_an_older_text_is_read_waits_for_the_newer_one():
    class SlowBus(FrailBus):
        async def snapshot(self, live):
            snapshot = await super().snapshot(live)
            await self.gate.wait()
            return snapshot

    writer = Writer()
    writer.bus = SlowBus()
    writer.bus.gate = asyncio.Event()
    await writer.say("one ")
    follower = Follower(writer.bus, "g", writer.load_row)
    reading = asyncio.ensure_future(follower.read())
    await asyncio.sleep(0)
    writer.bus.deaf = True
    await writer.say("two")
    await writer.end()
    follower.hear({"type": "ended", "status": "complete", "message": "m"})
    writer.bus.gate.set()
    await reading
    assert (follower.ended, follower.stale) == (None, True)
    await follower.read()
    assert (follower.ended, follower.reader.parts) == ("complete", (PartText("text", "one two"),))


async def test_a_database_that_fails_ends_the_stream_with_its_error():
    writer = Writer()

    async def fail(live: str) -> None:
        raise ConnectionError("no database")

    with pytest.raises(ConnectionError):
        await anext(follow(writer.bus, "g", load_row=fail))
    assert writer.bus._topics == {}


@pytest.mark.parametrize("seed", range(20))
async def test_random_streams_losses_and_reconnections_give_each_client_the_writers_text(seed):
    chance = random.Random(seed)
    writer = Writer()

    async def write() -> None:
        await writer.bus.open("g", 1)
        for _ in range(80):
            writer.bus.deaf = chance.random() < 0.2
            await writer.say(chance.choice(["a", "é", "🌳 b"]), chance.choice(["text", "text", "reasoning"]))
            await asyncio.sleep(0)
        writer.bus.deaf = False
        await writer.end()

    async def read() -> dict[int, str]:
        texts: dict[int, str] = {}
        position = (0, 0)
        while True:
            stream = writer.follow(start_part=position[0], start_offset=position[1], start_attempt=1)
            patience = chance.randrange(1, 20)
            async for item in stream:
                if isinstance(item, End):
                    return texts
                assert item.offset == len(texts.get(item.part, ""))
                texts[item.part] = texts.get(item.part, "") + item.text
                position = (item.part, item.offset + len(item.text))
                patience -= 1
                if not patience:
                    break
            await stream.aclose()

    async with asyncio.timeout(SOON):
        *texts, _ = await asyncio.gather(read(), read(), read(), write())
    assert texts == [{i: part.text for i, part in enumerate(writer.answer.parts)}] * 3
    assert isinstance(writer.answer.parts[0], PartText)


# --- answers that were begun a moment ago ----------------------------------------------------------------------------


async def test_a_new_answer_is_read_from_its_first_word_without_its_row():
    writer = Writer()
    stream = writer.follow(is_new=True)
    first = asyncio.create_task(following(stream))
    await asyncio.sleep(0)
    await writer.bus.open("g", 1, ())
    await writer.say("Once")
    assert (await first).text == "Once"
    await writer.say(" upon")
    writer.row = None
    place = [writer.answer.attempt, *writer.answer.position]
    event = {"type": "ended", "status": "complete", "message": "m", "at": place, "facts": {"leaf": "m"}}
    writer.bus.publish(live_topic("g"), event)
    deltas, end = await whole(stream)
    assert (joined(deltas, (0, 4)), end) == ({0: " upon"}, End("complete", {"leaf": "m"}))
    assert writer.row_reads == 0


async def test_a_new_answer_of_which_nothing_is_heard_is_looked_for():
    writer = Writer()
    writer.row = Snapshot(1, (), True, "stopped")
    assert await whole(writer.follow(is_new=True)) == ([], End("stopped"))
    assert writer.row_reads == 1


async def test_a_new_answer_is_read_from_its_row_while_the_bus_is_away():
    writer = Writer()
    writer.row = Snapshot(1, (PartText("text", "Kept"),), True, "complete")
    writer.bus.away = True
    deltas, end = await whole(writer.follow(is_new=True))
    assert (joined(deltas), end.status) == ({0: "Kept"}, "complete")


async def test_an_end_beyond_what_was_heard_is_read_up_to():
    writer = Writer()
    await writer.say("One")
    stream = writer.follow()
    assert (await following(stream)).text == "One"
    writer.bus.deaf = True
    await writer.say(" lost")
    writer.bus.deaf = False
    place = [1, *writer.answer.position]
    writer.bus.publish(live_topic("g"), {"type": "ended", "status": "complete", "message": "m", "at": place})
    deltas, end = await whole(stream)
    assert (joined(deltas, (0, 3)), end.status) == ({0: " lost"}, "complete")
