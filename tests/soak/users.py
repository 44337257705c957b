"""The people of a soak: each has an account, some chats, and does what people do; every answer is read and compared."""

from __future__ import annotations

import asyncio
import random
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from apps.core.markdown import render
from tests.process.people import LOST, Person, PollReader, Reader, Reply, Sent, SocketReader, StreamReader
from tests.soak.ledger import Ledger
from tests.upstream import texts

MODEL = "openai/fake-canary"
NAME = re.compile(r"canary-\w+")
MOST_CHATS = 6
# An answer of a killed runner ends when its lease has run out and somebody sweeps; then readers have to hear of it.
READING = 90.0
READERS = (StreamReader, StreamReader, SocketReader, SocketReader, PollReader)
ENDS = ("", "", "", "", "", "", " then reset", " then nonsense", " then error", " then nothing")


@dataclass
class Chat:
    """A chat with the questions and answers in it that this person knows."""

    pk: str
    questions: dict[str, str] = field(default_factory=dict)
    # Answer by its id, with the words of its question.
    answers: dict[str, str] = field(default_factory=dict)


class User:
    """One of them."""

    def __init__(self, number: int, person: Person, ledger: Ledger, dice: random.Random, think: float) -> None:
        self.number = number
        self.person = person
        self.ledger = ledger
        self.dice = dice
        self.think = think
        self.chats: list[Chat] = []
        self.reading: set[asyncio.Task[None]] = set()
        self.readers: list[Reader] = []
        self._serial = 0

    async def live(self, over: asyncio.Event) -> None:
        """Do one thing after another until it is over."""
        while not over.is_set():
            act = self._choose()
            try:
                await act()
            except LOST:
                pass  # the ledger knows, by the trace of the connection
            except Exception as error:  # noqa: BLE001  (whatever it is, it is a finding)
                self.ledger.note_error(f"user {self.number}, {act.__name__}: {error!r}")
            await asyncio.sleep(self.dice.uniform(0.2, 2) * self.think)

    def _choose(self) -> Any:
        acts = [self.send] * 8 + [self.regenerate] * 3 + [self.edit] * 3 + [self.stop] * 3 + [self.reload] * 5
        acts += [self.fork, self.delete_message, self.delete_chat]
        return self.dice.choice(acts if self.chats else [self.send])

    # --- acts ----------------------------------------------------------------------------------------------------

    async def send(self) -> None:
        """Send a message into a chat, sometimes twice in the same moment as a double click does."""
        chat = await self._some_chat()
        words = self._words()
        body = {"content": words, "model": MODEL, "clientId": secrets.token_hex(8)}
        times = 2 if self.dice.random() < 0.1 else 1
        calls = (self._until_taken("send", f"/chats/{chat.pk}/messages", body) for _ in range(times))
        replies = [reply for reply in await asyncio.gather(*calls) if reply.status == 202]
        if {reply.body["userMessageId"] for reply in replies} != {reply.body["userMessageId"] for reply in replies[:1]}:
            self.ledger.note_error(f"one client id made two messages: {replies}")
        for reply in replies[:1]:
            self._begun(chat, reply, words)

    async def regenerate(self) -> None:
        chat, answer = self._some_answer()
        if answer:
            reply = await self._call("regenerate", "POST", f"/chats/{chat.pk}/messages/{answer}/regenerate", {})
            self._begun(chat, reply, chat.answers[answer])

    async def edit(self) -> None:
        chat = self.dice.choice(self.chats)
        if chat.questions:
            question, words = self.dice.choice(list(chat.questions)), self._words()
            body = {"content": words, "mode": "branch", "model": MODEL}
            reply = await self._call("edit", "POST", f"/chats/{chat.pk}/messages/{question}/edit", body)
            self._begun(chat, reply, words)

    async def stop(self) -> None:
        busy = [reader.sent.chat for reader in self.readers if not reader.status]
        chat = self.dice.choice(busy or [chat.pk for chat in self.chats])
        await self._call("stop", "POST", f"/chats/{chat}/stop", {})

    async def reload(self) -> None:
        """Load the page, on which nobody else's words may be."""
        chat = self.dice.choice(self.chats)
        status, page = await self.person.get(f"/c/{chat.pk}/")
        self.ledger.acts["reload"] += status == 200
        self._check_names(page)

    async def fork(self) -> None:
        chat, answer = self._some_answer()
        if answer and len(self.chats) < MOST_CHATS:
            reply = await self._call("fork", "POST", f"/chats/{chat.pk}/fork", {"messageId": answer})
            if reply.status == 201:
                self.chats.append(Chat(reply.body["id"]))

    async def delete_message(self) -> None:
        chat, answer = self._some_answer()
        if answer:
            reply = await self._call("delete", "DELETE", f"/chats/{chat.pk}/messages/{answer}")
            if reply.status == 200 and self.dice.random() < 0.5:
                await self._call("undo", "POST", f"/chats/{chat.pk}/messages/{answer}/restore", {})

    async def delete_chat(self) -> None:
        chat = self.dice.choice(self.chats)
        if len(self.chats) > 2:
            reply = await self._call("delete a chat", "DELETE", f"/chats/{chat.pk}?forks=detach")
            if reply.status < 400:
                self.chats.remove(chat)

    # --- how -----------------------------------------------------------------------------------------------------

    def _words(self) -> str:
        self._serial += 1
        end = self.dice.choice(ENDS)
        pieces, pause = self.dice.randint(3, 150), self.dice.choice((10, 20, 40))
        return f"canary-u{self.number}n{self._serial} {pieces} pieces of {pause} ms{end}"

    async def _some_chat(self) -> Chat:
        if not self.chats or (len(self.chats) < MOST_CHATS and self.dice.random() < 0.2):
            reply = await self._until_taken("new chat", "/chats", {"title": "soak"})
            self.chats.append(Chat(reply.body["id"]))
            return self.chats[-1]
        return self.dice.choice(self.chats)

    def _some_answer(self) -> tuple[Chat, str]:
        chat = self.dice.choice(self.chats)
        return chat, self.dice.choice(list(chat.answers) or [""])

    async def _call(self, act: str, method: str, path: str, body: Any = None) -> Reply:
        reply = await self.person.call(method, path, body)
        # A chat that writes already, a message that is gone: what people meet who do this fast.
        if reply.status < 400:
            self.ledger.acts[act] += 1
        elif reply.status in (409, 404, 429):
            self.ledger.acts[f"{act}: {reply.status}"] += 1
        elif reply.status < 500:
            self.ledger.note_error(f"user {self.number}, {act}: {reply.status} {reply.body}")
        return reply

    async def _until_taken(self, act: str, path: str, body: Any) -> Reply:
        """Post as pages do: the same again, with the same client id, until there is an answer to it."""
        while True:
            try:
                reply = await self._call(act, "POST", path, body)
                if reply.status < 500:
                    return reply
            except LOST:
                pass
            await asyncio.sleep(0.5)

    def _begun(self, chat: Chat, reply: Reply, words: str) -> None:
        """Remember an answer that was begun, and have it read by one or two."""
        if reply.status != 202:
            return
        if question := reply.body.get("userMessageId"):
            chat.questions[question] = words
        sent = Sent(chat.pk, reply.body["messageIds"][0], reply.body["generationIds"][0])
        chat.answers[sent.message] = words
        for kind in self.dice.sample(READERS, self.dice.choice((1, 1, 2))):
            task = asyncio.create_task(self._read(kind(self.person, sent), words))
            self.reading.add(task)
            task.add_done_callback(self.reading.discard)

    # --- reading and comparing -----------------------------------------------------------------------------------

    async def _read(self, reader: Reader, words: str) -> None:
        """Read an answer to its end and compare what was shown with the row, and both with what was to be said."""
        loop = asyncio.get_running_loop()
        began, problem = loop.time(), None
        self.readers.append(reader.start())
        try:
            await reader.ended(READING)
        except AssertionError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is a finding)
            problem = repr(error)
        finally:
            self.readers.remove(reader)
            await reader.leave()
        self.ledger.cuts += reader.cuts
        self.ledger.longest_reading = max(self.ledger.longest_reading, loop.time() - began)
        row = await self._row(reader.sent)
        if row is None:
            self.ledger.readings["deleted meanwhile"] += 1
            return
        self.ledger.readings[f"{type(reader).__name__}: {reader.status}"] += 1
        if problem := problem or difference(reader, row, words):
            self.ledger.note_error(
                f"user {self.number}: {problem}; row {row['status']} {row['content'][-40:]!r}; {words}"
            )

    async def _row(self, sent: Sent) -> dict[str, Any] | None:
        """Read a message again and again until the database answers; None if it was deleted."""
        while True:
            try:
                reply = await self.person.call("GET", f"/chats/{sent.chat}/messages?leafId={sent.message}&limit=2")
            except LOST:
                reply = Reply(0, None, {})
            if reply.status == 404:
                return None
            if reply.status == 200:
                found = [one for one in reply.body["messages"] if one["id"] == sent.message]
                return found[0] if found else None
            await asyncio.sleep(0.5)

    def _check_names(self, page: str) -> None:
        foreign = {name for name in NAME.findall(page) if not name.startswith(f"canary-u{self.number}n")}
        if foreign:
            self.ledger.note_error(f"user {self.number} saw {sorted(foreign)[:5]}")


