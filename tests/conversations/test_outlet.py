"""What a runner shows after it stood still: nothing, until it knows what is still its own."""

import asyncio
import time

from apps.conversations.runner.limits import Limits
from apps.conversations.runner.outlet import Outlet
from apps.streaming.answers import LiveAnswer

SOON = 5.0


class Writer:
    """As much of one as an outlet sees."""

    is_lost = False
    turn = 0

    def __init__(self):
        self.live = LiveAnswer("g", 1)


async def texts_on(bus, live):
    snapshot = await bus.snapshot(live)
    return snapshot.parts[0].text if snapshot and snapshot.parts else ""


async def until_shown(bus, text):
    async with asyncio.timeout(SOON):
        while await texts_on(bus, "g") != text:
            await asyncio.sleep(0.005)


async def test_after_standing_still_for_a_lease_nothing_is_shown_until_the_leases_were_looked_at(bus):
    outlet = Outlet(bus, Limits(lease_seconds=0.2, flush_seconds=0.01), list)
    writer = Writer()
    outlet.admit(writer)
    flushing = asyncio.ensure_future(outlet.flush())
    outlet.vouch()
    writer.live.add("text", "before")
    outlet.on_delta(writer)
    await until_shown(bus, "before")

    time.sleep(0.25)  # noqa: ASYNC251  (the process stands still)
    writer.live.add("text", ", after")
    outlet.on_delta(writer)
    last = asyncio.ensure_future(outlet.show(writer))
    await asyncio.sleep(0.05)
    assert await texts_on(bus, "g") == "before"

    outlet.vouch()
    await until_shown(bus, "before, after")
    await last
    outlet.close()
    await flushing


async def test_of_what_was_lost_nothing_more_is_shown(bus):
    outlet, writer = Outlet(bus, Limits(flush_seconds=0.01), list), Writer()
    flushing = asyncio.ensure_future(outlet.flush())
    writer.live.add("text", "before")
    await outlet.show(writer)
    writer.is_lost = True
    writer.live.add("text", ", after")
    outlet.on_delta(writer)
    await outlet.show(writer)
    await outlet.until_flush(writer)
    outlet.close()
    await flushing
    assert await texts_on(bus, "g") == "before"


async def test_a_runner_that_ends_waits_for_nothing(bus):
    outlet = Outlet(bus, Limits(lease_seconds=0.01), list)
    time.sleep(0.02)  # noqa: ASYNC251
    outlet.close()
    async with asyncio.timeout(SOON):
        await outlet.show(Writer())
