"""PostgreSQL's pool after cuts and restarts: nobody is given a dead connection, and nobody waits long for a dead server."""

import threading
import time

import pytest
from django.db import OperationalError, connections

from tests.servers import running_postgres

pytestmark = pytest.mark.slow
PATIENCE = 10.0


@pytest.fixture
def server():
    with running_postgres() as server:
        yield server


@pytest.fixture
def connection(server, django_db_blocker):
    """A connection as settings make it for PostgreSQL, to a server of our own."""
    from config.settings import pooled

    made = {**connections.settings["default"], **pooled({"ENGINE": "", "NAME": "postgres", "OPTIONS": {}})}
    made |= {"HOST": "127.0.0.1", "PORT": str(server.port), "USER": "postgres", "PASSWORD": ""}
    connections.settings["own"] = made
    with django_db_blocker.unblock():
        yield connections["own"]
    connections["own"].close()
    connections["own"].close_pool()
    del connections["own"]
    del connections.settings["own"]


def ask(connection):
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return cursor.fetchone()
    finally:
        connection.close()


def fill_pool(connection, count):
    """Have the pool hold so many connections."""
    connection.pool.open()
    held = [connection.pool.getconn() for _ in range(count)]
    for one in held:
        connection.pool.putconn(one)


def test_after_a_cut_no_dead_connection_is_given(server, connection):
    ask(connection)
    for _ in range(3):
        fill_pool(connection, 12)
        assert server.cut("postgres") >= 12
        assert [ask(connection) for _ in range(15)] == [(1,)] * 15


def test_after_a_restart_the_next_one_who_asks_is_served(server, connection):
    fill_pool(connection, 12)
    server.stop()
    began = time.monotonic()
    waits = []
    while time.monotonic() < began + 4:
        asked = time.monotonic()
        with pytest.raises(OperationalError):
            ask(connection)
        waits.append(time.monotonic() - asked)
    # The first may wait for a restart; the others are told at once, so that no thread is held up.
    assert max(waits) < 4
    assert sorted(waits)[len(waits) // 2] < 1
    server.start()
    assert ask(connection) == (1,)


def test_a_restart_that_is_short_costs_waiting_and_no_error(server, connection):
    fill_pool(connection, 4)
    server.stop()
    again = threading.Timer(0.5, server.start)
    again.start()
    assert ask(connection) == (1,)
    again.join(PATIENCE)
