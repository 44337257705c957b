"""Where live text can't come as it should: the page says so in a quiet pill or line, goes another way, and heals."""

import json
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, WebSocketRoute, expect

from tests.browser import steps
from tests.browser.server import Server
from tests.browser.steps import SLOW
from tests.upstream.fixtures import RunningUpstream


def pill(page: Page) -> Locator:
    return page.locator("#pill")


class Line:
    """The way of a page's sockets to the server, which a test may block, and end."""

    def __init__(self, page: Page) -> None:
        self.code = 0  # with which new sockets are closed; 0 lets them through
        self.opened = 0
        self._routes: list[WebSocketRoute] = []
        page.route_web_socket("**/ws/", self._connect)

    def close(self, code: int) -> None:
        """End the socket that is there, and close further ones."""
        self.code = code
        self._routes[-1].close(code=code)

    def say(self, **frame: Any) -> None:
        """Let a frame arrive as if the server had sent it."""
        self._routes[-1].send(json.dumps(frame))

    def _connect(self, route: WebSocketRoute) -> None:
        self.opened += 1
        if self.code:
            route.close(code=self.code)
        else:
            self._routes.append(route)
            route.connect_to_server()


@pytest.fixture
def line(page: Page) -> Line:
    line = Line(page)
    page.reload()
    expect(pill(page)).to_be_attached()
    return line


def wait_for_sockets(page: Page, line: Line, count: int) -> None:
    while line.opened < count:
        page.wait_for_timeout(20)


def test_a_provider_that_is_tried_again_is_said_with_its_reason(page: Page):
    steps.send(page, "Go", model="openai/fake-429")

    state = steps.last(page).locator(".message-state")
    expect(state).to_have_text(re.compile(r"OpenAI is overloaded\. Trying again in \d s"), timeout=SLOW)
    expect(steps.button(state, "Retry")).to_be_visible(timeout=SLOW)


def test_blocked_sockets_are_asked_around_each_second_and_taken_up_again_when_they_work(
    page: Page, line: Line, upstream_all: RunningUpstream
):
    line.close(1011)
    expect(pill(page)).to_have_text("Live updates interrupted, reconnecting…", timeout=SLOW)
    steps.send(page, "Go", model="openai/fake-gate")
    expect(steps.last(page)).to_contain_text("Before the gate.", timeout=SLOW)

    line.code = 0
    expect(pill(page)).to_have_text("", timeout=SLOW)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/live/" in request.url else None)
    upstream_all.release()

    steps.wait_ended(page)
    expect(steps.text_of(steps.last(page))).to_have_text("Before the gate. After the gate.")
    assert len(asked) <= 1


def test_a_short_break_is_no_news(page: Page, line: Line):
    seen = page.evaluate_handle(
        "() => { const seen = []; new MutationObserver(() => seen.push(document.querySelector('#pill').textContent))"
        ".observe(document.querySelector('#pill'), { childList: true }); return seen; }"
    )
    wait_for_sockets(page, line, 1)
    line.close(1012)
    line.code = 0
    wait_for_sockets(page, line, 2)
    page.wait_for_timeout(300)

    assert seen.json_value() == []


def test_a_restart_is_called_by_its_name(page: Page, line: Line):
    wait_for_sockets(page, line, 1)
    line.close(1012)

    expect(pill(page)).to_have_text("Updating the server, back in a moment", timeout=SLOW)
    line.code = 0
    page.evaluate("dispatchEvent(new Event('online'))")  # whoever gets a network back doesn't wait
    expect(pill(page)).to_have_text("", timeout=SLOW)


def test_what_was_said_elsewhere_during_a_break_is_there_after_it(page: Page, line: Line, context: BrowserContext):
    steps.ask(page, "Write 10 words")
    other = context.new_page()
    other.goto(steps.path_of(page))
    wait_for_sockets(page, line, 1)
    line.close(1011)

    steps.ask(other, "And now write 12 words")
    expect(steps.said(page)).to_have_count(1)
    line.code = 0
    page.evaluate("dispatchEvent(new Event('online'))")

    expect(steps.said(page)).to_have_count(2, timeout=SLOW)
    expect(steps.answers(page)).to_have_count(2)
    expect(steps.text_of(steps.last(page))).to_have_text(steps.text_of(steps.last(other)).text_content() or "")


