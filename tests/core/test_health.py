import threading
from types import SimpleNamespace

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from apps.core import health

pytestmark = pytest.mark.django_db


@pytest.fixture
def a_check():
    """A place for one more check, gone after the test."""
    yield lambda check: health.add_check("test", check)
    health._checks.pop("test", None)


def test_a_process_that_answers_is_alive(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        response = client.get("/health/live")
    assert (response.status_code, response.content) == (200, b"ok")
    assert "no-store" in response["Cache-Control"]


def test_ready_names_each_check(client):
    response = client.get("/health/ready")
    body = response.json()
    assert (response.status_code, body["status"]) == (200, "ok")
    assert set(body["checks"]) >= {"database", "migrations", "disk"}
    assert all(check["ok"] for check in body["checks"].values())


def test_one_failing_check_is_503_and_says_which(client, a_check):
    def failing():
        raise health.Unhealthy("the bus is away")

    a_check(failing)
    response = client.get("/health/ready")
    assert (response.status_code, response.json()["status"]) == (503, "failing")
    assert response.json()["checks"]["test"]["detail"] == "the bus is away"


def test_a_check_that_breaks_tells_the_log_and_not_the_world(client, a_check, caplog):
    def broken():
        raise RuntimeError("postgres://user:secret@host")

    a_check(broken)
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert "secret" not in response.content.decode()
    assert "health-check-failed" in caplog.text


def test_a_missing_data_folder_is_not_ready(client, settings, tmp_path):
    settings.DATA_DIR = tmp_path / "nowhere"
    assert client.get("/health/ready").json()["checks"]["disk"]["ok"] is False


@pytest.mark.parametrize("host", ["10.1.2.3:8000", "probe.internal"])
def test_a_probe_may_use_any_host_name(client, host):
    assert client.get("/health/ready", headers={"Host": host}).status_code == 200
    assert client.get("/settings/", headers={"Host": host}).status_code == 400


def test_probes_only_look(client):
    assert client.post("/health/live").status_code == 405


@pytest.fixture
def unapplied(transactional_db):
    """A migration that the database does not know of."""
    recorder = MigrationRecorder(connection)
    recorder.record_unapplied("accounts", "0001_initial")
    yield
    recorder.record_applied("accounts", "0001_initial")


def test_a_migration_that_waits_is_not_ready(client, unapplied):
    check = client.get("/health/ready").json()["checks"]["migrations"]
    assert check["ok"] is False
    assert "not applied" in check["detail"]


def test_a_disk_that_is_almost_full_is_not_ready(client, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(total=10**12, used=10**12, free=10**6))
    assert client.get("/health/ready").json()["checks"]["disk"]["detail"] == "the disk is almost full"


def test_what_hangs_holds_up_no_probe_and_is_asked_once(a_check):
    goes_on, asked = threading.Event(), []

    def hanging():
        asked.append(1)
        assert goes_on.wait(10)
        return "back"

    a_check(hanging)
    for _ in range(3):
        results = health.run_checks(patience=0.05)
        assert (results["test"]["ok"], results["test"]["detail"]) == (False, "no answer in time")
    assert asked == [1]
    goes_on.set()
    assert health.run_checks()["test"]["detail"] == "back"


def test_the_bus_in_memory_is_there(client):
    assert client.get("/health/ready").json()["checks"]["bus"]["detail"] == "in memory"


def test_a_bus_that_is_to_be_redis_and_is_not_is_not_ready(client, settings):
    settings.REDIS_URL = "redis://localhost:1"
    response = client.get("/health/ready")
    assert (response.status_code, response.json()["checks"]["bus"]["detail"]) == (503, "Redis does not answer")
