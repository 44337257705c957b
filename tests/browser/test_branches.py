"""Branches: siblings are made, found again, and switching moves nothing under the reader's eyes."""

from playwright.sync_api import Locator, Page, expect

from tests.browser import steps
from tests.browser.steps import box


def _top(locator: Locator) -> float:
    return locator.evaluate("node => node.getBoundingClientRect().top")


def _shown(page: Page, words: str) -> Locator:
    return page.get_by_role("button", name=words)


def test_regenerating_makes_a_sibling_and_arrows(page: Page):
    steps.ask(page, "Write 30 words")
    first = steps.text_of(steps.last(page)).inner_text()

    steps.button(steps.last(page), "Regenerate").click()
    expect(_shown(page, "Previous version, 2 of 2")).to_be_visible()
    steps.wait_ended(page)

    expect(steps.answers(page)).to_have_count(1)
    expect(_shown(page, "Next version, 2 of 2")).to_be_disabled()
    _shown(page, "Previous version, 2 of 2").click()
    expect(_shown(page, "Next version, 1 of 2")).to_be_enabled()
    assert steps.text_of(steps.last(page)).inner_text() == first


def test_switching_keeps_the_message_in_place_and_the_focus_on_the_arrow(page: Page):
    steps.ask(page, steps.LONG)
    steps.ask(page, "Be fast. Write 300 words")
    steps.button(steps.last(page), "Regenerate").click()
    expect(_shown(page, "Previous version, 2 of 2")).to_be_visible()
    steps.wait_ended(page)
    arrow = _shown(page, "Previous version, 2 of 2")
    arrow.focus()
    before = _top(steps.last(page))

    page.keyboard.press("Enter")

    expect(_shown(page, "Next version, 1 of 2")).to_be_focused()
    assert abs(_top(steps.last(page)) - before) < 2
    page.keyboard.press("Enter")
    expect(_shown(page, "Previous version, 2 of 2")).to_be_focused()
    assert abs(_top(steps.last(page)) - before) < 2


def test_alt_and_arrows_switch_the_focused_message(page: Page):
    steps.ask(page, "Write 30 words")
    steps.button(steps.last(page), "Regenerate").click()
    expect(_shown(page, "Previous version, 2 of 2")).to_be_visible()
    steps.wait_ended(page)

    _shown(page, "Previous version, 2 of 2").focus()
    page.keyboard.press("Alt+ArrowLeft")
    expect(_shown(page, "Next version, 1 of 2")).to_be_focused()
    page.keyboard.press("Alt+ArrowRight")

    expect(_shown(page, "Previous version, 2 of 2")).to_be_focused()


def test_editing_a_message_opens_a_branch_with_an_answer(page: Page):
    steps.ask(page, "Write 30 words")
    mine = steps.said(page).first
    mine.hover()
    steps.button(mine, "Edit").click()
    field = page.get_by_role("textbox", name="Edit message")
    expect(field).to_be_focused()
    assert field.evaluate("node => node.selectionStart") == len("Write 30 words")

    field.fill("Write 31 words")
    field.press("Control+Enter")

    expect(steps.said(page)).to_contain_text(["Write 31 words"])
    expect(_shown(page, "Previous version, 2 of 2")).to_be_visible()
    steps.wait_ended(page)
    page.reload()
    expect(steps.said(page)).to_contain_text(["Write 31 words"])


def test_escape_leaves_the_editor_only_if_nothing_was_changed(page: Page):
    steps.ask(page, "Write 30 words")
    mine = steps.said(page).first
    mine.hover()
    steps.button(mine, "Edit").click()
    field = page.get_by_role("textbox", name="Edit message")
    field.press_sequentially("!")
    field.press("Escape")
    expect(field).to_be_visible()

    field.press("Backspace")
    field.press("Escape")

    expect(field).to_have_count(0)
    expect(steps.button(mine, "Edit")).to_be_focused()


