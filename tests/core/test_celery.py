"""Tasks, by real workers on both brokers; and what the schedule sends."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from celery import Celery
from django.conf import settings
from django.utils import timezone

from apps.conversations import tasks
from apps.conversations.models import Generation, GenerationState, Message
from apps.conversations.services import messages
from apps.core.locks import only_one
from tests.browser.server import ROOT, Server
from tests.servers import redis_server  # noqa: F401  (a fixture)

PATIENCE = 30.0


class Worker:
    """A Celery worker in a process of its own, on a folder or on Redis."""

    def __init__(self, server, redis_url):
        self._log = server.data / f"worker-{'redis' if redis_url else 'folder'}.log"
        environment = server._environment | {"REDIS_URL": redis_url, "LOG_LEVEL": "INFO"}
        command = [sys.executable, "-W", "ignore", "-m", "celery", "-A", "config", "--quiet", "worker"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def wait_for(self, word):
        until = time.monotonic() + PATIENCE
        while word not in (log := self._log.read_text()):
            assert time.monotonic() < until, log
            assert self.process.poll() is None, log
            time.sleep(0.02)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("jobs"))
    server.manage("migrate", "--verbosity", "0")
    return server


def broker_of(server, redis_url):
    """Give a way to send tasks to the broker that a server's settings name."""
    options = {"visibility_timeout": 3_600, "global_keyprefix": "bough:jobs:"}
    if not redis_url:
        options = {
            key: value.replace(str(settings.BROKER_DIR), str(server.data / "broker"))
            if isinstance(value, str)
            else value
            for key, value in settings.CELERY_BROKER_TRANSPORT_OPTIONS.items()
        }
    broker = Celery("sender", broker=redis_url or "filesystem://localhost", set_as_current=False)
    broker.conf.update(broker_transport_options=options, task_default_queue=settings.CELERY_TASK_DEFAULT_QUEUE)
    return broker


def send_sweep(server, redis_url, **arguments):
    with broker_of(server, redis_url) as broker:
        broker.send_task("sweep", kwargs=arguments)


@pytest.mark.slow
def test_workers_on_either_broker_sweep_also_after_redis_was_away_and_end_cleanly(server, redis_server):  # noqa: F811
    addresses = ["", redis_server.url]
    workers = [Worker(server, address) for address in addresses]
    try:
        for address, worker in zip(addresses, workers, strict=True):
            worker.wait_for(" ready")
            send_sweep(server, address)
        for worker in workers:
            worker.wait_for("swept whole=False")
            worker.wait_for("succeeded")
        redis_server.kill()
        workers[1].wait_for("Cannot connect")
        redis_server.start()
        send_sweep(server, redis_server.url, whole=True)
        workers[1].wait_for("swept whole=True")
        for worker in workers:
            os.killpg(worker.process.pid, signal.SIGTERM)  # the whole group, as service managers do
        assert [worker.process.wait(PATIENCE) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
    assert list((server.data / "broker" / "messages").iterdir()) == []


@pytest.mark.django_db(transaction=True)
def test_two_sweeps_at_once_end_a_dead_answer_once(user):
    sent = messages.send(user=user, conversation_id=None, content="Hi")
    past = timezone.now() - timedelta(minutes=20)  # also after an outage that another test made
    Message.objects.filter(pk=sent.answers[0].pk).update(parts=[{"type": "text", "text": "So far"}])
    Generation.objects.filter(pk=sent.generations[0].pk).update(
        state=GenerationState.RUNNING, lease_owner="gone:1:a", lease_until=past, attempt=1, first_delta_at=past
    )
    together = threading.Barrier(4)

    def sweep():
        from django.db import connection

        together.wait(PATIENCE)
        tasks.sweep()
        connection.close()

    threads = [threading.Thread(target=sweep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    generation = Generation.objects.select_related("message").get(pk=sent.generations[0].pk)
    assert generation.state == GenerationState.INTERRUPTED
    assert generation.message.text == "So far"


@pytest.mark.django_db(transaction=True)
def test_the_whole_upkeep_leaves_it_to_the_one_that_runs_already(user):
    with only_one("sweep"):
        tasks.sweep(whole=True)
    tasks.sweep(whole=True)


def test_whatever_is_scheduled_is_a_task_that_may_come_late_or_not_at_all():
    from config.celery import app

    app.loader.import_default_modules()
    for entry in app.conf.beat_schedule.values():
        assert entry["task"] in app.tasks
        assert entry["options"]["expires"] > 0
    assert app.conf.task_acks_late
    assert app.conf.accept_content == ["json"]
    assert app.conf.worker_prefetch_multiplier == 1


def test_serving_and_commands_do_not_import_celery(server):
    program = "import sys, config.asgi; sys.exit('celery' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=server._environment, check=True)
