"""Web and runner in processes of their own, with Redis between them: either may be killed under a running answer."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.browser.server import PATIENCE, ROOT, Server
from tests.process.test_restart import Program, begin, joined
from tests.servers import redis_server  # noqa: F401  (a fixture)

pytestmark = pytest.mark.slow


class Shape(Server):
    """A web process without a runner, and a runner beside it."""

    def __init__(self, data, redis):
        super().__init__(data)
        self._environment |= {"REDIS_URL": redis.url, "BOUGH_GENERATIONS": "external"}
        self._runner = None

    def start_runner(self):
        command = [sys.executable, "manage.py", "run_generations", "--concurrency", "5"]
        log = (self.data / "runner.log").open("ab")
        self._runner = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)
        log.close()

    def stop_runner(self, how=signal.SIGTERM):
        if self._runner is not None:
            self._runner.send_signal(how)
            self._runner.wait(PATIENCE)
            self._runner = None


@pytest.fixture
def shape(tmp_path, redis_server):  # noqa: F811
    shape = Shape(tmp_path, redis_server)
    shape.prepare()
    shape.manage("create_user", "ada@example.org")
    shape.start()
    shape.start_runner()
    yield shape
    shape.stop_runner(signal.SIGKILL)
    shape.stop(signal.SIGKILL)


@pytest.fixture
def program(shape):
    return Program(shape, shape.manage("create_token", "ada@example.org"))


def test_a_web_process_killed_under_an_answer_loses_nothing(shape, program):
    chat, shown, reader = begin(program, "write 120 words")
    shape.stop(signal.SIGKILL)
    reader.join(PATIENCE)
    shape.start()
    answer = program.settled(chat)
    assert answer["status"] == "complete"
    for part, seen in zip(answer["parts"], joined(shown), strict=False):
        assert part["text"].startswith(seen)


def test_a_runner_killed_under_an_answer_leaves_its_text(shape, program):
    chat, _, _ = begin(program)
    time.sleep(1.2)
    shape.stop_runner(signal.SIGKILL)
    shape.start_runner()
    answer = program.settled(chat)
    assert answer["status"] == "interrupted"
    assert len("".join(part["text"] for part in answer["parts"])) > 100


def test_a_runner_asked_to_end_lets_short_answers_finish(shape, program):
    chat, _, _ = begin(program, "hello")
    shape.stop_runner(signal.SIGTERM)
    assert program.answer(chat)["status"] == "complete"


def test_stop_reaches_the_runner_through_redis(shape, program):
    chat, _, _ = begin(program)
    began = time.monotonic()
    program.call("POST", f"/api/chats/{chat}/stop", {})
    assert program.settled(chat)["status"] == "stopped"
    assert time.monotonic() - began < 5
    assert os.environ.get("REDIS_URL") is None  # the test's own environment stays embedded
