"""Without a script everything still works: forms, full pages, a text that grows with each reload."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.browser.steps import box


@pytest.fixture
def plain(open_context) -> Page:
    """A page in a browser that runs no script."""
    page = open_context(java_script_enabled=False).new_page()
    page.goto("/")
    return page


def _send(page: Page, text: str, model: str = "demo/bough") -> None:
    page.get_by_label("Language model").select_option(model)
    box(page).fill(text)
    steps.button(page, "Send").click()
    page.wait_for_url("**/c/*/**")


def _until(page: Page, words: str) -> None:
    """Reload, as the page does by itself, until an answer says something."""
    for _ in range(40):
        if words in page.locator("#main").inner_text():
            return
        page.wait_for_timeout(250)
        page.reload()
    raise AssertionError(f"The page never said {words!r}:\n{page.locator('#main').inner_text()}")


def test_a_message_can_be_sent_and_its_answer_read(plain: Page):
    _send(plain, "Go", "openai/fake")

    _until(plain, "Nothing more is to be said")
    expect(plain.locator("article")).to_have_count(2)
    expect(steps.button(plain, "Stop")).to_be_hidden()


def test_the_page_reloads_itself_while_an_answer_is_written(plain: Page, upstream_all):
    _send(plain, "Go", "openai/fake-gate")
    _until(plain, "Before the gate.")
    assert 'http-equiv="refresh"' in plain.content()
    expect(steps.button(plain, "Stop")).to_be_visible()

    upstream_all.release()

    _until(plain, "After the gate.")
    plain.reload()
    assert 'http-equiv="refresh"' not in plain.content()


def test_stop_regenerate_and_arrows_are_forms(plain: Page):
    _send(plain, "Go", "openai/fake-gate")
    _until(plain, "Before the gate.")
    steps.button(plain, "Stop").click()
    _until(plain, "Stopped by you")

    plain.locator("article").last.hover()
    steps.button(plain, "Regenerate").first.click()
    expect(plain.get_by_role("button", name="Previous version, 2 of 2")).to_be_visible()
    plain.get_by_role("button", name="Previous version, 2 of 2").click()

    expect(plain.get_by_role("button", name="Next version, 1 of 2")).to_be_visible()


def test_editing_is_a_page(plain: Page):
    _send(plain, "Go", "openai/fake")
    _until(plain, "Nothing more is to be said")
    mine = steps.said(plain).first
    mine.hover()
    steps.button(mine, "Edit").click()

    plain.get_by_role("textbox", name="Edit message").fill("Go again")
    steps.button(plain, "Save and answer").click()

    expect(steps.said(plain)).to_contain_text(["Go again"])
    expect(plain.get_by_role("button", name="Previous version, 2 of 2")).to_be_visible()


def test_nothing_dead_is_on_screen(plain: Page):
    _send(plain, "Go", "openai/fake")
    _until(plain, "Nothing more is to be said")

    for name in ("Copy", "Keyboard shortcuts", "Hide the sidebar", "Jump to the end"):
        assert not [one for one in plain.get_by_role("button", name=name, exact=True).all() if one.is_visible()], name


def test_an_empty_message_is_refused_with_words_and_the_page_stays(plain: Page):
    box(plain).fill("   ")
    steps.button(plain, "Send").click()

    expect(plain.locator("#composer-error")).to_contain_text("empty")
