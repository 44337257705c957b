"""Operations on chats: list, make, read, change, delete and restore, fork, family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router, Status

from apps.conversations.api.authentication import caller
from apps.conversations.models import Conversation
from apps.conversations.schemas.base import clamped
from apps.conversations.schemas.chats import (
    Chat,
    ChatChanges,
    ChatPage,
    Family,
    FamilyChat,
    NewChat,
    NewFork,
    chat_fields,
)
from apps.conversations.services import conversations, forks, reading

router = Router(tags=["chats"], by_alias=True)

ListLimit = Annotated[int, clamped(1, 100)]


def answering(conversations: Sequence[Conversation]) -> dict[UUID, UUID]:
    """Find the message being written, by conversation: where the owner stands, else the first. Effects: one query."""
    active = reading.active_in([str(conversation.pk) for conversation in conversations])
    found = {}
    for conversation in conversations:
        ids = [UUID(answer.message_id) for answer in active.get(str(conversation.pk), ())]
        if ids:
            leaf = conversation.active_leaf_id
            found[conversation.pk] = leaf if leaf in ids else ids[0]
    return found


def chat_of(conversation: Conversation) -> Chat:
    """Show one conversation. Effects: one query."""
    return Chat(**chat_fields(conversation, answering([conversation]).get(conversation.pk)))


@router.get("/chats", response=ChatPage, summary="List chats, newest change first")
def chat_list(
    request: HttpRequest, cursor: str | None = None, limit: ListLimit = 20, archived: bool = False
) -> ChatPage:
    page = conversations.list_page(user=caller(request), archived=archived, cursor=cursor, limit=limit)
    writing = answering(page.items)
    chats = [Chat(**chat_fields(item, writing.get(item.pk))) for item in page.items]
    return ChatPage(chats=chats, next_cursor=page.next_cursor)


@router.post("/chats", response={201: Chat}, summary="Make a chat")
def chat_create(request: HttpRequest, given: NewChat | None = None) -> Status[Chat]:
    given = given or NewChat()
    made = conversations.create(user=caller(request), title=given.title or "", settings=given.settings)
    return Status(201, chat_of(made))


@router.get("/chats/{chat_id}", response=Chat, summary="Read a chat")
def chat_read(request: HttpRequest, chat_id: str) -> Chat:
    return chat_of(conversations.get(user=caller(request), conversation_id=chat_id))


@router.patch("/chats/{chat_id}", response=Chat, summary="Rename, pin, archive or set up a chat")
def chat_update(request: HttpRequest, chat_id: str, given: ChatChanges) -> Chat:
    changed = conversations.update(
        user=caller(request),
        conversation_id=chat_id,
        title=given.title,
        pinned=given.pinned,
        status=given.status,
        settings=given.settings,
    )
    return chat_of(changed)


@router.delete("/chats/{chat_id}", response={204: None}, summary="Delete a chat; it can be restored")
def chat_delete(
    request: HttpRequest, chat_id: str, forks: Annotated[Literal["delete", "detach"] | None, Query()] = None
) -> Status[None]:
    conversations.delete(user=caller(request), conversation_id=chat_id, forks=forks)
    return Status(204, None)


@router.post("/chats/{chat_id}/restore", response=Chat, summary="Undo deleting a chat")
def chat_restore(request: HttpRequest, chat_id: str) -> Chat:
    return chat_of(conversations.restore(user=caller(request), conversation_id=chat_id))


@router.post(
    "/chats/{chat_id}/fork", response={201: Chat}, summary="Copy the path up to a message into a chat of its own"
)
def chat_fork(request: HttpRequest, chat_id: str, given: NewFork) -> Status[Chat]:
    made = forks.fork_and_answer(
        user=caller(request), conversation_id=chat_id, message_id=given.message_id, title=given.title or None
    )
    return Status(201, chat_of(made))


@router.get("/chats/{chat_id}/family", response=Family, summary="List a chat's root and all its forks")
def chat_family(request: HttpRequest, chat_id: str) -> Family:
    family = forks.family(user=caller(request), conversation_id=chat_id)
    writing = answering(family)
    chats = [
        FamilyChat(**chat_fields(item, writing.get(item.pk)), snippet=item.snippet, messages_after=item.messages_after)
        for item in family
    ]
    return Family(root_id=family[0].root_conversation_id, chats=chats)