def test_the_branch_that_was_chosen_is_there_after_a_reload(page: Page):
    steps.ask(page, "Write 30 words")
    steps.button(steps.last(page), "Regenerate").click()
    expect(_shown(page, "Previous version, 2 of 2")).to_be_visible()
    steps.wait_ended(page)
    _shown(page, "Previous version, 2 of 2").click()
    expect(_shown(page, "Next version, 1 of 2")).to_be_visible()

    page.reload()

    expect(_shown(page, "Next version, 1 of 2")).to_be_visible()


def test_switching_away_from_a_running_answer_leaves_it_running(page: Page, upstream_all):
    steps.ask(page, "Write 30 words")
    steps.choose(page, "openai/fake-gate")
    page.wait_for_timeout(200)
    mine = steps.said(page).first
    mine.hover()
    steps.button(mine, "Edit").click()
    page.get_by_role("textbox", name="Edit message").press("Control+Enter")
    expect(steps.last(page)).to_contain_text("Before the gate.")
    _shown(page, "Previous version, 2 of 2").click()
    expect(_shown(page, "Next version, 1 of 2")).to_be_visible()
    expect(steps.button(page, "Send")).to_be_visible()

    _shown(page, "Next version, 1 of 2").click()
    expect(steps.last(page)).to_contain_text("Before the gate.")
    upstream_all.release()

    steps.wait_ended(page)
    expect(steps.text_of(steps.last(page))).to_have_text("Before the gate. After the gate.")


def test_continuing_appends_to_the_same_message(page: Page):
    steps.send(page, "Be slow. Write 200 words")
    expect(steps.text_of(steps.last(page))).to_contain_text(" ", timeout=steps.SLOW)
    page.wait_for_timeout(450)
    box(page).press("Escape")
    expect(steps.last(page).locator(".message-state")).to_contain_text("Stopped by you")
    before = steps.text_of(steps.last(page)).inner_text()

    steps.button(steps.last(page), "Continue").first.click()

    expect(steps.button(page, "Stop")).to_be_visible()
    expect(steps.text_of(steps.last(page))).not_to_have_text(before)
    page.wait_for_timeout(450)
    box(page).press("Escape")
    expect(steps.last(page).locator(".message-state")).to_contain_text("Stopped by you")
    expect(steps.answers(page)).to_have_count(1)
    assert steps.text_of(steps.last(page)).inner_text().startswith(before[:40])


def test_deleting_asks_with_the_focus_on_cancel(page: Page):
    steps.ask(page, "Write 10 words")
    steps.last(page).hover()
    steps.button(steps.last(page), "Delete").click()

    dialog = page.get_by_role("alertdialog")
    expect(dialog).to_contain_text("Delete this message?")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    steps.button(dialog, "Delete").click()

    expect(steps.answers(page)).to_have_count(0)
    expect(box(page)).to_be_focused()


def test_an_old_token_is_renewed_and_the_action_goes_through(page: Page):
    steps.ask(page, "Write 10 words")
    page.evaluate(
        """() => {
          document.body.setAttribute("hx-headers", JSON.stringify({"X-CSRFToken": "x".repeat(64)}));
          document.querySelectorAll("input[name=csrfmiddlewaretoken]").forEach(field => field.value = "x".repeat(64));
        }"""
    )
    steps.button(steps.last(page), "Regenerate").click()

    expect(_shown(page, "Previous version, 2 of 2")).to_be_visible()
    steps.wait_ended(page)
    expect(page.locator("#toasts .toast")).to_have_count(0)


def test_a_deleted_message_can_be_brought_back(page: Page):
    steps.ask(page, "Write 10 words")
    steps.last(page).hover()
    steps.button(steps.last(page), "Delete").click()
    steps.button(page.get_by_role("alertdialog"), "Delete").click()
    expect(steps.answers(page)).to_have_count(0)

    steps.button(page.locator("#toasts"), "Undo").click()

    expect(steps.answers(page)).to_have_count(1)
