"""The web process: whoever needs its hub while it starts waits for it."""

import asyncio

import pytest

from apps.conversations import process
from apps.conversations.services import live
from apps.streaming.memory import MemoryBus

pytestmark = pytest.mark.django_db(transaction=True)


class SlowBus(MemoryBus):
    """A bus that confirms its first subscriptions when it is told to, or fails at them."""

    def __init__(self):
        super().__init__()
        self.asked = asyncio.Event()
        self.confirmed = asyncio.Event()
        self.failures = 0

    async def subscribe(self, *topics):
        self.asked.set()
        await self.confirmed.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the bus is away")
        return await super().subscribe(*topics)


@pytest.fixture
async def slow_bus(bus):
    slow = SlowBus()
    live.install_bus(slow)
    yield slow
    for running in process._processes.values():
        await running.stop()
    process._processes.clear()


async def connect():
    async def ignore(_):
        pass

    return await (await process.here()).hub.connect("ada", ignore, ignore)


@pytest.mark.parametrize("is_launched", [True, False])
async def test_a_socket_that_comes_while_the_hub_starts_is_served_once_it_has(slow_bus, is_launched):
    tasks = [asyncio.create_task(connect()) for _ in range(3)]
    if is_launched:
        tasks.append(asyncio.create_task(process.register(process.WebProcess()).start(with_runner=False)))
    async with asyncio.timeout(5):
        await slow_bus.asked.wait()
        slow_bus.confirmed.set()
        await asyncio.gather(*tasks)
    assert len(process._processes) == 1


async def test_a_start_that_failed_is_tried_again(slow_bus):
    slow_bus.failures = 1
    slow_bus.confirmed.set()
    with pytest.raises(ConnectionError):
        await connect()
    assert await connect()


async def test_a_socket_that_leaves_while_the_hub_starts_takes_nobody_with_it(slow_bus):
    first, second = asyncio.create_task(connect()), asyncio.create_task(connect())
    async with asyncio.timeout(5):
        await slow_bus.asked.wait()
        first.cancel()
        slow_bus.confirmed.set()
        assert await second
    assert first.cancelled()
