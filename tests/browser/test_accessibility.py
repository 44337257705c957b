"""Nobody is kept out: axe finds nothing grave, names and landmarks are there, the keyboard alone is enough."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser import steps
from tests.browser.axe import findings
from tests.browser.steps import box

PLACES = ("/archive/", "/settings/profile/", "/settings/appearance/", "/settings/tokens/", "/accounts/2fa/")


@pytest.fixture(scope="module")
def with_siblings(browser, server, session_cookies) -> str:
    """The address of a conversation whose answer has three siblings, with code and a table below."""
    context = browser.new_context(base_url=server.url, storage_state=session_cookies)
    page = context.new_page()
    page.goto("/")
    steps.ask(page, "Be fast. Think. Write 40 words")
    for count in (2, 3):
        steps.button(steps.last(page), "Regenerate").click()
        expect(_version(page, f"Previous version, {count} of {count}")).to_be_visible()
        steps.wait_ended(page)
    steps.ask(page, "Be fast. Show code, show a table, show math, show a list")
    address = steps.path_of(page)
    context.close()
    return address


@pytest.fixture(params=["light", "dark"])
def themed(request: pytest.FixtureRequest, open_context: Callable[..., BrowserContext]) -> Page:
    """A page in each of the two themes."""
    return open_context(color_scheme=request.param, reduced_motion="reduce").new_page()


@pytest.fixture
def gate(upstream_all) -> Iterator[Any]:
    """The provider whose answer waits; let go at the end, whatever happened."""
    yield upstream_all
    upstream_all.release()


def _version(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def _tab_to(page: Page, target: Locator, key: str = "Tab") -> None:
    """Press Tab until the target has the focus."""
    for _ in range(80):
        if target.count() == 1 and target.evaluate("node => node === document.activeElement"):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{key} never reached {target}; the focus is on {_focused(page)}.")


def _focused(page: Page) -> str:
    return page.evaluate("document.activeElement.outerHTML.slice(0, 200)")


# --- what axe finds -----------------------------------------------------------------------------------------------


def test_a_new_chat_keeps_nobody_out(themed: Page):
    themed.goto("/")
    box(themed).wait_for()

    assert not findings(themed)


def test_a_conversation_with_siblings_code_and_a_table_keeps_nobody_out(themed: Page, with_siblings: str):
    themed.goto(with_siblings)
    expect(_version(themed, "Next version, 3 of 3")).to_be_attached()

    assert not findings(themed)


def test_an_answer_that_is_being_written_keeps_nobody_out(themed: Page, gate):
    themed.goto("/")
    steps.send(themed, "Go", model="openai/fake-gate")
    expect(steps.last(themed)).to_contain_text("Before the gate.")

    assert not findings(themed)


def test_menus_and_questions_keep_nobody_out(themed: Page, with_siblings: str):
    themed.goto(with_siblings)
    steps.button(themed, "More for this conversation").click()
    assert not findings(themed)
    themed.keyboard.press("Escape")

    _press(themed, steps.button(steps.last(themed), "Delete"))
    themed.get_by_role("alertdialog").wait_for()
    assert not findings(themed)


@pytest.mark.parametrize("place", PLACES)
def test_lists_and_settings_keep_nobody_out(themed: Page, place: str):
    response = themed.goto(place)

    assert response
    assert response.ok
    assert not findings(themed)


@pytest.mark.parametrize("place", ["rename/", "m/{}/delete/", "m/{}/edit/"])
def test_pages_that_ask_back_keep_nobody_out(themed: Page, with_siblings: str, place: str):
    themed.goto(with_siblings)
    message = steps.said(themed).first.get_attribute("data-message")
    themed.goto(with_siblings + place.format(message))

    assert not findings(themed)


def test_the_question_about_forks_keeps_nobody_out(themed: Page):
    themed.goto("/")
    steps.ask(themed, "Write 20 words")
    address = steps.path_of(themed)
    _press(themed, steps.button(steps.last(themed), "Fork"))
    themed.wait_for_url(lambda url: "/c/" in url and not url.startswith(address))
    themed.goto(address)
    steps.button(themed, "More for this conversation").click()
    steps.button(themed.locator("#conversation-menu"), "Delete").click()
    expect(themed.get_by_role("heading", level=1)).to_contain_text("Delete")

    assert not findings(themed)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_sign_in_page_keeps_nobody_out(open_context, theme: str):
    page = open_context(color_scheme=theme, storage_state=None).new_page()
    page.goto("/accounts/login/")
    expect(page.get_by_role("heading", name="Sign in", level=1)).to_be_visible()

    assert not findings(page)


# --- landmarks and names ------------------------------------------------------------------------------------------


def test_landmarks_and_names_are_there(page: Page, with_siblings: str):
    page.goto(with_siblings)

    expect(page.get_by_role("main")).to_have_count(1)
    expect(page.get_by_role("navigation", name="Conversations")).to_be_visible()
    expect(page.get_by_role("region", name="Messages")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    expect(box(page)).to_be_visible()
    expect(steps.button(page.get_by_role("navigation", name="Conversations"), "New chat")).to_be_visible()
    expect(steps.button(page, "Send")).to_be_visible()
    expect(_version(page, "Previous version, 3 of 3")).to_be_enabled()
    expect(_version(page, "Next version, 3 of 3")).to_be_disabled()


def test_messages_are_articles_with_a_heading_and_named_actions(page: Page, with_siblings: str):
    page.goto(with_siblings)
    mine = page.get_by_role("article", name="You").first
    answer = page.get_by_role("article").last

    expect(mine.get_by_role("heading", name="You", level=2)).to_be_attached()
    expect(answer.get_by_role("heading", level=2)).to_have_text("Bough demo")
    for name in ("Edit", "Copy", "Delete", "Fork"):
        expect(steps.button(mine, name)).to_be_attached()
    for name in ("Regenerate", "Edit", "Copy", "Continue", "Delete", "Fork"):
        expect(steps.button(answer, name).first).to_be_attached()


def test_the_answer_being_written_has_a_name_and_stop_stands_where_send_was(page: Page, gate):
    steps.send(page, "Go", model="openai/fake-gate")
    expect(steps.last(page)).to_contain_text("Before the gate.")

    expect(steps.button(page, "Stop")).to_be_visible()
    expect(steps.button(page, "Send")).to_be_hidden()
    expect(steps.last(page).get_by_role("heading", level=2)).not_to_be_empty()


def test_the_first_tab_offers_to_skip_to_the_box(page: Page):
    # The box has the focus at first; from there the top of the page is one Tab behind the window's end.
    _tab_to(page, page.get_by_role("link", name="Skip to the message box"), "Shift+Tab")
    expect(page.get_by_role("link", name="Skip to the message box")).to_be_focused()

    page.keyboard.press("Enter")

    expect(box(page)).to_be_focused()


# --- the keyboard alone -------------------------------------------------------------------------------------------


def _press(page: Page, target: Locator) -> None:
    """Press a button with the keyboard."""
    target.focus()
    page.keyboard.press("Enter")


def test_sending_and_stopping_need_no_pointer(page: Page, gate):
    steps.choose(page, "openai/fake-gate")
    box(page).focus()
    page.keyboard.type("Go")
    _tab_to(page, steps.button(page, "Send"))
    page.keyboard.press("Enter")
    expect(steps.last(page)).to_contain_text("Before the gate.")
    expect(box(page)).to_be_focused()
    page.wait_for_timeout(450)

    _tab_to(page, steps.button(page, "Stop"))
    page.keyboard.press("Enter")

    expect(steps.last(page).locator(".message-state")).to_contain_text("Stopped by you")
    expect(box(page)).to_be_focused()


def test_regenerating_and_going_to_a_sibling_need_no_pointer(page: Page):
    steps.ask(page, "Write 20 words")
    _tab_to(page, steps.button(steps.last(page), "Regenerate"), "Shift+Tab")
    page.keyboard.press("Enter")
    expect(_version(page, "Previous version, 2 of 2")).to_be_visible()
    steps.wait_ended(page)
    expect(box(page)).to_be_focused()

    _tab_to(page, _version(page, "Previous version, 2 of 2"), "Shift+Tab")
    page.keyboard.press("Enter")

    expect(_version(page, "Next version, 1 of 2")).to_be_focused()


def test_editing_and_cancelling_need_no_pointer(page: Page):
    steps.ask(page, "Write 20 words")
    edit = steps.button(steps.said(page).first, "Edit")
    _tab_to(page, edit, "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Edit message")).to_be_focused()

    _tab_to(page, steps.button(page, "Cancel"))
    page.keyboard.press("Enter")

    expect(edit).to_be_focused()


def test_deleting_and_undoing_need_no_pointer(page: Page):
    steps.ask(page, "Write 20 words")
    _tab_to(page, steps.button(steps.last(page), "Delete"), "Shift+Tab")
    page.keyboard.press("Enter")
    question = page.get_by_role("alertdialog")
    expect(steps.button(question, "Cancel")).to_be_focused()
    _tab_to(page, steps.button(question, "Delete"))
    page.keyboard.press("Enter")
    expect(steps.answers(page)).to_have_count(0)
    assert page.evaluate("document.activeElement !== document.body")

    _tab_to(page, steps.button(page.locator("#toasts"), "Undo"))
    page.keyboard.press("Enter")

    expect(steps.answers(page)).to_have_count(1)


# --- what is announced, and what moves ----------------------------------------------------------------------------


def test_only_boundaries_are_announced(page: Page):
    page.evaluate(
        """() => {
          window.announced = [];
          const note = (changes) => changes.forEach((change) => change.target.textContent &&
            window.announced.push(change.target.textContent));
          new MutationObserver(note).observe(document.getElementById("announce"), {childList: true});
        }"""
    )
    steps.ask(page, "Write 150 words")
    expect(page.locator("#announce")).to_contain_text("Answer complete, 150 words")

    announced = page.evaluate("window.announced")
    assert len(announced) <= 5, announced
    assert any(re.search("is answering", words) for words in announced)
    expect(page.locator("#turns [aria-live], #turns [role=status], #turns [role=log]")).to_have_count(0)


def test_nothing_moves_for_those_who_asked_for_that(open_context, gate):
    page = open_context(reduced_motion="reduce").new_page()
    page.goto("/")
    steps.send(page, "Go", model="openai/fake-gate")
    expect(steps.last(page)).to_contain_text("Before the gate.")

    moving = page.evaluate(
        """() => document.getAnimations().map((one) => one.effect.getComputedTiming())
          .filter((timing) => timing.iterations === Infinity || timing.duration > 1).length"""
    )

    assert moving == 0
    assert page.evaluate("getComputedStyle(document.getElementById('scroller')).scrollBehavior") == "auto"
