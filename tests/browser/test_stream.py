"""Live text in a real browser: whole, in order, never rewritten, through reloads, gaps and lost sockets."""

import json

from playwright.sync_api import Page, Route, WebSocketRoute, expect

from tests.browser import steps
from tests.browser.steps import SLOW


def _html(page: Page) -> str:
    return steps.text_of(steps.last(page)).evaluate(
        """body => {
          const copy = body.cloneNode(true);
          copy.querySelectorAll("[data-added]").forEach(node => node.remove());
          return copy.innerHTML.replace(/\\s+/g, " ").trim();
        }"""
    )


def test_an_answer_streams_to_its_end_without_a_reload(page: Page):
    steps.ask(page, "Show me a table, show me code", model="openai/fake-slow")

    expect(steps.last(page)).to_contain_text("Nothing more is to be said — naïve café, 木, 🌳.")
    expect(steps.button(page, "Send")).to_be_visible()
    expect(page.locator("#announce")).to_contain_text("Answer complete")


def test_streamed_html_is_what_a_fresh_page_shows(page: Page):
    steps.ask(page, "Show me a table, show me code, show me math, show me a list")
    streamed = _html(page)

    page.reload()

    assert _html(page) == streamed


def test_settled_blocks_keep_their_nodes_and_the_selection(page: Page):
    steps.send(page, "Go", model="openai/fake-slow")
    first = steps.text_of(steps.last(page)).locator("> :first-child:not(.tail)")
    first.wait_for()
    first.evaluate("node => { node.wasHere = true; getSelection().selectAllChildren(node); }")

    steps.wait_ended(page)

    assert first.evaluate("node => node.wasHere === true")
    assert page.evaluate("getSelection().toString()") == "A good answer"


def test_a_reload_amid_an_answer_shows_the_text_so_far_and_follows(page: Page, upstream_all):
    steps.send(page, "Go", model="openai/fake-gate")
    expect(steps.last(page)).to_contain_text("Before the gate.")

    page.goto(steps.path_of(page))
    expect(steps.last(page)).to_contain_text("Before the gate.")
    expect(steps.button(page, "Stop")).to_be_visible()
    upstream_all.release()

    steps.wait_ended(page)
    expect(steps.text_of(steps.last(page))).to_have_text("Before the gate. After the gate.")


def test_reasoning_stands_apart_and_says_how_long_it_took(page: Page):
    steps.ask(page, "Think. Write 20 words")

    summary = steps.last(page).locator("details.reasoning > summary")
    expect(summary).to_contain_text("Thought for")
    expect(steps.last(page).locator(".reasoning .md")).to_be_hidden()


def test_a_lost_frame_is_noticed_and_healed(page: Page):
    lost = []

    def relay(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            frame = json.loads(message)
            if frame["type"] == "answer" and any("settled" in part for part in frame["parts"]) and not lost:
                lost.append(frame)
            else:
                route.send(message)

        server.on_message(pass_on)

    page.route_web_socket("**/ws/", relay)
    page.reload()
    steps.ask(page, "Be fast. Write 400 words")
    healed = _html(page)

    assert lost
    page.reload()
    assert _html(page) == healed


def test_a_broken_socket_comes_back_and_the_answer_is_whole(page: Page, upstream_all):
    routes: list[WebSocketRoute] = []

    def relay(route: WebSocketRoute) -> None:
        routes.append(route)
        route.connect_to_server()

    page.route_web_socket("**/ws/", relay)
    page.reload()
    steps.send(page, "Go", model="openai/fake-gate")
    expect(steps.last(page)).to_contain_text("Before the gate.")

    routes[0].close(code=1012, reason="restarting")
    upstream_all.release()

    steps.wait_ended(page)
    expect(steps.text_of(steps.last(page))).to_have_text("Before the gate. After the gate.")
    assert len(routes) > 1


def test_an_answer_that_ended_meanwhile_is_asked_for_until_the_server_can_say(page: Page, upstream_all):
    routes: list[WebSocketRoute] = []
    asked: list[str] = []

    def relay(route: WebSocketRoute) -> None:
        routes.append(route)
        if len(routes) == 1:
            route.connect_to_server()
        else:
            route.send(json.dumps({"type": "hello", "v": 1, "n": 1}))

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=503) if len(asked) == 1 else route.continue_()

    page.route_web_socket("**/ws/", relay)
    page.reload()
    steps.send(page, "Go", model="openai/fake-gate")
    expect(steps.last(page)).to_contain_text("Before the gate.")
    page.route("**/live/**", answer)

    # The socket that the page opens next knows nothing of what has ended.
    routes[0].close(code=1012, reason="restarting")
    upstream_all.release()

    steps.wait_ended(page)
    expect(steps.text_of(steps.last(page))).to_have_text("Before the gate. After the gate.")
    assert len(asked) > 1
    assert len(routes) == 2


def test_where_sockets_are_blocked_the_page_asks_each_second(page: Page, upstream_all):
    page.route_web_socket("**/ws/", lambda route: route.close(code=1011, reason="blocked"))
    page.reload()
    expect(page.locator("#pill")).to_contain_text("reconnecting", timeout=SLOW)

    steps.send(page, "Go", model="openai/fake-gate")
    expect(steps.last(page)).to_contain_text("Before the gate.", timeout=SLOW)
    upstream_all.release()

    steps.wait_ended(page)
    expect(steps.text_of(steps.last(page))).to_have_text("Before the gate. After the gate.")


def test_a_socket_closed_for_a_lost_session_asks_to_sign_in_and_keeps_the_text(page: Page):
    page.route_web_socket("**/ws/", lambda route: route.close(code=4401, reason="sign in"))
    page.reload()

    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Please sign in again. Your text is kept.")
    expect(steps.button(dialog, "Sign in")).to_be_focused()


def test_frames_are_acknowledged(page: Page):
    sent: list[str] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda data: sent.append(str(data))))
    received = steps.watch_socket(page)
    page.reload()

    steps.ask(page, "Be fast. Write 300 words")

    newest = max(json.loads(frame).get("n", 0) for frame in received)
    page.wait_for_timeout(400)
    acks = [json.loads(frame)["n"] for frame in sent if json.loads(frame)["type"] == "ack"]
    assert acks == sorted(acks)
    assert acks[-1] >= newest
    assert len(acks) < len(received)


def test_a_failed_answer_says_why_and_offers_a_way_on(page: Page):
    steps.send(page, "Fail. Please", model="demo/bough")

    expect(steps.last(page).locator(".message-state")).to_contain_text("overloaded", timeout=SLOW)
    expect(steps.button(steps.last(page).locator(".message-state"), "Retry")).to_be_visible()
