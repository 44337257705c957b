"""`show_status`: what it says, and that it exits with 3 where something is wrong."""

import json
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from apps.conversations.models import Generation, GenerationState, RunnerProcess
from apps.conversations.services import leases, messages, runners
from apps.core.version import version
from tests.servers import redis_server  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db


def status(*options):
    """Run the command; give what it printed and its sentences about problems, None if there are none."""
    out = StringIO()
    try:
        call_command("show_status", *options, stdout=out)
    except CommandError as problems:
        return out.getvalue(), str(problems) if problems.returncode == 3 else f"status {problems.returncode}"
    return out.getvalue(), None


def as_json():
    printed, problems = status("--json")
    found = json.loads(printed)
    assert found["problems"] == (problems.split("\n") if problems else [])
    return found


def live(name="host:1:a", **fields):
    told = {"started_at": timezone.now(), "concurrency": 100, "active": 3, "draining": False}
    runners.note(runners.Pulse(name=name, **{**told, **fields}))


def queue_for(user, seconds):
    sent = messages.send(user=user, conversation_id=None, content="Hello", model="scripted/model")
    Generation.objects.filter(pk=sent.generations[0].pk).update(queued_at=timezone.now() - timedelta(seconds=seconds))
    return sent.generations[0]


def test_a_quiet_installation_has_no_problems():
    found = as_json()
    assert found["problems"] == []
    assert (found["version"], found["shape"], found["generations"]) == (version(), "embedded", "inline")
    database = found["database"]
    assert (database["vendor"], database["migrations_waiting"]) == (connection.vendor, 0)
    assert database["bytes"] > 10_000
    assert database["version"][0].isdigit()
    assert (found["redis"], found["runners"]) == (None, [])
    assert found["queue"] == {"queued": 0, "running": 0, "oldest_seconds": 0.0}
    assert found["models"] == {"scripted": 1, "demo": 1}
    assert found["disk"]["free_bytes"] <= found["disk"]["bytes"]
    assert found["failures"] == {"number": 0, "codes": {}}


def test_people_get_a_table_in_columns(user):
    live("host:2:def", draining=True)
    live("host:1:abc")
    printed, problems = status()
    lines = printed.splitlines()
    assert problems is None
    assert [line[:10].strip() for line in lines] == [
        "Bough",
        "database",
        "redis",
        "runners",
        "",
        "queue",
        "models",
        "",
        "disk",
        "failures",
    ]
    assert lines[3].split(maxsplit=2)[1:] == ["host:1:abc", "seen 0 s ago, 3 of 100 answers"]
    assert lines[4].endswith("3 of 100 answers, draining")
    assert {line.index("seen") for line in lines[3:5]} == {lines[0].index("embedded")}
    assert lines[-1] == "failures  0 in the last hour"


def test_work_that_waits_without_a_runner_is_wrong(user):
    queue_for(user, 30)
    live("killed")
    RunnerProcess.objects.update(seen_at=timezone.now() - timedelta(minutes=5))
    found = as_json()
    assert found["problems"] == ["Work is queued, and no runner was heard of lately."]
    assert found["queue"]["queued"] == 1
    assert 30 <= found["queue"]["oldest_seconds"] < 60
    assert (found["runners"][0]["alive"], found["runners"][0]["seconds_since_seen"] >= 300) == (False, True)
    assert "seen 5 min ago, 3 of 100 answers, gone" in status()[0]


def test_work_that_waits_for_a_runner_that_lives_or_just_came_is_right(user):
    generation = queue_for(user, 1)
    assert as_json()["problems"] == []
    Generation.objects.filter(pk=generation.pk).update(queued_at=timezone.now() - timedelta(seconds=30))
    live()
    assert as_json()["problems"] == []


def test_failures_of_the_last_hour_are_counted_by_code(user):
    for code, minutes in (("overloaded", 1), ("overloaded", 59), ("timed_out", 5), ("empty", 61)):
        generation = queue_for(user, 60 * minutes)
        when = timezone.now() - timedelta(minutes=minutes)
        Generation.objects.filter(pk=generation.pk).update(
            state=GenerationState.FAILED, error_code=code, finished_at=when, queued_at=when
        )
    found = as_json()["failures"]
    assert found == {"number": 3, "codes": {"overloaded": 2, "timed_out": 1}}
    assert status()[0].splitlines()[-1] == "failures  3 in the last hour: overloaded 2, timed_out 1"


def test_running_work_is_counted(user):
    queue_for(user, 1)
    leases.claim(owner="test:1:a", limit=1)
    assert as_json()["queue"] == {"queued": 0, "running": 1, "oldest_seconds": 0.0}


@pytest.fixture
def unapplied(transactional_db):
    """A migration that the database does not know of."""
    recorder = MigrationRecorder(connection)
    recorder.record_unapplied("accounts", "0001_initial")
    yield
    recorder.record_applied("accounts", "0001_initial")


def test_migrations_that_wait_are_wrong(unapplied):
    assert as_json()["problems"] == ["Migrations are not applied (1): run manage.py migrate."]


def test_a_disk_that_is_almost_full_is_wrong(monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(total=10**12, used=10**12, free=10**6))
    assert as_json()["problems"] == ["The disk is almost full."]


def test_a_missing_data_folder_is_wrong(settings, tmp_path):
    settings.DATA_DIR = tmp_path / "nowhere"
    found = as_json()
    assert (found["disk"], found["problems"]) == (None, ["The data folder is missing."])
    assert "disk      unknown" in status()[0]


def test_redis_is_told_with_its_memory(settings, redis_server):  # noqa: F811
    settings.REDIS_URL = redis_server.url
    found = as_json()
    assert (found["shape"], found["redis"]["connected"], found["problems"]) == ("scaled", True, [])
    assert found["redis"]["bytes"] > 100_000
    assert " in use" in status()[0].splitlines()[2]
    redis_server.kill()
    found = as_json()
    assert found["redis"]["connected"] is False
    assert found["problems"] == ["Redis can't be reached (ConnectionError)."]
    assert status()[0].splitlines()[2] == "redis     away"


def test_a_database_that_is_away_is_wrong_and_the_rest_is_told():
    def away(execute, sql, params, many, context):
        raise OperationalError("connection refused\nsecond line")

    with connection.execute_wrapper(away):
        found = as_json()
        printed, _ = status()
    assert found["problems"] == ["The database can't be reached: connection refused"]
    assert (found["database"], found["queue"], found["runners"], found["failures"]) == (None, None, None, None)
    assert found["models"] == {"scripted": 1, "demo": 1}
    lines = printed.splitlines()
    assert (lines[1], lines[4]) == ("database  away", "queue     unknown")
    assert lines[-1] == "failures  unknown"
