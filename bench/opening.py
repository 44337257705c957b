"""What it takes to open a long conversation, in process: queries, and time without the network.

Run as `python -m bench.opening CONVERSATION ...` in the environment of a data folder that was served before (its static
files are collected); prints JSON. The last conversation's first answer gets a sibling, so that a switch has far to go.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.http import HttpResponse  # noqa: E402  (settings come first)
from django.test import Client  # noqa: E402

from apps.conversations.models import Conversation, Message  # noqa: E402
from apps.conversations.services import messages  # noqa: E402
from bench.statements import Statements  # noqa: E402

TIMES = 15
OLDER = re.compile(r'id="older"[^>]*?(?:href|hx-get)="([^"]+)"')


class Opener:
    """A signed-in browser without a network, which times and counts."""

    def __init__(self, counter: Statements, conversation: Conversation) -> None:
        self.counter = counter
        self.conversation = conversation
        self.browser = Client(SERVER_NAME="localhost")
        self.browser.force_login(conversation.owner)
        self.path = f"/c/{conversation.pk}/"

    def measure(self, what: str, request: Callable[[int], HttpResponse]) -> dict[str, Any]:
        """Make a request again and again. Units: milliseconds; the first one warms up and does not count."""
        took, worked = [], []
        for number in range(TIMES + 1):
            self.counter.clear()
            began, cpu = time.perf_counter(), time.process_time()
            response = request(number)
            took.append((time.perf_counter() - began) * 1000)
            worked.append((time.process_time() - cpu) * 1000)
            assert response.status_code in (200, 303), (what, response.status_code)
        queries = self.counter.statements[threading.current_thread().name]
        size = len(response.content)
        return {"what": what, "ms": median(took[1:]), "cpu": median(worked[1:]), "queries": queries, "bytes": size}

    def rows(self) -> list[dict[str, Any]]:
        """Measure the page, the page above it, the API's page, and a switch to the other side of a fork and back."""
        rows = [self.measure("page", lambda _: self.browser.get(self.path))]
        if older := OLDER.search(self.browser.get(self.path).content.decode()):
            address = older[1].replace("&amp;", "&")
            part = {"HTTP_HX_REQUEST": "true", "HTTP_HX_TARGET": "older"}
            rows.append(self.measure("older page", lambda _: self.browser.get(address, **part)))
        rows.append(self.measure("API page", lambda _: self.browser.get(f"/api/chats/{self.conversation.pk}/messages")))
        sides = [f"{self.path}m/{pk}/select/" for pk in self._fork_at_the_top()]
        rows.append(self.measure("switch", lambda number: self.browser.post(sides[number % 2], HTTP_HX_REQUEST="true")))
        return rows

    def _fork_at_the_top(self) -> list[object]:
        """Give the first answer a sibling; the ids of both, the old one last, so that the owner stands there in the end."""
        first = Message.objects.filter(conversation=self.conversation, depth=1).order_by("created_at")[0]
        messages.edit(
            user=self.conversation.owner, conversation_id=self.conversation.pk, message_id=first.pk, content="Another."
        )
        other = Message.objects.filter(conversation=self.conversation, depth=1).order_by("-created_at")[0]
        return [other.pk, first.pk]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("conversations", nargs="+", metavar="CONVERSATION")
    options = parser.parse_args()
    counter = Statements()
    rows = []
    for pk in options.conversations:
        conversation = Conversation.objects.select_related("owner").get(pk=pk)
        length = Message.objects.filter(conversation=conversation).count()  # before the sibling
        rows += [{"length": length, **row} for row in Opener(counter, conversation).rows()]
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
