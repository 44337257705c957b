"""The same thing asked for many times at the same moment of a real server, on both databases: done once, and nothing lost."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.process.installation import Installation
from tests.process.people import Person, Reply, Sent, SocketReader

pytestmark = pytest.mark.slow
TIMES = 20


def rows_with(installation: Installation, words: str) -> list[tuple[str, str]]:
    """Give role and text of the messages that say just this."""
    return installation.ask(f"SELECT role, text FROM conversations_message WHERE text = '{words}'")


async def settled(person: Person, chat: str) -> list[dict]:
    """Wait until nothing is written in a chat any more, and give its messages."""
    async with asyncio.timeout(20):
        while (await person.call("GET", f"/chats/{chat}")).body["generating"]:
            await asyncio.sleep(0.02)
    return (await person.call("GET", f"/chats/{chat}/messages")).body["messages"]


async def test_the_same_client_id_twenty_times_at_once_is_one_message_and_one_answer(installation: Installation):
    async with installation.person() as person:
        chat = await person.begin()
        body = {"content": "Only once, please", "clientId": f"{chat}-once", "model": "openai/fake"}
        replies = await asyncio.gather(*(person.call("POST", f"/chats/{chat}/messages", body) for _ in range(TIMES)))
        assert {reply.status for reply in replies} == {202}
        assert len({json.dumps(reply.body, sort_keys=True) for reply in replies}) == 1
        assert [message["role"] for message in await settled(person, chat)] == ["user", "assistant"]
        generation = replies[0].body["generationIds"][0]
        assert len(rows_with(installation, "Only once, please")) == 1
        assert {reply.body["generationIds"][0] for reply in replies} == {generation}


async def test_the_first_message_sent_twenty_times_at_once_makes_one_conversation(installation: Installation):
    async with installation.person() as person:
        words = f"A first message {installation.port}"
        form = {"content": words, "client_id": f"first-{installation.port}", "model": "openai/fake"}
        replies = await asyncio.gather(*(person.post("/send/", form) for _ in range(TIMES)))
        assert {reply.status for reply in replies} == {200}
        [chat] = {reply.headers["X-Bough-Conversation"] for reply in replies}
        assert len(await settled(person, chat)) == 2
        assert rows_with(installation, words) == [("user", words)]


async def test_two_tabs_that_send_at_once_are_answered_one_after_the_other_and_no_words_are_lost(
    installation: Installation,
):
    async with installation.person() as person:
        for round_ in range(5):
            chat = await person.begin()
            tabs = [SocketReader(person, Sent(chat, "", "")).start() for _ in range(2)]
            for tab in tabs:
                await tab.until(lambda tab: tab.is_watching)
            forms = [
                {"content": f"Tab {tab} in {chat}", "client_id": f"{chat}-{tab}", "model": "openai/fake"}
                for tab in "ab"
            ]
            replies: list[Reply] = await asyncio.gather(*(person.post(f"/c/{chat}/send/", form) for form in forms))
            assert sorted(reply.status for reply in replies) == [200, 409], round_
            [refused] = [form for form, reply in zip(forms, replies, strict=True) if reply.status == 409]
            assert len(await settled(person, chat)) == 2
            # Its tab has kept the words, and sends them again with the same id.
            assert (await person.post(f"/c/{chat}/send/", refused)).status == 200
            found = await settled(person, chat)
            assert [message["role"] for message in found] == ["user", "assistant"] * 2
            assert {message["content"] for message in found if message["role"] == "user"} == {
                f["content"] for f in forms
            }
            assert {message["status"] for message in found} == {"complete"}
            for tab in tabs:
                answers = [message["id"] for message in found if message["role"] == "assistant"]
                await tab.until(lambda tab, answers=answers: tab.page.ends.keys() >= set(answers))
                await tab.leave()
    assert installation.problems() == []