def difference(reader: Reader, row: dict[str, Any], words: str) -> str:
    """Say what is wrong with what a reader saw of an answer, or ""."""
    expected = said(words)
    if reader.status != row["status"]:
        return f"{reader} ended otherwise than the row"
    if wrong := wrong_text(row["content"], row["status"], words):
        return wrong
    if isinstance(reader, StreamReader):
        # A stream can't unsay what its killed writer had shown and not yet kept.
        alike = expected.startswith(reader.text) and reader.text.startswith(row["content"])
        return "" if alike else f"{reader} read otherwise than the row: {reader.text!r}"
    shown = "".join(render(part["text"]) for part in row["parts"])
    return "" if reader.text == shown else f"{reader} shows {len(reader.text)} of {len(shown)} characters"


def said(words: str) -> str:
    """Give all that the provider says to a question."""
    found = texts.WISH.search(words)
    assert found, words
    return "".join(texts.canary(found[1], int(found[2])))


def wrong_text(text: str, status: str, words: str) -> str:
    """Say what is wrong with the text of an answer in the database, or ""."""
    expected = said(words)
    if status == "complete" and text != expected:
        return f"complete with {len(text)} of {len(expected)} characters: …{text[-60:]!r}"
    if not expected.startswith(text):
        return f"{status} with words that nobody said: …{text[-60:]!r}"
    return ""
