"""The bus over Redis: the contract of every bus, with one bus and with two; what is its own; and Redis's faults."""

import importlib.util
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tests.servers import missing
from tests.streaming.bus_contract import BusContract

if importlib.util.find_spec("redis") is None:
    missing("The package redis", at_import=True)

from apps.streaming.redis_bus import RedisBus


class TestRedisBus(BusContract):
    @pytest.fixture
    async def bus(self, shared_redis) -> AsyncIterator[RedisBus]:
        bus = RedisBus(shared_redis.url, prefix=f"t{uuid4().hex}")
        await bus.start()
        yield bus
        await bus.stop()
