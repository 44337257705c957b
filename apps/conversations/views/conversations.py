"""What a person does with a whole conversation: rename, pin, archive, delete, restore, choose its model, look at it."""

from __future__ import annotations

from django.http import HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from apps.conversations.models import Conversation, ConversationStatus
from apps.conversations.services import conversations
from apps.conversations.views import frame, lists
from apps.core.errors import HasForks, InvalidField
from apps.core.http import is_htmx, render_page


@require_http_methods(["GET", "HEAD", "POST"])
@frame.keeps_page
def rename(request: frame.SignedInRequest, conversation_id: str) -> HttpResponse:
    """Show the form for a title, and store it. Scripts get the row of the list in either state."""
    user = request.user
    if request.method != "POST":
        conversation = conversations.get(user=user, conversation_id=conversation_id)
        return _rename_form(request, conversation, title=conversation.title)
    title = request.POST.get("title", "")
    try:
        conversation = conversations.rename(user=user, conversation_id=conversation_id, title=title)
    except InvalidField as error:
        conversation = conversations.get(user=user, conversation_id=conversation_id)
        return _rename_form(request, conversation, title=title, error=error)
    if is_htmx(request):
        return lists.row_part(request, conversation_id)
    return frame.see_other(_page_of(conversation))


@require_POST
@frame.keeps_page
def pin(request: frame.SignedInRequest, conversation_id: str) -> HttpResponse:
    """Pin a conversation, or let it go with `pinned=0`."""
    pinned = request.POST.get("pinned", "1") != "0"
    conversation = conversations.set_pinned(user=request.user, conversation_id=conversation_id, pinned=pinned)
    return frame.back(request, _page_of(conversation))


@require_POST
@frame.keeps_page
def archive(request: frame.SignedInRequest, conversation_id: str) -> HttpResponse:
    """Take a conversation out of the list; what is being written in it stops."""
    conversation = conversations.set_status(
        user=request.user, conversation_id=conversation_id, status=ConversationStatus.ARCHIVED
    )
    words = _("“%(title)s” is archived.") % {"title": conversation.display_title}
    frame.notice(request, words, undo=reverse("conversations:unarchive", args=[conversation.pk]))
    return _away(request, conversation)


@require_POST
@frame.keeps_page
def unarchive(request: frame.SignedInRequest, conversation_id: str) -> HttpResponse:
    """Put a conversation back into the list."""
    conversation = conversations.set_status(
        user=request.user, conversation_id=conversation_id, status=ConversationStatus.ACTIVE
    )
    return frame.back(request, _page_of(conversation))


@require_POST
@frame.keeps_page
def delete(request: frame.SignedInRequest, conversation_id: str) -> HttpResponse:
    """Delete a conversation, with a way back; a root with forks asks what becomes of them."""
    user, forks = request.user, request.POST.get("forks") or None
    try:
        conversation = conversations.delete(user=user, conversation_id=conversation_id, forks=forks)
    except HasForks as error:
        conversation = conversations.get(user=user, conversation_id=conversation_id)
        context = frame.page_context(request, conversation=conversation, forks=error.data.get("forks", 0))
        return render_page(request, "conversations/delete.html", context, status=error.status)
    words = _("“%(title)s” is deleted.") % {"title": conversation.display_title}
    frame.notice(request, words, undo=reverse("conversations:restore", args=[conversation.pk]))
    return _away(request, conversation)


@require_POST
@frame.keeps_page
def restore(request: frame.SignedInRequest, conversation_id: str) -> HttpResponse:
    """Undo the deletion of a conversation."""
    conversation = conversations.restore(user=request.user, conversation_id=conversation_id)
    return frame.see_other(_page_of(conversation))


@require_POST
@frame.keeps_page
def model(request: frame.SignedInRequest, conversation_id: str) -> HttpResponse:
    """Choose the language model that answers here."""
    chosen = request.POST.get("model", "")
    conversation = conversations.set_model(user=request.user, conversation_id=conversation_id, model=chosen)
    return HttpResponse(status=204) if is_htmx(request) else frame.see_other(_page_of(conversation))


@require_POST
@frame.keeps_page
def seen(request: frame.SignedInRequest, conversation_id: str) -> HttpResponse:
    """Note that the owner has looked."""
    conversation = conversations.mark_seen(user=request.user, conversation_id=conversation_id)
    return HttpResponse(status=204) if is_htmx(request) else frame.see_other(_page_of(conversation))


def _page_of(conversation: Conversation) -> str:
    return reverse("conversations:detail", args=[conversation.pk])


def _away(request: frame.SignedInRequest, conversation: Conversation) -> HttpResponse:
    """Go back to where the form stood, unless that page is the one that just left the list."""
    home = reverse("conversations:home")
    if request.POST.get("next", "").startswith(_page_of(conversation)):
        return frame.see_other(home)
    return frame.back(request, home)


def _rename_form(
    request: frame.SignedInRequest, conversation: Conversation, *, title: str, error: InvalidField | None = None
) -> HttpResponse:
    context = {"conversation": conversation, "title": title, "error": error.text if error else ""}
    status = error.status if error else 200
    if is_htmx(request):
        return render_page(request, "conversations/_rename_row.html", context, status=status)
    context = frame.page_context(request, **context)
    context["current"] = conversation.pk
    return render_page(request, "conversations/rename.html", context, status=status)
