"""On a phone: one column without sideways scrolling, a drawer, actions behind ⋯, the composer at the thumb."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser import steps
from tests.browser.steps import box

SIZES = ((320, 640), (390, 844))
# An e-mail-like word has no place to break; a table of many columns and a long line of code are wider than any phone.
WIDE = "Show code, show a table, show math. Unbroken" + "word" * 60


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def phone(request: pytest.FixtureRequest, open_context: Callable[..., BrowserContext]) -> Page:
    """A page of a new conversation, on phones of two sizes."""
    width, height = request.param
    page = open_context(
        viewport={"width": width, "height": height}, has_touch=True, is_mobile=True, device_scale_factor=2
    ).new_page()
    page.goto("/")
    return page


def _tap_send(page: Page, text: str, model: str = "demo/bough") -> None:
    steps.choose(page, model)
    box(page).fill(text)
    steps.button(page, "Send").tap()


def _ask(page: Page, text: str) -> None:
    before = steps.answers(page).count()
    _tap_send(page, text)
    expect(steps.answers(page)).to_have_count(before + 1)
    steps.wait_ended(page)


def _assert_one_column(page: Page) -> None:
    """Nothing sticks out sideways: neither the page nor the transcript scrolls that way."""
    wide = page.evaluate(
        """() => [document.scrollingElement, document.querySelector("#scroller"), document.querySelector("#main")]
          .filter((node) => node && node.scrollWidth > node.clientWidth).map((node) => node.id || node.tagName)"""
    )
    assert wide == []
    assert page.evaluate("visualViewport.width") == page.viewport_size["width"]


def test_a_new_chat_needs_no_sideways_scrolling_and_has_the_composer_at_the_bottom(phone: Page):
    _assert_one_column(phone)
    edges = phone.locator("#composer").bounding_box()

    assert edges["y"] + edges["height"] > phone.viewport_size["height"] - 24
    assert edges["y"] + edges["height"] <= phone.viewport_size["height"]


def test_wide_tables_and_code_scroll_inside_themselves(phone: Page):
    _ask(phone, f"Be fast. {WIDE}")
    answer = steps.text_of(steps.last(phone))
    answer.locator("td").first.evaluate("node => (node.textContent = 'x'.repeat(200))")
    answer.locator("pre code").first.evaluate("node => node.append('y'.repeat(200))")

    _assert_one_column(phone)
    inner = answer.locator("pre").first.evaluate(
        """node => { while (node && !["auto", "scroll"].includes(getComputedStyle(node).overflowX)) {
             node = node.parentElement;
           }
           return node && node.id !== "scroller" && node.scrollWidth > node.clientWidth; }"""
    )
    assert inner


def test_an_answer_streams_and_stop_is_under_the_thumb(phone: Page, upstream_all):
    _tap_send(phone, "Go", "openai/fake-gate")
    expect(steps.last(phone)).to_contain_text("Before the gate.")
    stop = steps.button(phone, "Stop").bounding_box()
    assert min(stop["width"], stop["height"]) >= 44
    assert stop["y"] > phone.viewport_size["height"] - 120

    upstream_all.release()

    steps.wait_ended(phone)
    expect(steps.text_of(steps.last(phone))).to_have_text("Before the gate. After the gate.")
    _assert_one_column(phone)


def test_the_drawer_opens_closes_and_gives_the_focus_back(phone: Page):
    opener = steps.button(phone, "Show conversations")
    drawer = phone.get_by_role("navigation", name="Conversations")
    expect(drawer).to_be_hidden()

    opener.tap()
    expect(drawer).to_be_visible()
    _assert_one_column(phone)
    steps.button(drawer, "Close").tap()
    expect(drawer).to_be_hidden()
    expect(opener).to_be_focused()

    opener.tap()
    expect(drawer).to_be_visible()
    phone.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(opener).to_be_focused()


def test_the_drawer_closes_once_a_conversation_was_chosen(phone: Page):
    _ask(phone, "Write 10 words")
    conversation = steps.path_of(phone).rstrip("/").rsplit("/", 1)[-1]
    phone.goto("/")
    steps.button(phone, "Show conversations").tap()

    phone.locator(f"#row-{conversation} a").first.tap()

    phone.wait_for_url(f"**/c/{conversation}/")
    expect(phone.get_by_role("navigation", name="Conversations")).to_be_hidden()
    expect(steps.answers(phone)).to_have_count(1)


@pytest.mark.parametrize("name", ["Edit", "Continue", "Fork", "Favourite", "Delete"])
def test_actions_are_reached_behind_more(phone: Page, name: str):
    _ask(phone, "Write 10 words")
    action = steps.button(steps.last(phone), name)
    expect(action).to_be_hidden()

    steps.button(steps.last(phone), "More").tap()

    expect(action).to_be_in_viewport(ratio=1)
    assert action.bounding_box()["height"] >= 44


def test_what_was_chosen_behind_more_happens(phone: Page):
    _ask(phone, "Write 10 words")
    mine = steps.said(phone).first
    steps.button(mine, "More").tap()
    steps.button(mine, "Edit").tap()
    field = phone.get_by_role("textbox", name="Edit message")
    expect(field).to_be_focused()
    _assert_one_column(phone)
    field.fill("Write 11 words")
    steps.button(phone, "Save and answer").or_(steps.button(phone, "Send")).first.tap()

    expect(phone.get_by_role("button", name="Previous version, 2 of 2")).to_be_visible()
    steps.wait_ended(phone)


def test_fingers_hit_what_is_always_there(phone: Page):
    _ask(phone, "Write 10 words")
    small = phone.evaluate(
        """() => [...document.querySelectorAll("#main button, #main select, #main a, .topbar button")]
          .filter((node) => node.checkVisibility({visibilityProperty: true}))
          .map((node) => [node.getAttribute("aria-label") || node.textContent.trim(), node.getBoundingClientRect()])
          .filter(([, edges]) => edges.width && (edges.height < 44 || edges.width < 44)).map(([name]) => name)"""
    )
    assert small == []
