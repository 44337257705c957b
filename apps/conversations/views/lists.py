"""Lists of conversations: the sidebar's pages and rows, and the archive. Nothing is written."""

from __future__ import annotations

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from apps.conversations import presenters
from apps.conversations.services import overview
from apps.conversations.views import frame
from apps.core.http import is_htmx, render_page, wants_part


@require_safe
def sidebar(request: frame.SignedInRequest) -> HttpResponse:
    """Give a page of the list: rows for scripts, else a page of its own. `group` says which heading stands already."""
    cursor, continues = request.GET.get("before", ""), request.GET.get("group", "")
    page = frame.present_sidebar(request, cursor=cursor or None, continues=continues if cursor else "")
    if wants_part(request):
        return render_page(request, "conversations/_rows.html", {"sidebar": page, "current": None})
    return render_page(request, "conversations/list.html", frame.page_context(request, page=page))


@require_safe
def row(request: frame.SignedInRequest, conversation_id: str) -> HttpResponse:
    """Give one row to scripts; nothing where its conversation left the list."""
    if not is_htmx(request):
        return frame.see_other(reverse("conversations:detail", args=[conversation_id]))
    return row_part(request, conversation_id)


@require_safe
def archive_list(request: frame.SignedInRequest) -> HttpResponse:
    """Show what was archived, newest change first."""
    cursor = request.GET.get("before") or None
    read = overview.read_sidebar(user=request.user, cursor=cursor, archived=True)
    rows = [presenters.present_row(found, read.running) for found in read.recent]
    context = frame.page_context(request, rows=rows, next_cursor=read.next_cursor)
    return render_page(request, "conversations/archive.html", context)


def row_part(request: frame.SignedInRequest, conversation_id: str) -> HttpResponse:
    """Answer with one row as it is now; empty for an archived one."""
    conversation, is_running = overview.read_row(user=request.user, conversation_id=conversation_id)
    if conversation.is_archived:
        return HttpResponse("")
    shown = presenters.present_row(conversation, {conversation.pk} if is_running else ())
    return render_page(request, "conversations/_row.html", {"row": shown, "current": None})
