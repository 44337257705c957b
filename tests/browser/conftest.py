"""Fixtures of the browser tests: a server, a Chromium, and pages somebody is signed in on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright

from tests.browser.server import Server
from tests.upstream.fixtures import RunningUpstream

HERE = Path(__file__).parent
EMAIL = "ada@example.org"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Ended connections are part of what is tested; the console's other errors are not.
EXPECTED = ("net::ERR_", "WebSocket connection to", "Failed to load resource", "Response Status Error Code")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


def find_chromium() -> str | None:
    """Give a Chromium of this machine: the one BOUGH_CHROMIUM names, else one on the path."""
    named = os.environ.get("BOUGH_CHROMIUM")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def upstream_all() -> Iterator[RunningUpstream]:
    """A fake provider for the whole run."""
    running = RunningUpstream()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    chromium = find_chromium()
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        except Error:
            pytest.skip("No Chromium was found: install one, or name it in BOUGH_CHROMIUM.")
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(
    browser: Browser, upstream_all: RunningUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A running installation with the demo model and the fake provider."""
    server = Server(tmp_path_factory.mktemp("server"), upstream=upstream_all.url)
    server.prepare()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def session_cookies(browser: Browser, server: Server) -> Any:
    """The cookies of somebody who signed in by a link."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.sign_in_link(EMAIL))
    page.get_by_role("textbox", name="Message", exact=True).wait_for()
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def open_context(browser: Browser, server: Server, session_cookies: Any) -> Iterator[Callable[..., BrowserContext]]:
    """Open a browser somebody is signed in on; nothing may go wrong in its console."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: _note(message, errors))

    def open_one(**options: Any) -> BrowserContext:
        defaults = {
            "base_url": server.url,
            "storage_state": session_cookies,
            "viewport": {"width": 1100, "height": 800},
        }
        context = browser.new_context(**(defaults | options))
        context.set_default_timeout(15_000)
        context.on("page", watch)
        contexts.append(context)
        return context

    yield open_one
    for context in contexts:
        context.close()
    assert not errors, "\n".join(errors)


def _note(message: Any, errors: list[str]) -> None:
    if message.type == "error" and not any(part in message.text for part in EXPECTED):
        errors.append(message.text)


@pytest.fixture
def context(open_context: Callable[..., BrowserContext]) -> BrowserContext:
    """A browser somebody is signed in on."""
    return open_context()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """The page of a new conversation."""
    page = context.new_page()
    page.goto("/")
    return page
