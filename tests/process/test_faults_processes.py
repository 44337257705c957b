"""Processes killed and asked to end under answers that are read: one of them, or all at once, started again in any order."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from tests.fault_table import record_fault, seconds
from tests.process.people import StreamReader
from tests.process.watching import answered, watched
from tests.upstream import texts

pytestmark = [pytest.mark.slow, pytest.mark.fault]


@pytest.mark.xdist_group("embedded")
async def test_the_only_process_killed_leaves_its_text_and_goes_on_from_there(embedded):
    async with embedded.person() as person, watched(person, "canary-killed", pieces=400, pause=25) as seen:
        await seen.all_show(400)
        killed = time.monotonic()
        await asyncio.to_thread(embedded.stop, signal.SIGKILL)
        shown = len(seen.readers[0].text)
        await asyncio.to_thread(embedded.start)
        up = seconds(killed)
        text = await seen.all_end("interrupted", may_lack=True)
        told = seconds(killed)
        # A checkpoint each second, and one may have been under way.
        assert shown - len(text) < 2.5 * 40 * len("canary-killed 123 ")
        again = await person.call("POST", f"/chats/{seen.sent.chat}/messages/{seen.sent.message}/continue", {})
        assert again.status == 202
        await person.call("POST", f"/chats/{seen.sent.chat}/stop", {})
    record_fault(
        fault="The web process is killed (-9) and started again",
        shape=embedded.shape,
        reader_saw=f"{seen.told()}; it served again after {up}, and after {told} all three showed the end: interrupted; "
        f"Continue was taken",
        database_held=f"interrupted, {len(text)} of the {shown} characters that were shown",
    )


@pytest.mark.xdist_group("scaled")
async def test_a_web_process_killed_beside_runners_costs_no_answer(scaled):
    async with scaled.person() as person, watched(person, "canary-web", pieces=250, pause=25) as seen:
        await seen.all_show(200)
        killed = time.monotonic()
        await asyncio.to_thread(scaled.stop, signal.SIGKILL)
        await asyncio.to_thread(scaled.start)
        up = seconds(killed)
        text = await seen.all_end("complete")
    record_fault(
        fault="The web process is killed (-9) and started again",
        shape=scaled.shape,
        reader_saw=f"{seen.told()}; it served again after {up}",
        database_held=f"complete, all {len(text)} characters",
    )


@pytest.mark.xdist_group("scaled")
async def test_a_runner_asked_to_end_finishes_what_it_has_and_takes_nothing_new(scaled):
    async with scaled.person() as person, watched(person, "canary-drained", pieces=100, pause=25) as seen:
        long = await person.send(await person.begin(), "canary-long 2000 pieces of 25 ms")
        cut = StreamReader(person, long).start()
        await seen.all_show(100)
        await cut.more(100)
        old = scaled.runners[0]
        old.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        scaled.start_runner()
        # Taken by the new one, for the old one takes nothing; and meanwhile the old one writes on.
        await answered(person, "canary-new")
        taken = seconds(asked)
        text = await seen.all_end("complete")
        assert old.poll() is None
        old.send_signal(signal.SIGTERM)
        assert await cut.ended() == "interrupted"
        await asyncio.to_thread(scaled.runners.pop(0).wait, 30)
        held = await person.message(long)
        assert held["content"] == cut.text
        assert "".join(texts.canary("canary-long", 2000)).startswith(cut.text)
    record_fault(
        fault="A runner is asked to end (SIGTERM), while another one starts; asked again, it leaves",
        shape=scaled.shape,
        reader_saw=f"{seen.told()}, to its end; a message sent meanwhile was answered within {taken}; a longer answer: "
        "interrupted at the second signal",
        database_held=f"complete, all {len(text)} characters; interrupted, all {len(cut.text)} that were shown",
    )


ORDERS = {
    "servers first": ("postgres", "redis", "runner", "web"),
    "web first, PostgreSQL last": ("web", "runner", "redis", "postgres"),
    "runner first, Redis last": ("runner", "postgres", "web", "redis"),
}


@pytest.mark.xdist_group("scaled")
@pytest.mark.parametrize("order", ORDERS)
async def test_everything_killed_at_once_comes_back_in_any_order(scaled, order):
    async with scaled.person() as person, watched(person, "canary-all", pieces=1000, pause=25) as seen:
        await seen.all_show(400)
        waiting = await person.send(await person.begin(), "canary-first 3 pieces")
        killed = time.monotonic()
        await asyncio.to_thread(kill_everything, scaled)
        shown = len(seen.readers[0].text)
        for part in ORDERS[order]:
            await asyncio.to_thread(start, scaled, part)
            await asyncio.sleep(0.3)
        await asyncio.to_thread(scaled.until_serving)
        text = await seen.all_end("interrupted", may_lack=True)
        told = seconds(killed)
        # Queued, running, or ended by then: whatever it was, it is not left behind.
        status = await StreamReader(person, waiting).start().ended()
        assert status in ("complete", "interrupted")
        await answered(person, "canary-after")
    record_fault(
        fault=f"Everything is killed (-9) at once and started again: {order}",
        shape=scaled.shape,
        reader_saw=f"{seen.told()}; after {told} all three showed the end: interrupted; a message sent just before: {status}",
        database_held=f"interrupted, {len(text)} of the {shown} characters that were shown",
    )


def kill_everything(installation):
    installation.postgres.stop(signal.SIGQUIT)
    installation.redis.kill()
    installation.stop_all(signal.SIGKILL)


def start(installation, part):
    if part == "runner":
        installation.start_runner()
    elif part == "web":
        installation.launch()
    else:
        getattr(installation, part).start()
