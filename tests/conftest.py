"""What all tests share: no network beyond this machine, a scripted provider, a bus of their own, a signed-in client."""

import ipaddress
import os
import socket

import pytest
from django.db import connection

from apps.conversations.services import live
from apps.models.services import catalogue
from apps.providers import registry
from apps.providers.demo import DemoChat
from apps.providers.scripted import ScriptedChat
from apps.streaming.memory import MemoryBus
from tests.factories import make_user

_connect = socket.socket.connect


def _is_here(address: object) -> bool:
    if not isinstance(address, tuple):
        return True  # a socket of the file system
    if address[0] == "localhost":
        return True
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def _loopback_only():
    def connect(self, address):
        if not _is_here(address):
            raise RuntimeError(f"A test reached for the network: {address!r}")
        return _connect(self, address)

    socket.socket.connect = connect
    yield
    socket.socket.connect = _connect


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """End PostgreSQL's other sessions before its test database is dropped: a thread of the last test may hold one yet."""
    yield
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


@pytest.fixture(autouse=True)
def scripted():
    """The provider `scripted` answers under "scripted/model"; the demo model is there too."""
    provider = ScriptedChat()
    with registry.installed(provider, DemoChat()):
        catalogue.forget()
        yield provider
    catalogue.forget()


@pytest.fixture(autouse=True)
def bus():
    """A bus of this test alone."""
    before = live.bus()
    bus = MemoryBus()
    live.install_bus(bus)
    yield bus
    live.install_bus(before)


@pytest.fixture
def user(db):
    return make_user(email="ada@example.org")


@pytest.fixture
def stranger(db):
    return make_user(email="eve@example.org")


@pytest.fixture
def signed_in(client, user):
    client.force_login(user)
    return client


def pytest_sessionfinish(session, exitstatus):
    """Where every test must run, a skipped one fails the run: a machine without a browser would else look green."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and os.environ.get("BOUGH_REQUIRE_ALL_TESTS") and not exitstatus:
        reporter.write_line(f"{len(skipped)} tests were skipped, and BOUGH_REQUIRE_ALL_TESTS is set.", red=True)
        session.exitstatus = 1
