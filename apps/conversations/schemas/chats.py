"""Conversations as the API shows and takes them; its paths and fields say chat."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from apps.conversations.models import Conversation
from apps.conversations.schemas.base import Answer, Given, later

Status = Literal["active", "completed", "archived"]


class NewChat(Given):
    title: str | None = None
    persona_id: Annotated[str | None, later(None)] = None
    mode: Annotated[Literal["chat"], later("chat")] = "chat"
    settings: dict[str, Any] | None = None


class ChatChanges(Given):
    title: str | None = None
    pinned: bool | None = None
    status: Status | None = None
    settings: dict[str, Any] | None = None
    persona_id: Annotated[str | None, later(None)] = None
    mode: Annotated[Literal["chat"], later("chat")] = "chat"


class NewFork(Given):
    message_id: str
    title: str | None = None


class Chat(Answer):
    id: UUID
    title: str
    mode: Literal["chat", "roleplay", "story"] = "chat"
    status: Status
    pinned: bool
    persona_id: UUID | None = None
    persona_version: int | None = None
    settings: dict[str, Any]
    leaf_id: UUID | None
    generating: bool
    current_streaming_message_id: UUID | None
    parent_conversation_id: UUID | None
    branch_from_message_id: UUID | None
    root_conversation_id: UUID
    branch_id: UUID | None
    created_at: datetime
    updated_at: datetime


class ChatPage(Answer):
    chats: list[Chat]
    next_cursor: str | None


class FamilyChat(Chat):
    snippet: str
    messages_after: int


class Family(Answer):
    root_id: UUID
    chats: list[FamilyChat]


def chat_fields(conversation: Conversation, answering: UUID | None) -> dict[str, Any]:
    """Read a conversation's fields for the API; `answering` is the message that is being written, if any."""
    return {
        "id": conversation.pk,
        "title": conversation.display_title,
        "status": conversation.status,
        "pinned": conversation.is_pinned,
        "settings": conversation.settings,
        "leaf_id": conversation.active_leaf_id,
        "generating": answering is not None,
        "current_streaming_message_id": answering,
        "parent_conversation_id": conversation.parent_conversation_id,
        "branch_from_message_id": conversation.branch_from_message_id,
        "root_conversation_id": conversation.root_conversation_id,
        "branch_id": conversation.branch_id,
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
    }
