"""What tests do on a page, in the words of a person at the keyboard. Not here: what they expect."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page, expect

SLOW = 20_000  # milliseconds; only a failing test waits that long
LONG = "Be fast. Write 900 words"


def box(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message", exact=True)


def choose(page: Page, model: str) -> None:
    """Choose a language model in the composer."""
    page.get_by_label("Language model").select_option(model)


def send(page: Page, text: str, *, model: str = "demo/bough") -> None:
    """Write a text and press Enter."""
    choose(page, model)
    box(page).fill(text)
    box(page).press("Enter")


def answers(page: Page) -> Locator:
    return page.locator("article[data-role=assistant]")


def said(page: Page) -> Locator:
    """Give the messages of the user that the server has."""
    return page.locator("article[data-role=user][data-message]")


def last(page: Page) -> Locator:
    return answers(page).last


def text_of(answer: Locator) -> Locator:
    return answer.locator(".part[data-kind=text] .md")


def wait_ended(page: Page) -> None:
    """Wait until no answer on the page is being written, and its actions are there."""
    expect(page.locator("article[data-live]")).to_have_count(0, timeout=SLOW)
    expect(last(page).locator(".message-actions button").first).to_be_attached()


def ask(page: Page, text: str, *, model: str = "demo/bough") -> None:
    """Send and wait for the end of the answer."""
    before = answers(page).count()
    send(page, text, model=model)
    expect(answers(page)).to_have_count(before + 1)
    wait_ended(page)


def path_of(page: Page) -> str:
    """Give the address of the conversation, once the page has one."""
    page.wait_for_url("**/c/*/")
    return page.url


def button(page: Page | Locator, name: Any) -> Locator:
    return page.get_by_role("button", name=name, exact=isinstance(name, str))


def watch_socket(page: Page) -> list[str]:
    """Collect the frames that the page's sockets receive from now on."""
    frames: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: frames.append(str(data))))
    return frames
