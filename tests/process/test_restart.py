"""A real server that is killed, or asked to end, in the middle of an answer: what was shown is kept, and goes on."""

import json
import signal
import threading
import time
import urllib.error
import urllib.request

import pytest

from tests.browser.server import Server

pytestmark = pytest.mark.slow
PATIENCE = 30.0


class Program:
    """A program that talks to the server by its API."""

    def __init__(self, server, token):
        self.server = server
        self.token = token

    def call(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.server.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return json.loads(response.read() or "null")

    def read(self, chat, shown, enough):
        """Follow the running answer, noting when each piece was shown; stop when the server is gone."""
        request = urllib.request.Request(f"{self.server.url}/api/chats/{chat}/stream")
        request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as stream:
                self._note(stream, shown, enough)
        except (OSError, urllib.error.URLError):
            pass  # the server was killed: that is the test
        finally:
            enough.set()

    @staticmethod
    def _note(stream, shown, enough):
        for line in stream:
            if line.startswith(b"data: ") and b'"text"' in line:
                piece = json.loads(line[6:])
                shown.append((time.monotonic(), piece["part"], piece["offset"], piece["text"]))
                if sum(len(text) for _, _, _, text in shown) > 300:
                    enough.set()

    def answer(self, chat):
        return self.call("GET", f"/api/chats/{chat}/messages")["messages"][-1]

    def settled(self, chat):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            answer = self.answer(chat)
            if answer["status"] not in ("queued", "streaming"):
                return answer
            time.sleep(0.1)
        raise AssertionError(f"Still {answer['status']} after {PATIENCE} s")


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    server.prepare()
    server.manage("create_user", "ada@example.org")
    server.start()
    yield server
    server.stop(signal.SIGKILL)


@pytest.fixture
def program(server):
    return Program(server, server.manage("create_token", "ada@example.org"))


def begin(program, content="write 2000 words"):
    """Begin a long answer and give the chat and what a reader was shown, once there is some."""
    chat = program.call("POST", "/api/chats", {})["id"]
    program.call("POST", f"/api/chats/{chat}/messages", {"content": content, "model": "demo/bough"})
    shown, enough = [], threading.Event()
    reader = threading.Thread(target=program.read, args=(chat, shown, enough), daemon=True)
    reader.start()
    assert enough.wait(PATIENCE)
    return chat, shown, reader


def joined(pieces):
    """Put what was shown together, by part."""
    parts = {}
    for _, part, offset, text in pieces:
        assert len(parts.get(part, "")) == offset
        parts[part] = parts.get(part, "") + text
    return [parts[number] for number in sorted(parts)]


def test_kill_9_in_mid_answer_loses_at_most_a_second_and_continue_goes_on(server, program):
    chat, shown, reader = begin(program)
    time.sleep(1.5)
    killed = time.monotonic()
    server.stop(signal.SIGKILL)
    reader.join(PATIENCE)
    server.start()
    answer = program.settled(chat)
    kept = [part["text"] for part in answer["parts"]]
    a_second_before = joined([piece for piece in shown if piece[0] < killed - 1.2])
    assert answer["status"] == "interrupted"
    assert answer["error"]["code"] == "restarted"
    for held, seen in zip(kept, a_second_before, strict=False):
        assert held.startswith(seen) or seen.startswith(held)
    assert sum(map(len, kept)) >= sum(map(len, a_second_before))
    program.call("POST", f"/api/chats/{chat}/messages/{answer['id']}/continue", {})
    stopped = threading.Timer(1.0, program.call, ("POST", f"/api/chats/{chat}/stop", {}))
    stopped.start()
    continued = program.settled(chat)
    assert continued["id"] == answer["id"]
    assert continued["content"].startswith(answer["content"])
    assert len(continued["content"]) > len(answer["content"])


def test_a_server_asked_to_end_lets_short_answers_finish(server, program):
    chat, _, _ = begin(program, "hello")
    server.stop(signal.SIGTERM)
    server.start()
    assert program.answer(chat)["status"] == "complete"


def test_a_message_sent_and_never_begun_is_answered_after_the_restart(server, program):
    chat = program.call("POST", "/api/chats", {})["id"]
    program.call("POST", f"/api/chats/{chat}/messages", {"content": "hello", "model": "demo/bough"})
    server.stop(signal.SIGKILL)
    server.start()
    answer = program.settled(chat)
    assert answer["status"] in ("complete", "interrupted")
    assert answer["content"] or answer["status"] == "interrupted"
