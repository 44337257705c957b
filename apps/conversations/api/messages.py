"""Operations on messages: the page of a path, and everything that adds, changes or removes one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from ninja import Query, Router, Status

from apps.conversations.api.authentication import caller
from apps.conversations.api.streams import EVENTS, MAY_STREAM, started_response
from apps.conversations.models import Message
from apps.conversations.schemas.base import clamped
from apps.conversations.schemas.messages import (
    Again,
    Branches,
    Deleted,
    Edit,
    GoingOn,
    Leaf,
    MessageChanges,
    MessageOut,
    MessagePage,
    NewMessage,
    Restored,
    Started,
    message_out,
)
from apps.conversations.services import access, branches, conversations, messages, paths, progress
from apps.core.errors import Malformed, NotFound

router = Router(tags=["messages"], by_alias=True)

PageLimit = Annotated[int, clamped(1, 50)]
ANSWERS = {202: Started}


def messages_out(found: Sequence[Message]) -> list[MessageOut]:
    """Show messages whose siblings are attached. Effects: one query while an answer is written, else none."""
    queued = progress.waiting(found)
    return [message_out(message, queued=queued) for message in found]


def one_message_out(message: Message) -> MessageOut:
    """Show a single message. Effects: one query, and one more while it is written."""
    paths.attach_siblings([message])
    return messages_out([message])[0]


@router.get("/chats/{chat_id}/messages", response=MessagePage, summary="Read a page of the path that ends at a leaf")
def message_list(
    request: HttpRequest,
    chat_id: str,
    leaf_id: Annotated[str | None, Query(alias="leafId")] = None,
    cursor: str | None = None,
    limit: PageLimit = 50,
    strict: bool = False,
) -> MessagePage:
    conversation = conversations.get(user=caller(request), conversation_id=chat_id)
    try:
        page = paths.path_page(conversation=conversation, leaf_id=leaf_id, cursor=cursor, limit=limit, strict=strict)
    except NotFound as error:
        raise Malformed("The cursor is not a message of this chat.") from error
    return MessagePage(
        messages=messages_out(page.messages),
        leaf_id=page.leaf.pk if page.leaf else None,
        leaf_changed=page.leaf_changed,
        reason=page.reason,
        next_cursor=page.next_cursor,
    )


@router.post(
    "/chats/{chat_id}/messages",
    response=ANSWERS,
    summary="Send a message and begin its answer, or one by each of several models",
    openapi_extra=MAY_STREAM,
)
def message_send(request: HttpRequest, chat_id: str, given: NewMessage) -> HttpResponseBase | Status[Started]:
    sent = messages.send(
        user=caller(request),
        conversation_id=chat_id,
        content=given.content,
        parent_id=given.parent_id,
        client_id=given.client_id,
        model=given.model,
        models=given.models,
    )
    return started_response(request, sent, stream=given.stream)


@router.post(
    "/chats/{chat_id}/messages/{message_id}/regenerate",
    response=ANSWERS,
    summary="Begin another answer, or several",
    openapi_extra=MAY_STREAM,
)
def message_regenerate(
    request: HttpRequest, chat_id: str, message_id: str, given: Again | None = None
) -> HttpResponseBase | Status[Started]:
    given = given or Again()
    sent = messages.regenerate(
        user=caller(request), conversation_id=chat_id, message_id=message_id, model=given.model, models=given.models
    )
    return started_response(request, sent, stream=given.stream)


@router.post(
    "/chats/{chat_id}/messages/{message_id}/continue",
    response=ANSWERS,
    summary="Go on with an answer",
    openapi_extra=MAY_STREAM,
)
def message_continue(
    request: HttpRequest, chat_id: str, message_id: str, given: GoingOn | None = None
) -> HttpResponseBase | Status[Started]:
    given = given or GoingOn()
    sent = messages.continue_answer(
        user=caller(request), conversation_id=chat_id, message_id=message_id, model=given.model
    )
    return started_response(request, sent, stream=given.stream, continues=True)


@router.post(
    "/chats/{chat_id}/messages/{message_id}/edit",
    response={200: MessageOut, **ANSWERS},
    summary="Edit a message: beside it (branch) or in its place (save)",
    openapi_extra={"responses": {200: {"content": EVENTS["content"]}}},
)
def message_edit(
    request: HttpRequest, chat_id: str, message_id: str, given: Edit
) -> HttpResponseBase | Status[Started] | Status[MessageOut]:
    edited = messages.edit(
        user=caller(request),
        conversation_id=chat_id,
        message_id=message_id,
        content=given.content,
        mode=given.mode,
        model=given.model,
        models=given.models,
    )
    if isinstance(edited, Message):
        return Status(200, one_message_out(edited))
    return started_response(request, edited, stream=given.stream)


@router.post("/chats/{chat_id}/messages/{message_id}/select", response=Leaf, summary="Go to the path through a message")
def message_select(request: HttpRequest, chat_id: str, message_id: str) -> Leaf:
    leaf = branches.select(user=caller(request), conversation_id=chat_id, message_id=message_id)
    return Leaf(leaf_id=leaf.pk)


@router.patch("/chats/{chat_id}/messages/{message_id}", response=MessageOut, summary="Mark a message")
def message_update(request: HttpRequest, chat_id: str, message_id: str, given: MessageChanges) -> MessageOut:
    user = caller(request)
    if given.favourite is None:
        message = access.get_message(conversations.get(user=user, conversation_id=chat_id), message_id)
    else:
        message = messages.set_favourite(
            user=user, conversation_id=chat_id, message_id=message_id, favourite=given.favourite
        )
    return one_message_out(message)


@router.delete("/chats/{chat_id}/messages/{message_id}", response=Deleted, summary="Delete a message and all below it")
def message_delete(request: HttpRequest, chat_id: str, message_id: str) -> Deleted:
    deleted = branches.delete_message(user=caller(request), conversation_id=chat_id, message_id=message_id)
    return Deleted(deleted=deleted.count, leaf_id=deleted.leaf.pk if deleted.leaf else None)


@router.post("/chats/{chat_id}/messages/{message_id}/restore", response=Restored, summary="Undo deleting a message")
def message_restore(request: HttpRequest, chat_id: str, message_id: str) -> Restored:
    restored = branches.restore_message(user=caller(request), conversation_id=chat_id, message_id=message_id)
    return Restored(restored=restored.count, leaf_id=restored.leaf.pk if restored.leaf else None)


@router.get("/chats/{chat_id}/branches", response=Branches, summary="List the messages with more than one answer below")
def branch_list(request: HttpRequest, chat_id: str) -> Branches:
    conversation = conversations.get(user=caller(request), conversation_id=chat_id)
    return Branches.model_validate({"forks": paths.forks_of(conversation)}, from_attributes=True)
