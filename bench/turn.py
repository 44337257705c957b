"""SQL of one turn, counted in process: services send, the runner writes, a provider in memory answers.

Run as `python -m bench.turn` in the environment of a data folder; prints JSON. The runner's heartbeat, one for all its
answers, is not counted, nor what readers read.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.core.management import call_command  # noqa: E402  (settings come first)

from apps.accounts.models import User  # noqa: E402
from apps.accounts.services import users  # noqa: E402
from apps.conversations.models import Conversation, Generation  # noqa: E402
from apps.conversations.runner.limits import Limits  # noqa: E402
from apps.conversations.runner.runner import Runner  # noqa: E402
from apps.conversations.services import bulk, hosting, live, messages  # noqa: E402
from apps.models.services import catalogue  # noqa: E402
from apps.providers import registry  # noqa: E402
from apps.providers.base import ChatRequest, Finished, ProviderEvent, TextDelta, UsageReport  # noqa: E402
from apps.providers.scripted import ScriptedChat  # noqa: E402
from apps.streaming.bus import live_topic  # noqa: E402
from bench.statements import Statements  # noqa: E402

LENGTHS = (0, 100, 10_000)
# Threads by what they do, for the counter; the runner's are called "orm".
senders = ThreadPoolExecutor(1, thread_name_prefix="send")
watchers = ThreadPoolExecutor(1, thread_name_prefix="watch")


class InTwoPieces(ScriptedChat):
    """Answers in two pieces, so far apart that the first is kept on its own."""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ProviderEvent, None]:
        yield TextDelta("Some text, ")
        await asyncio.sleep(0.5)
        yield TextDelta("and the rest.")
        yield UsageReport(10, 8, None, None)
        yield Finished("stop")


async def run_turn(user: User, conversation: Conversation | None) -> None:
    """Send one message and wait for its answer; in a new conversation, for its name too."""
    loop, conversation_id = asyncio.get_running_loop(), conversation.pk if conversation else None
    send = partial(messages.send, user=user, conversation_id=conversation_id, content="Hello", model="scripted/model")
    sent = await loop.run_in_executor(senders, send)
    async with await live.bus().subscribe(live_topic(str(sent.generations[0].pk))) as events:
        async for _topic, event in events:
            if event["type"] == "ended":
                break
    await loop.run_in_executor(watchers, wait_until_idle)


def wait_until_idle() -> None:
    """Wait until no generation is active."""
    while Generation.objects.active().exists():
        time.sleep(0.05)


async def count(counter: Statements, user: User, conversations: list[Conversation | None]) -> list[dict[str, Any]]:
    """Count a turn in each conversation, and give a row for each."""
    runner = Runner(live.bus(), limits=Limits(heartbeat_seconds=600))
    await runner.start()
    hosting.install(runner)
    rows = []
    for conversation, length in zip(conversations, LENGTHS, strict=True):
        counter.clear()
        await run_turn(user, conversation)
        send, answer = counter.statements["send"], counter.statements["orm"]
        commits = counter.commits["send"] + counter.commits["orm"]
        texts = [f"{thread}: {text}" for thread, text in counter.texts if thread != "watch"]
        rows.append({"length": length, "send": send, "answer": answer, "commits": commits, "texts": texts})
    await runner.drain(0)
    return rows


def main() -> None:
    counter = Statements()
    call_command("migrate", interactive=False, verbosity=0)
    user = users.create_user(email="turn@bench.example")
    conversations = [
        bulk.build_conversation(user=user, messages=length, number=length) if length else None for length in LENGTHS
    ]
    with registry.installed(InTwoPieces()):
        catalogue.forget()
        print(json.dumps(asyncio.run(count(counter, user, conversations))))


if __name__ == "__main__":
    main()
