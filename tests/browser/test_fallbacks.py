"""Where live text can't come as it should: the page says so in a quiet pill or line, goes another way, and heals."""

import re

from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.browser.steps import SLOW


def test_a_provider_that_is_tried_again_is_said_with_its_reason(page: Page):
    steps.send(page, "Go", model="openai/fake-429")

    state = steps.last(page).locator(".message-state")
    expect(state).to_have_text(re.compile(r"OpenAI is overloaded\. Trying again in \d s"), timeout=SLOW)
    expect(steps.button(state, "Retry")).to_be_visible(timeout=SLOW)
