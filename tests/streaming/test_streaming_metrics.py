"""What a process counts of sockets, frames and readers that missed something."""

from apps.core.metrics import REGISTRY
from apps.streaming.answers import Delta, Snapshot
from apps.streaming.memory import MemoryBus
from apps.streaming.readers import Follower
from tests.streaming.hub_world import says, until, world


def counted(name):
    return REGISTRY.get_sample_value(f"bough_{name}")


async def test_sockets_are_counted_while_they_are_open_and_frames_as_they_go():
    sockets, frames = counted("sockets"), counted("frames_total")
    async with world() as here:
        page, socket = await here.open_page(await here.begin())
        await here.open_page()
        await here.say("text")
        await page.until(says("text"))
        assert counted("sockets") == sockets + 2
        assert counted("frames_total") >= frames + len(page.frames)
        socket.close()
        socket.close()
        assert counted("sockets") == sockets + 1
    await until(lambda: counted("sockets") == sockets)


async def test_a_gap_and_a_word_of_one_are_each_a_resync_and_what_is_read_anyway_is_none():
    async def load_row(live):
        return Snapshot(1, ())

    before = counted("resyncs_total")
    follower = Follower(MemoryBus(), "g", load_row)
    # Nothing was read yet: what comes before that is no loss.
    follower.hear({"type": "delta", "delta": Delta("g", 1, 0, "text", 5, "later")})
    assert counted("resyncs_total") == before
    follower = Follower(MemoryBus(), "g", load_row)
    await follower.read()
    follower.hear({"type": "delta", "delta": Delta("g", 1, 0, "text", 5, "later")})
    follower.hear({"type": "delta", "delta": Delta("g", 1, 0, "text", 10, "still later")})
    assert counted("resyncs_total") == before + 1
    follower.hear({"type": "resync"})
    assert counted("resyncs_total") == before + 2
