"""Takes the README's pictures of a real server with the demo model: `.venv/bin/python -m docs.make_pictures`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser import steps
from tests.browser.server import Server

IMAGES = Path(__file__).parent / "images"
EMAIL = "ada@example.org"
THEMES = ("light", "dark")
SIZE = {"width": 1200, "height": 760}
QUESTION = "How do I keep a small garden alive in August? Show me a list, show me code."
AGAIN = "And in a dry year? Write 60 words."
TITLES = (
    "A name for the boat", "Two ways to prove it", "Soup for twelve people", "Timetable for the night train",
    "A letter to the council", "Reading a tide table", "Winter birds",
)  # fmt: skip
PINNED = "The second chapter"


def main() -> None:
    """Write docs/images/conversation-light.png and -dark.png."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bough-pictures-") as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        server = Server(Path(folder))
        server.prepare()
        server.start()
        try:
            state, address = prepare(browser, server)
            for theme in THEMES:
                take(browser, state, address, theme)
        finally:
            server.stop()
            browser.close()


def prepare(browser: Browser, server: Server) -> tuple[Path, str]:
    """Sign in, fill the sidebar, and have a conversation with two answers to one question."""
    context = browser.new_context(base_url=server.url, viewport=SIZE)
    page = context.new_page()
    page.goto(server.sign_in_link(EMAIL))
    fill_sidebar(page, server.manage("create_token", EMAIL))
    page.reload()
    steps.ask(page, QUESTION)
    steps.last(page).locator("[data-action=regenerate]").first.click()
    expect(page.locator("article[data-live]")).to_have_count(1)
    steps.wait_ended(page)
    steps.ask(page, AGAIN)
    # The name comes a moment after the first answer.
    expect(page.locator("h1 [data-title]")).not_to_contain_text("…", timeout=steps.SLOW)
    state = Path(server.data / "state.json")
    context.storage_state(path=state)
    address = steps.path_of(page)
    context.close()
    return state, address


def fill_sidebar(page: Page, token: str) -> None:
    """Make conversations over the API."""
    headers = {"Authorization": f"Bearer {token}"}
    for title in (*reversed(TITLES), PINNED):
        made = page.request.post("/api/chats", data={"title": title}, headers=headers).json()
    page.request.patch(f"/api/chats/{made['id']}", data={"pinned": True}, headers=headers)


def take(browser: Browser, state: Path, address: str, theme: str) -> None:
    """Photograph the conversation in one theme."""
    context = browser.new_context(storage_state=state, viewport=SIZE, color_scheme=theme, reduced_motion="reduce")
    page = context.new_page()
    page.goto(address)
    # The question, and below it the answer that has a sibling.
    page.locator("article").first.evaluate("node => node.scrollIntoView({block: 'start'})")
    page.mouse.move(SIZE["width"] - 2, 2)
    page.wait_for_timeout(300)
    page.screenshot(path=IMAGES / f"conversation-{theme}.png")
    context.close()


if __name__ == "__main__":
    main()
