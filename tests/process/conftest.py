"""Installations that the tests of a worker share: starting one costs seconds. A test leaves it as it likes; the next start mends it.

Each shape's tests stay on one worker (`--dist loadgroup`), for else every worker would make and start both.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.process.installation import Installation
from tests.servers import PostgresServer, RedisServer, running_postgres, running_redis
from tests.upstream.fixtures import RunningUpstream

SHAPES = [pytest.param(shape, marks=pytest.mark.xdist_group(shape)) for shape in ("embedded", "scaled")]


@pytest.fixture(scope="session")
def provider() -> Iterator[RunningUpstream]:
    """A fake provider for all installations."""
    running = RunningUpstream()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def own_redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture(scope="session")
def _embedded(provider: RunningUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    yield from _made(Installation(tmp_path_factory.mktemp("embedded"), upstream=provider.url))


@pytest.fixture(scope="session")
def _scaled(
    provider: RunningUpstream,
    own_postgres: PostgresServer,
    own_redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("scaled")
    yield from _made(Installation(folder, upstream=provider.url, postgres=own_postgres, redis=own_redis))


@pytest.fixture(scope="session")
def _impatient(
    _embedded: Installation, provider: RunningUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    settings = {"DJANGO_SETTINGS_MODULE": "tests.process.impatient"}
    installation = Installation(tmp_path_factory.mktemp("impatient"), upstream=provider.url, **settings)
    yield from _made(installation, copy_of=_embedded)


def _made(installation: Installation, *, copy_of: Installation | None = None) -> Iterator[Installation]:
    try:
        if copy_of is not None:
            installation.copied_from(copy_of)
        else:
            installation.make_database()
        yield installation
        # Whatever the tests did to it: once it runs again and has ended what was cut, all is in order.
        installation.start_all()
        installation.until_idle()
        assert installation.problems() == []
    finally:
        installation.stop_all(signal.SIGKILL)


@pytest.fixture
def impatient(_impatient: Installation) -> Installation:
    """Bough in one process that waits two seconds for a lock or a delta and five for a first one, running."""
    _impatient.start_all()
    return _impatient


@pytest.fixture
def embedded(_embedded: Installation) -> Installation:
    """Bough in one process, running."""
    _embedded.start_all()
    return _embedded


@pytest.fixture
def scaled(_scaled: Installation) -> Installation:
    """Bough in the scaled shape, running: web, one runner, PostgreSQL, Redis."""
    _scaled.start_all()
    return _scaled


@pytest.fixture(params=SHAPES)
def installation(request: pytest.FixtureRequest) -> Installation:
    """Bough running in one shape, then in the other."""
    running: Installation = request.getfixturevalue(request.param)
    return running
