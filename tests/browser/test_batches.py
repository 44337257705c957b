"""Several models answer one message: chosen, watched, stopped, compared and gone on with, as a person does it."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser import steps
from tests.browser.axe import findings
from tests.browser.steps import box, button

GATE, GOOD, REFUSED = "openai/fake-gate", "openai/fake", "openai/fake-401"
TOLD = """() => {
  window.told = [];
  const note = (changes) => changes.forEach((change) => change.target.textContent && window.told.push(change.target.textContent));
  for (const id of ["announce", "alert"]) new MutationObserver(note).observe(document.getElementById(id), {childList: true});
}"""
# The turns without what htmx and scripts note at elements for themselves, and without what only a send has.
TURNS = """() => {
  const copy = document.querySelector("#turns").cloneNode(true);
  for (const added of copy.querySelectorAll("[data-added]")) added.remove();
  for (const turn of copy.querySelectorAll(".turn")) turn.removeAttribute("data-live");
  for (const node of copy.querySelectorAll("*")) {
    if (node.getAttribute("class") === "") node.removeAttribute("class");
    if (node.getAttribute("style") === "") node.removeAttribute("style");
  }
  return copy.innerHTML.replace(/\\s+/g, " ").replaceAll("> <", "><").trim();
}"""


@pytest.fixture
def gate(upstream_all) -> Iterator[Any]:
    """The provider whose answer waits; let go at the end, whatever happened."""
    yield upstream_all
    upstream_all.release()


def _column(page: Page, name: str) -> Locator:
    """Find the column of a model."""
    return page.locator(".column").filter(has=page.get_by_role("heading", name=name, exact=True))


def _choose(page: Page, *models: str) -> None:
    """Choose the models of the next message, one beside the other."""
    steps.choose(page, models[0])
    for number, model in enumerate(models[1:], start=2):
        button(page.locator("#composer"), "Add another model").click()
        page.get_by_label(f"Language model {number}").select_option(model)


def _send(page: Page, text: str, *models: str) -> None:
    _choose(page, *models)
    box(page).fill(text)
    box(page).press("Enter")
    expect(page.locator(".column")).to_have_count(len(models))


def _ask(page: Page, text: str, *models: str) -> None:
    _send(page, text, *models)
    _wait_ended(page)


def _wait_ended(page: Page) -> None:
    expect(page.locator("article[data-live]")).to_have_count(0, timeout=steps.SLOW)


def test_each_answers_in_its_column_and_one_that_fails_stops_no_other(page: Page, gate):
    page.evaluate(TOLD)
    gate.reset()
    _send(page, "Go", GOOD, GATE, REFUSED)
    expect(_column(page, "fake-gate")).to_contain_text("Before the gate.")

    expect(_column(page, "fake")).to_contain_text("Nothing more is to be said")
    refused = _column(page, "fake-401")
    expect(refused).to_contain_text("OpenAI refused the API key.")
    expect(button(page, "Stop fake-gate")).to_be_visible()
    button(refused, "Retry").click()
    gate.wait_for(lambda: sum(one["body"].get("model") == "fake-401" for one in gate.requests) == 2)
    expect(refused).to_contain_text("OpenAI refused the API key.")
    expect(page.locator(".column")).to_have_count(3)
    gate.release()

    expect(_column(page, "fake-gate")).to_contain_text("After the gate.")
    _wait_ended(page)
    expect(page.locator("#announce")).to_contain_text("fake-gate: Answer complete, 6 words")
    told = " ".join(page.evaluate("window.told"))
    assert "fake-401: The answer failed" in told
    assert "fake: Answer complete" in told


def test_what_the_page_shows_in_the_end_is_what_a_fresh_one_shows(page: Page):
    _ask(page, "Go", GOOD, "openai/fake-reason", REFUSED)
    button(_column(page, "fake-reason"), "Continue with this one").click()
    expect(_column(page, "fake-reason")).to_have_attribute("data-current", "")
    expect(page.locator(".message-actions:empty")).to_have_count(0)
    shown = page.evaluate(TURNS)

    page.reload()

    assert page.evaluate(TURNS) == shown


def test_one_is_stopped_and_then_all(page: Page, gate):
    _send(page, "Go", GATE, "openai/fake-silent", "openai/fake-endless")
    expect(_column(page, "fake-gate")).to_contain_text("Before the gate.")
    expect(button(page, "Stop all")).to_be_visible()

    button(page, "Stop fake-endless").click()

    expect(_column(page, "fake-endless")).to_contain_text("Stopped by you")
    expect(page.locator("article[data-live]")).to_have_count(2)
    page.wait_for_timeout(450)  # A second click on Send is not meant as Stop.
    button(page, "Stop all").click()
    expect(page.locator(".message-state", has_text="Stopped by you")).to_have_count(3)
    expect(button(page, "Send")).to_be_visible()


def test_the_conversation_goes_on_with_the_one_that_was_chosen_and_the_others_can_be_compared(page: Page):
    _ask(page, "Go", GOOD, "demo/bough")
    choose = button(_column(page, "Bough demo"), "Continue with this one")
    choose.click()
    expect(choose).to_have_attribute("aria-pressed", "true")
    expect(choose).to_be_focused()
    button(page, "Remove Bough demo").click()

    box(page).fill("Write 10 words")
    box(page).press("Enter")
    expect(steps.said(page)).to_have_count(2)
    _wait_ended(page)

    expect(page.locator(".column")).to_have_count(0)
    expect(page.get_by_role("heading", name="Bough demo")).to_be_visible()
    address = page.url
    page.get_by_role("link", name="Compare", exact=True).click()
    expect(page.locator(".column")).to_have_count(2)
    expect(steps.said(page)).to_have_count(2)
    page.reload()
    expect(_column(page, "Bough demo")).to_have_attribute("data-current", "")
    page.go_back()
    expect(page.locator(".column")).to_have_count(0)
    assert page.url == address
    page.go_forward()
    expect(page.locator(".column")).to_have_count(2)
    button(_column(page, "fake"), "Continue with this one").click()
    expect(page.locator(".column")).to_have_count(2)
    expect(steps.said(page)).to_have_count(1)


def test_another_model_is_asked_without_a_pointer(page: Page):
    steps.ask(page, "Write 20 words")
    _tab_to(page, button(steps.last(page), "Ask another model"), "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Model to ask")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Model to ask")).to_have_count(0)
    _tab_to(page, button(steps.last(page), "Ask another model"), "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Model to ask")).to_be_focused()
    page.keyboard.type("fake-reason")
    _tab_to(page, button(page, "Ask"))
    page.keyboard.press("Enter")

    expect(page.locator(".column")).to_have_count(2)
    expect(_column(page, "fake-reason")).to_have_attribute("data-current", "")
    assert "compare=" in page.url
    _wait_ended(page)
    page.get_by_role("link", name="Show one").press("Enter")
    expect(page.locator(".column")).to_have_count(0)
    expect(page.get_by_role("link", name="Compare", exact=True)).to_be_focused()


def test_the_choice_of_models_belongs_to_the_conversation_in_this_tab(page: Page):
    _choose(page, "demo/bough", GOOD, GATE)
    button(page, "Remove fake-gate").click()
    expect(page.get_by_label("Language model 2")).to_be_focused()
    box(page).fill("Write 10 words")
    box(page).press("Enter")
    expect(page.locator(".column")).to_have_count(2)
    _wait_ended(page)

    page.reload()

    expect(page.get_by_label("Language model 2")).to_have_value(GOOD)
    page.goto("/")
    expect(box(page)).to_be_focused()
    expect(page.get_by_label("Language model 2")).to_have_count(0)


def test_another_tab_shows_the_columns_too(page: Page, context: BrowserContext, gate):
    steps.ask(page, "Write 10 words")
    other = context.new_page()
    other.goto(page.url)
    expect(steps.answers(other)).to_have_count(1)

    _send(page, "Go", GATE, GOOD)

    expect(other.locator(".column")).to_have_count(2)
    expect(_column(other, "fake-gate")).to_contain_text("Before the gate.")
    gate.release()
    expect(_column(other, "fake-gate")).to_contain_text("After the gate.")
    _wait_ended(other)


@pytest.fixture
def phone(open_context: Callable[..., BrowserContext]) -> Page:
    """A page on a small phone."""
    page = open_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True).new_page()
    page.goto("/")
    return page


def test_on_a_phone_the_answers_are_tabs_that_say_what_each_is_doing(phone: Page, gate):
    _choose(phone, GOOD, GATE, REFUSED)
    box(phone).fill("Go")
    button(phone, "Send").tap()
    tabs = phone.get_by_role("tablist", name="Answers").get_by_role("tab")
    expect(tabs).to_have_text([re.compile("fake done"), re.compile("fake-gate writing"), re.compile("fake-401 failed")])
    expect(phone.get_by_role("tabpanel")).to_have_count(1)

    tabs.nth(1).tap()
    expect(phone.get_by_role("tabpanel", name="fake-gate")).to_contain_text("Before the gate.")
    gate.release()
    expect(tabs.nth(1)).to_contain_text("done")
    _wait_ended(phone)
    tabs.nth(1).press("ArrowRight")
    expect(tabs.nth(2)).to_be_focused()
    expect(phone.get_by_role("tabpanel", name="fake-401")).to_contain_text("refused the API key")
    tabs.nth(2).press("Home")
    expect(tabs.nth(0)).to_have_attribute("aria-selected", "true")
    assert phone.evaluate("document.scrollingElement.scrollWidth") == 360
    assert findings(phone) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_grave_in_columns(open_context: Callable[..., BrowserContext], theme: str):
    page = open_context(color_scheme=theme, reduced_motion="reduce", viewport={"width": 1280, "height": 800}).new_page()
    page.goto("/")
    _ask(page, "Go", GOOD, "demo/bough", REFUSED)
    button(_column(page, "fake-401"), "Ask another model").first.click()
    expect(page.get_by_label("Model to ask")).to_be_focused()

    assert findings(page) == []


def test_without_a_script_several_models_are_a_list_and_columns_are_forms(open_context: Callable[..., BrowserContext]):
    page = open_context(java_script_enabled=False).new_page()
    page.goto("/")
    page.get_by_label("Language model").select_option(GOOD)
    page.get_by_text("Ask further models too").click()
    page.get_by_label("Further models").select_option(["demo/bough", REFUSED])
    box(page).fill("Write 10 words")
    button(page, "Send").click()
    page.wait_for_url("**/c/*/**")
    expect(page.locator(".column")).to_have_count(3)
    for _ in range(40):
        if not page.locator("article[data-live]").count():
            break
        page.wait_for_timeout(250)
        page.reload()

    button(_column(page, "Bough demo"), "Continue with this one").click()
    expect(button(_column(page, "Bough demo"), "Continue with this one")).to_have_attribute("aria-pressed", "true")
    button(_column(page, "fake-401"), "Ask another model").first.click()
    page.get_by_label("Model to ask").select_option("demo/bough")
    button(page, "Ask").click()

    expect(page.locator(".column")).to_have_count(4)
    assert "compare=" in page.url


def _tab_to(page: Page, target: Locator, key: str = "Tab") -> None:
    """Press Tab until the target has the focus."""
    for _ in range(80):
        if target.count() == 1 and target.evaluate("node => node === document.activeElement"):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{key} never reached {target}.")
