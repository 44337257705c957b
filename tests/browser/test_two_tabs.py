"""Two tabs of one person: each sees what the other does, and neither takes anything from the other."""

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser import steps
from tests.browser.steps import box


@pytest.fixture
def other(context: BrowserContext, page: Page) -> Page:
    """A second tab of the same browser, on the same conversation, which has one answer."""
    steps.ask(page, "Write 20 words")
    other = context.new_page()
    other.goto(page.url)
    expect(steps.answers(other)).to_have_count(1)
    return other


def test_a_message_sent_in_one_tab_appears_in_the_other(page: Page, other: Page, upstream_all):
    steps.send(page, "Go on", model="openai/fake-gate")

    expect(steps.said(other)).to_have_count(2)
    expect(steps.last(other)).to_contain_text("Before the gate.")
    expect(steps.button(other, "Stop")).to_be_visible()
    upstream_all.release()

    for tab in (page, other):
        steps.wait_ended(tab)
        expect(steps.text_of(steps.last(tab))).to_have_text("Before the gate. After the gate.")
        expect(steps.said(tab)).to_have_count(2)
        expect(steps.answers(tab)).to_have_count(2)


def test_what_is_typed_in_the_other_tab_stays(page: Page, other: Page):
    box(other).fill("My own thought")
    steps.ask(page, "Write 10 words")

    expect(steps.answers(other)).to_have_count(2)
    expect(box(other)).to_have_value("My own thought")


def test_the_other_tab_can_go_on_where_this_one_stopped(page: Page, other: Page):
    steps.ask(page, "Write 10 words")
    expect(steps.answers(other)).to_have_count(2)
    steps.wait_ended(other)

    steps.ask(other, "Write 11 words")

    expect(steps.answers(page)).to_have_count(3)
    other.reload()
    expect(steps.answers(other)).to_have_count(3)


def test_stop_in_one_tab_stops_both(page: Page, other: Page):
    steps.send(page, "Go on", model="openai/fake-gate")
    expect(steps.last(other)).to_contain_text("Before the gate.")
    other.wait_for_timeout(450)

    steps.button(other, "Stop").click()

    for tab in (page, other):
        expect(steps.last(tab).locator(".message-state")).to_contain_text("Stopped by you")
        expect(steps.button(tab, "Send")).to_be_visible()


def test_a_sibling_made_in_one_tab_is_counted_in_the_other(page: Page, other: Page):
    steps.button(steps.last(page), "Regenerate").click()
    expect(page.get_by_role("button", name="Previous version, 2 of 2")).to_be_visible()

    expect(other.get_by_role("button", name="Next version, 1 of 2")).to_be_visible()
    steps.wait_ended(page)


def test_an_edit_saved_in_place_shows_in_the_other_tab(page: Page, other: Page):
    mine = steps.said(page).first
    mine.hover()
    steps.button(mine, "Edit").click()
    page.get_by_role("textbox", name="Edit message").fill("Write 20 words, please")
    steps.button(page, "Save only").click()

    expect(steps.said(other)).to_contain_text(["Write 20 words, please"])


def test_a_tab_that_is_behind_sends_into_a_branch_and_says_so(context: BrowserContext, page: Page):
    steps.ask(page, "Write 20 words")
    behind = context.new_page()
    # This tab hears nothing of the other one.
    behind.route_web_socket("**/ws/", lambda route: None)
    behind.goto(page.url)
    steps.ask(page, "Write 10 words")

    steps.send(behind, "Write 12 words")

    expect(behind.locator(".aside-line")).to_contain_text("new branch")
    expect(steps.said(behind)).to_have_count(2)
    page.reload()
    expect(steps.said(page)).to_contain_text(["Write 20 words", "Write 12 words"])


def test_a_new_name_shows_in_the_other_tab(page: Page, other: Page):
    row = page.locator(".row[data-conversation]").first
    row.hover()
    row.locator("> .icon-button").click()
    page.get_by_role("link", name="Rename").click()
    title = page.get_by_role("textbox", name="Title")
    expect(title).to_be_focused()
    title.fill("Words for Porto")
    title.press("Enter")

    for tab in (page, other):
        expect(tab.locator("#main h1")).to_have_text("Words for Porto")
        expect(tab.locator(".row-title").first).to_have_text("Words for Porto")


def test_a_deleted_conversation_leaves_the_other_tabs_list(page: Page, other: Page):
    conversation = page.url.rstrip("/").rsplit("/", 1)[-1]
    row = page.locator(f"#row-{conversation}")
    row.hover()
    row.locator("> .icon-button").click()
    row.get_by_role("button", name="Delete").click()

    expect(page.locator("#toasts")).to_contain_text("is deleted")
    expect(other.locator(f"#row-{conversation}")).to_have_count(0)
    steps.button(page.locator("#toasts"), "Undo").click()
    expect(other.locator(f"#row-{conversation}")).to_have_count(1)


def test_a_message_deleted_in_one_tab_leaves_the_other(page: Page, other: Page):
    steps.last(page).hover()
    steps.button(steps.last(page), "Delete").click()
    steps.button(page.get_by_role("alertdialog"), "Delete").click()

    expect(steps.answers(other)).to_have_count(0)
    expect(steps.said(other)).to_have_count(1)


def test_an_answer_that_ends_elsewhere_is_told_and_marked(page: Page, other: Page, upstream_all):
    conversation = page.url.rstrip("/").rsplit("/", 1)[-1]
    other.goto("/")
    steps.send(page, "Go on", model="openai/fake-gate")
    row = other.locator(f"#row-{conversation}")
    expect(row).to_have_attribute("data-state", "running")
    page.goto("/")

    upstream_all.release()

    expect(row).to_have_attribute("data-state", "unread")
    expect(other.locator("#toasts")).to_contain_text("Answer ready")


def test_the_list_does_not_move_under_the_pointer(context: BrowserContext, page: Page):
    steps.ask(page, "Write 10 words about elms")
    first = steps.path_of(page)
    page.goto("/")
    steps.ask(page, "Write 10 words about yews")
    top = page.locator(".row").first.get_attribute("id")
    page.locator(".row").first.hover()
    elsewhere = context.new_page()
    elsewhere.goto(first)

    steps.ask(elsewhere, "Write 11 words")

    expect(elsewhere.locator(".row").first).not_to_have_attribute("id", top or "")
    page.wait_for_timeout(500)
    assert page.locator(".row").first.get_attribute("id") == top
    page.mouse.move(900, 300)
    expect(page.locator(".row").first).not_to_have_attribute("id", top or "")
