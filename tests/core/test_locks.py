"""One at a time, over threads and processes, on either database."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from django.conf import settings
from django.db import connection

from apps.core.locks import Locked, only_one

pytestmark = pytest.mark.django_db(transaction=True)

# A process of its own that says when it holds the lock, and holds it until it is killed.
HOLDER = """
import os, django, sys
from django.conf import settings
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()
from django.db import connection
connection.settings_dict["NAME"] = sys.argv[1]
from apps.core.locks import only_one
with only_one("sweep"):
    print("held", flush=True)
    sys.stdin.read()
"""


def is_free(name):
    try:
        with only_one(name):
            return True
    except Locked:
        return False


def test_a_second_one_is_refused_and_another_name_is_not():
    with only_one("sweep"):
        assert not is_free("sweep")
        assert is_free("doctor")
    assert is_free("sweep")


def test_it_is_free_again_after_an_error():
    with pytest.raises(RuntimeError, match="broke"), only_one("sweep"):
        raise RuntimeError("It broke.")
    assert is_free("sweep")


def test_threads_exclude_each_other():
    answers = []
    with only_one("sweep"):
        thread = threading.Thread(target=lambda: answers.append(is_free("sweep")))
        thread.start()
        thread.join(10)
    assert answers == [False]


def test_a_process_that_is_killed_leaves_no_lock():
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(connection.settings_dict["NAME"])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "BOUGH_DATA_DIR": str(settings.DATA_DIR)},
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        assert not is_free("sweep")
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate(timeout=10)
    wait = threading.Event()
    # The kernel gives a file back at once; PostgreSQL when it notices the closed connection.
    assert any(is_free("sweep") or wait.wait(0.05) for _ in range(100))