def test_a_tab_too_many_is_patient_and_asks_for_its_text(page: Page, line: Line, upstream_all: RunningUpstream):
    wait_for_sockets(page, line, 1)
    line.close(4429)
    expect(pill(page)).to_have_text("Many tabs are open: this one updates more slowly", timeout=SLOW)

    steps.send(page, "Go", model="openai/fake-gate")
    expect(steps.last(page)).to_contain_text("Before the gate.", timeout=SLOW)
    upstream_all.release()
    steps.wait_ended(page)

    assert line.opened == 1


def test_text_that_comes_slower_is_said_once_it_lasts(page: Page, line: Line):
    wait_for_sockets(page, line, 1)
    line.say(type="delayed", on=True)
    expect(pill(page)).to_have_text("Live text is delayed", timeout=SLOW)
    line.say(type="delayed", on=False)
    expect(pill(page)).to_have_text("")


def test_offline_is_said_at_once_and_what_was_missed_comes_with_the_network(
    page: Page, context: BrowserContext, upstream_all: RunningUpstream
):
    steps.send(page, "Go", model="openai/fake-gate")
    expect(steps.last(page)).to_contain_text("Before the gate.")

    context.set_offline(True)
    expect(pill(page)).to_have_text("Offline: messages will not be sent")
    upstream_all.release()
    steps.box(page).fill("Is anybody there?")
    context.set_offline(False)

    expect(pill(page)).to_have_text("", timeout=SLOW)
    steps.wait_ended(page)
    expect(steps.text_of(steps.last(page))).to_have_text("Before the gate. After the gate.")
    expect(steps.box(page)).to_have_value("Is anybody there?")


def test_the_pill_is_read_out_politely_and_covers_nothing_one_needs(page: Page, line: Line):
    wait_for_sockets(page, line, 1)
    expect(page.get_by_role("status").and_(pill(page))).to_be_attached()
    line.close(1011)
    expect(pill(page)).to_contain_text("reconnecting", timeout=SLOW)

    for width in (1100, 360):
        page.set_viewport_size({"width": width, "height": 700})
        box, over = page.locator("#composer").bounding_box() or {}, pill(page).bounding_box() or {}
        assert over["y"] + over["height"] <= box["y"]
        assert 0 <= over["x"] <= width - over["width"]


# --- the server itself is gone ------------------------------------------------------------------------------------


@pytest.fixture
def own_server(server: Server) -> Iterator[Server]:
    """The server, running again afterwards whatever happens."""
    yield server
    if not server.is_serving():
        server.stop(signal.SIGKILL)
        server.start()


def test_a_server_killed_amid_an_answer_comes_back_and_the_page_shows_what_was_kept(page: Page, own_server: Server):
    steps.send(page, "Go", model="openai/fake-gate")
    expect(steps.last(page)).to_contain_text("Before the gate.")

    own_server.stop(signal.SIGKILL)
    expect(pill(page)).to_have_text("The server can't be reached, trying again…", timeout=SLOW)
    own_server.start()

    expect(pill(page)).to_have_text("", timeout=2 * SLOW)
    steps.wait_ended(page)
    expect(steps.last(page)).to_contain_text("Before the gate.")
    expect(steps.button(steps.last(page), "Continue")).to_be_visible()


def test_a_server_that_restarts_after_its_answers_leaves_no_trace_on_the_page(page: Page, own_server: Server):
    steps.send(page, "Be fast. Write 300 words")
    own_server.stop(signal.SIGTERM)
    own_server.start()

    expect(pill(page)).to_have_text("", timeout=2 * SLOW)
    steps.wait_ended(page)
    whole = steps.text_of(steps.last(page)).inner_text()
    page.reload()
    assert steps.text_of(steps.last(page)).inner_text() == whole
