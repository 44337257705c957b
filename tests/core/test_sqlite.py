"""SQLite's one writer: the turn to write goes from thread to thread, and who waits too long meets an error."""

import pytest
from django.db import OperationalError, connection, transaction

from apps.core.sqlite import base
from tests.factories import make_user

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL locks rows, not the database"),
]


@pytest.fixture
def impatient(monkeypatch):
    """Wait for the turn 10 ms at most."""
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.01)


def test_who_waits_too_long_for_the_turn_meets_an_error_and_nothing_is_begun(impatient):
    with base._writers, pytest.raises(OperationalError, match="database is locked"), transaction.atomic():
        make_user()
    assert connection.get_autocommit()


def test_after_such_an_error_the_next_one_writes(impatient):
    with base._writers, pytest.raises(OperationalError), transaction.atomic():
        pass
    with transaction.atomic():
        user = make_user()
    assert user.pk
    assert not base._writers.locked()
