"""Every way in which a provider can fail, as somebody sees it who reads the answer over HTTP; all of them at once."""

from __future__ import annotations

import asyncio

import pytest

from tests.fault_table import record_fault
from tests.process.people import StreamReader
from tests.upstream import texts

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.xdist_group("embedded")]

WORDS = "These words came through. "
# The fault, the model of the fake provider, and how it has to end: status, error, text (None: some of it).
FAULTS = [
    ("answers 400", "fake-400", ("failed", "bad_request", "")),
    ("answers 401", "fake-401", ("failed", "key_refused", "")),
    ("answers 402", "fake-402", ("failed", "no_credit", "")),
    ("answers 403", "fake-403", ("failed", "key_refused", "")),
    ("answers 404", "fake-404", ("failed", "model_gone", "")),
    ("answers 429 with Retry-After 1, each time", "fake-429", ("failed", "overloaded", "")),
    ("answers 429, the quota is used up", "fake-quota", ("failed", "no_credit", "")),
    ("answers 500, each time", "fake-500", ("failed", "unavailable", "")),
    ("answers 503 the first time", "fake-flaky", ("complete", "", texts.ANSWER)),
    ("answers 529, each time", "fake-529", ("failed", "overloaded", "")),
    ("says that the context is too long", "fake-toolong", ("failed", "too_long", "")),
    ("redirects to another address", "fake-moved", ("failed", "bad_request", "")),
    ("closes the connection unanswered", "fake-refuse", ("failed", "cut_off", "")),
    ("answers with a page of HTML", "fake-html", ("failed", "malformed", "")),
    ("answers no HTTP", "fake-badhttp", ("failed", "malformed", "")),
    ("takes the question and says nothing at all", "fake-silenthead", ("failed", "timed_out", "")),
    ("begins to answer and never says a word", "fake-silent", ("failed", "timed_out", "")),
    ("stalls amid the answer", "fake-stall", ("failed", "timed_out", WORDS)),
    ("resets the connection amid the answer", "fake-reset", ("failed", "cut_off", None)),
    ("ends without a finish reason", "fake-nodone", ("interrupted", "cut_off", WORDS)),
    ("ends amid a line", "fake-cutline", ("failed", "cut_off", WORDS)),
    ("sends a chunk that is no JSON", "fake-malformed", ("failed", "malformed", WORDS)),
    ("sends an error amid the answer", "fake-errorchunk", ("failed", "overloaded", WORDS)),
    ("sends a line that never ends", "fake-flood", ("failed", "malformed", WORDS)),
    ("never ends, to the limit of 50,000 bytes", "fake-endless", ("failed", "answer_too_long", None)),
    ("sends one token of 300,000 characters, to the same limit", "fake-huge", ("failed", "answer_too_long", None)),
    ("cuts characters and lines everywhere", "fake-splitutf8", ("complete", "", texts.MANY_BYTES)),
    ("sends half surrogate pairs and NUL", "fake-surrogates", ("complete", "", "tree 🌳, half \ufffd and nul \ufffd.")),
    ("answers with nothing", "fake-empty", ("failed", "empty", "")),
    ("withholds the rest (content_filter)", "fake-filter", ("failed", "filtered", WORDS)),
    ("stops at its own limit (length)", "fake-length", ("complete", "", WORDS)),
]


async def test_every_fault_of_a_provider_ends_in_a_sentence_and_keeps_the_text(impatient, provider):
    provider.reset()
    seen = await asyncio.gather(
        *(ask(impatient.person(number % len(impatient.people)), *fault) for number, fault in enumerate(FAULTS))
    )
    wrong = [problem for problem in map(difference, seen, FAULTS) if problem]
    assert not wrong, "\n".join(map(str, wrong))
    tried = {model: sum(request["body"]["model"] == model for request in provider.requests) for _, model, _ in FAULTS}
    for (fault, model, _), (reader, message) in zip(FAULTS, seen, strict=True):
        record_fault(
            fault=f"The provider {fault}",
            shape=impatient.shape,
            reader_saw=f"{len(reader.text)} characters, then {reader.status}{told(reader)}; asked {tried[model]}×",
            database_held=f"{message['status']}, {len(message['content'])} characters",
        )


async def ask(context, fault, model, _):
    async with context as person:
        sent = await person.send(await person.begin(), fault, model=f"openai/{model}")
        reader = StreamReader(person, sent).start()
        await reader.ended()
        return reader, await person.message(sent)


def difference(seen, fault):
    reader, message = seen
    _, model, (status, error, text) = fault
    found = (message["status"], (message["error"] or {}).get("code", ""), message["content"])
    assert (reader.status, reader.text) == (message["status"], message["content"]), model
    expected = (status, error, found[2] if text is None else text)
    return (model, found, expected) if found != expected else None


def told(reader):
    return f", “{reader.error['message']}”" if reader.error else ""
