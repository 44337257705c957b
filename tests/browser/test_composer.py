"""The box: what Enter does, that no text is ever lost, Send and Stop in one place."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser import steps
from tests.browser.steps import SLOW, box


def test_enter_sends_and_shift_enter_makes_a_line(page: Page):
    steps.choose(page, "demo/bough")
    box(page).press_sequentially("One")
    box(page).press("Shift+Enter")
    box(page).press_sequentially("two. Write 10 words")
    box(page).press("Enter")

    expect(steps.said(page)).to_have_text(re.compile(r"One\ntwo"))
    expect(box(page)).to_have_value("")
    expect(box(page)).to_be_focused()
    steps.wait_ended(page)
    assert "/c/" in page.url


def test_the_message_shows_before_the_server_has_answered(page: Page):
    page.route("**/send/", lambda route: page.wait_for_timeout(800) or route.continue_())
    steps.send(page, "Write 10 words")

    expect(page.locator("article[data-status=sending]")).to_contain_text("Write 10 words", timeout=700)
    expect(page.locator("article[data-status=sending]")).to_have_count(0)
    steps.wait_ended(page)


def test_nothing_is_sent_from_an_empty_box(page: Page):
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    box(page).fill("   \n ")
    box(page).press("Enter")

    expect(page.locator("#announce")).to_contain_text("Write a message first")
    assert not [url for url in requests if url.endswith("/send/")]


def test_enter_that_ends_a_composition_does_not_send(page: Page):
    box(page).fill("にほん")
    for detail in ("isComposing: true", "keyCode: 229"):
        box(page).evaluate(
            f"node => node.dispatchEvent(new KeyboardEvent('keydown', {{key: 'Enter', bubbles: true, {detail}}}))"
        )

    assert box(page).input_value() == "にほん"
    assert steps.said(page).count() == 0


def test_enter_twice_sends_once(page: Page):
    steps.choose(page, "demo/bough")
    box(page).fill("Write 10 words")
    box(page).press("Enter")
    box(page).press("Enter")
    steps.wait_ended(page)

    page.reload()
    expect(steps.said(page)).to_have_count(1)


def test_a_refused_send_gives_the_text_back_with_a_sentence(page: Page):
    page.route("**/send/", lambda route: route.fulfill(status=500, body="<p>broken</p>"))
    steps.send(page, "Precious words")

    expect(page.locator("#composer-error")).to_contain_text("Nothing was lost")
    expect(box(page)).to_have_value("Precious words")
    expect(page.locator("article")).to_have_count(0)


@pytest.mark.parametrize(("proxy_says", "told"), [(None, "Your text is kept"), (502, "Nothing was lost")])
def test_a_send_whose_answer_got_lost_gives_the_text_back_and_a_second_try_counts_once(page: Page, proxy_says, told):
    first = []

    def lose_the_answer(route):
        if first:
            return route.continue_()
        first.append(route.fetch())  # the server has it; the page never hears
        return route.fulfill(status=proxy_says, body="<h1>Bad gateway</h1>") if proxy_says else route.abort()

    page.route("**/send/", lose_the_answer)
    steps.send(page, "Write 11 words")
    expect(page.locator("#composer-error")).to_contain_text(told)
    expect(box(page)).to_have_value("Write 11 words")

    box(page).press("Enter")
    expect(steps.said(page)).to_have_count(1)
    steps.wait_ended(page)

    page.reload()
    expect(steps.said(page)).to_have_count(1)


def test_words_typed_while_a_send_fails_stay_below_the_text_that_comes_back(page: Page):
    steps.choose(page, "demo/bough")
    page.route("**/send/", lambda route: page.wait_for_timeout(500) or route.abort())
    box(page).fill("First")
    box(page).press("Enter")
    box(page).press_sequentially("second")

    expect(box(page)).to_have_value("First\n\nsecond")


def test_a_draft_survives_a_reload_and_is_gone_once_sent(page: Page):
    box(page).fill("Half a thought, write 10 words")
    page.reload()
    expect(box(page)).to_have_value("Half a thought, write 10 words")
    expect(page.locator("#draft-note")).to_contain_text("Draft restored")

    steps.choose(page, "demo/bough")
    box(page).press("Enter")
    steps.wait_ended(page)
    page.goto("/")
    expect(box(page)).to_have_value("")


def test_each_conversation_has_its_own_draft(page: Page):
    steps.ask(page, "Write 10 words")
    box(page).fill("For this one")
    page.goto("/")
    expect(box(page)).to_have_value("")
    page.go_back()
    expect(box(page)).to_have_value("For this one")


def test_arrow_up_in_an_empty_box_recalls_earlier_prompts(page: Page):
    steps.ask(page, "Write 10 words")
    steps.ask(page, "Write 11 *words*")

    box(page).press("ArrowUp")
    expect(box(page)).to_have_value("Write 11 *words*")
    box(page).press("ArrowUp")
    expect(box(page)).to_have_value("Write 10 words")
    box(page).press("ArrowUp")
    expect(box(page)).to_have_value("Write 10 words")


def test_stop_keeps_the_text_so_far(page: Page):
    steps.send(page, "Go", model="openai/fake-gate")
    expect(steps.last(page)).to_contain_text("Before the gate.")
    expect(steps.button(page, "Send")).to_be_hidden()
    page.wait_for_timeout(450)

    steps.button(page, "Stop").click()

    expect(steps.last(page).locator(".message-state")).to_contain_text("Stopped by you")
    expect(steps.text_of(steps.last(page))).to_have_text("Before the gate.")
    expect(steps.button(page, "Send")).to_be_visible()
    expect(steps.button(steps.last(page), "Continue").first).to_be_visible()


def test_escape_stops(page: Page):
    steps.send(page, "Go", model="openai/fake-silent")
    expect(steps.button(page, "Stop")).to_be_visible()
    page.wait_for_timeout(450)

    box(page).press("Escape")

    expect(steps.last(page).locator(".message-state")).to_contain_text("Stopped by you")


def test_a_stop_that_the_server_never_hears_is_tried_again_and_then_told(page: Page):
    tries: list[str] = []
    steps.send(page, "Go", model="openai/fake-gate")
    expect(steps.last(page)).to_contain_text("Before the gate.")
    page.route("**/stop/", lambda route: (tries.append("stop"), route.abort())[1])
    page.wait_for_timeout(450)

    steps.button(page, "Stop").click()

    toast = page.locator("#toasts .toast")
    expect(toast).to_contain_text("the answer goes on there", timeout=SLOW)
    assert len(tries) == 4
    page.unroute("**/stop/")
    steps.button(toast, "Retry").click()
    expect(steps.last(page).locator(".message-state")).to_contain_text("Stopped by you")


def test_a_starter_fills_the_box_and_sends_nothing(page: Page):
    page.locator(".starters a").first.click()

    expect(box(page)).not_to_have_value("")
    expect(box(page)).to_be_focused()
    expect(page.locator("article")).to_have_count(0)


def test_copy_gives_markdown_and_html(context: BrowserContext, page: Page):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    steps.ask(page, "Go", model="openai/fake")

    steps.button(steps.last(page), "Copy").click()

    expect(page.locator("#announce")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("## A good answer")
    html = page.evaluate(
        "navigator.clipboard.read().then(items => items[0].getType('text/html')).then(blob => blob.text())"
    )
    assert "<table>" in html
    assert "data-added" not in html


def test_code_blocks_have_a_button_that_copies_the_code_alone(context: BrowserContext, page: Page):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    steps.ask(page, "Go", model="openai/fake")

    page.locator(".code .code-copy").click()

    expect(page.locator(".code .code-copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").strip() == "def grow(tree):\n    return tree.height + 1"


def test_copy_works_where_the_clipboard_is_not_allowed(page: Page):
    steps.ask(page, "Go", model="openai/fake")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.evaluate(
        "document.addEventListener('copy', () => window.copied = getSelection().toString() || document.activeElement.value)"
    )

    steps.button(steps.last(page), "Copy").click()

    expect(page.locator("#announce")).to_contain_text("Copied")
    assert page.evaluate("window.copied").startswith("## A good answer")


def test_the_way_back_to_the_end_shows_only_far_from_it(page: Page):
    steps.ask(page, steps.LONG)
    expect(page.locator("#jump")).to_be_hidden()

    page.locator("#scroller").evaluate("node => { node.scrollTop = -600 }")
    expect(page.locator("#jump")).to_be_visible()
    page.locator("#jump").click()

    expect(page.locator("#jump")).to_be_hidden()
    expect(page.locator("#scroller")).to_have_js_property("scrollTop", 0)


def test_a_reader_above_is_not_moved_by_arriving_text(page: Page):
    steps.ask(page, steps.LONG)
    steps.send(page, "Be fast. Write 800 words")
    expect(steps.text_of(steps.last(page))).to_contain_text(" ", timeout=SLOW)
    page.locator("#scroller").evaluate("node => { node.scrollTop = -700 }")
    first = steps.answers(page).first
    before = first.evaluate("node => node.getBoundingClientRect().top")

    steps.wait_ended(page)

    assert abs(first.evaluate("node => node.getBoundingClientRect().top") - before) < 2


def test_the_list_of_shortcuts_opens_and_gives_the_focus_back(page: Page):
    box(page).focus()
    page.keyboard.press("Control+/")

    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Keyboard shortcuts")
    expect(dialog).to_contain_text("Regenerate the last answer")
    page.keyboard.press("Escape")
    expect(box(page)).to_be_focused()


def test_an_old_token_is_renewed_and_the_send_goes_through(page: Page):
    page.evaluate(
        """() => {
          document.body.setAttribute("hx-headers", JSON.stringify({"X-CSRFToken": "x".repeat(64)}));
          document.querySelectorAll("input[name=csrfmiddlewaretoken]").forEach(field => field.value = "x".repeat(64));
        }"""
    )
    steps.ask(page, "Write 10 words")

    expect(steps.said(page)).to_have_count(1)


def test_enter_while_an_answer_is_written_waits_for_its_end(page: Page, upstream_all):
    steps.send(page, "Go", model="openai/fake-gate")
    expect(steps.last(page)).to_contain_text("Before the gate.")
    steps.choose(page, "demo/bough")
    box(page).fill("Write 10 words")
    box(page).press("Enter")
    expect(page.locator("#queue-note")).to_contain_text("Will be sent when the answer ends")
    expect(box(page)).to_have_value("Write 10 words")

    upstream_all.release()

    expect(steps.said(page)).to_have_count(2)
    expect(page.locator("#queue-note")).to_have_count(0)
    steps.wait_ended(page)
    expect(steps.answers(page)).to_have_count(2)


def test_back_from_a_first_message_leads_to_a_new_one(page: Page):
    steps.ask(page, "Write 10 words")

    page.go_back()

    expect(page.locator("article")).to_have_count(0)
    expect(page.locator(".starters")).to_be_visible()
