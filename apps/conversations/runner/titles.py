"""Naming a conversation after its first answer: a small call to a model, and the first words where that fails."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from uuid import UUID

from django.conf import settings
from django.db import transaction

from apps.conversations.models import Conversation, Generation, GenerationState, Message, TitleSource
from apps.conversations.runner.writer import provider_for
from apps.conversations.services import live
from apps.conversations.services.contents import excerpt
from apps.conversations.services.endings import Lease
from apps.conversations.services.leases import finish_title
from apps.core.db import in_db
from apps.core.ids import parse_id
from apps.providers.base import ChatMessage, ChatRequest, Sampling, TextDelta
from apps.providers.errors import ProviderError

# Source: design of titles. 500 tokens in, 30 out, at most 40 characters, three tries.
CHARACTERS_IN = 2_000
TITLE_CHARACTERS = 40
TRIES = 3
PAUSES = (1.0, 2.0, 4.0)
CALL_SECONDS = 20.0
INSTRUCTION = (
    "Name this conversation in two to five words, in its own language. "
    "Answer with the name alone: no quotes, no full stop, at most 40 characters."
)


async def write_title(generation: Generation, lease: Lease) -> None:
    """Name the conversation of a claimed title generation; the first words where no model can.

    Effects: one or two small transactions; never touches a title that the user set.
    """
    found = await in_db(_question_and_answer, parse_id(generation.request.get("answer")))
    if found is None:
        await in_db(finish_title, lease, state=GenerationState.FAILED, error_code="not_found")
        return
    question, answer, model = found
    title = await _ask(question, answer, settings.TITLE_MODEL or model)
    await in_db(_store, generation.conversation_id, title or excerpt(question), lease)


def tidy(text: str) -> str:
    """Make a title of what a model said: one line, no quotes or marks around it, at most 40 characters."""
    line = " ".join(text.replace("\x00", "").split()).strip("\"'“”‘’«»`*#_ ").rstrip(".")
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1].rstrip() + "…"


async def _ask(question: str, answer: str, model: str) -> str:
    for pause in (*PAUSES[: TRIES - 1], 0.0):
        try:
            async with asyncio.timeout(CALL_SECONDS):
                if title := tidy(await _call(question, answer, model)):
                    return title
        except (ProviderError, TimeoutError):
            pass  # the conversation has its first words as a title already: a name is a comfort
        await asyncio.sleep(pause)
    return ""


async def _call(question: str, answer: str, model: str) -> str:
    provider, name = provider_for(model)
    said = f"{question[: CHARACTERS_IN // 2]}\n\n{answer[: CHARACTERS_IN // 2]}"
    messages = (ChatMessage("system", INSTRUCTION), ChatMessage("user", said))
    request = ChatRequest(name, messages, Sampling(temperature=0.2, max_tokens=30))
    pieces: list[str] = []
    async with aclosing(provider.stream(request)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                pieces.append(event.text)
            if sum(map(len, pieces)) > 400:
                break
    return "".join(pieces)


def _question_and_answer(answer_id: UUID) -> tuple[str, str, str] | None:
    answer = Message.objects.standing().select_related("parent").filter(pk=answer_id).first()
    if answer is None or answer.parent is None:
        return None
    return answer.parent.text, answer.text, f"{answer.provider}/{answer.model_id}"


def _store(conversation_id: UUID, title: str, lease: Lease) -> None:
    with transaction.atomic():
        named = Conversation.objects.filter(pk=conversation_id, title_source=TitleSource.DEFAULT).update(
            title=title, title_source=TitleSource.GENERATED
        )
        finish_title(lease, state=GenerationState.COMPLETED)
        conversation = Conversation.objects.get(pk=conversation_id)
        if named:
            live.publish_conversation(conversation, what="changed")
