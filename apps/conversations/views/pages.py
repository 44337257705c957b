"""Reading: the page of a new conversation, of one that exists, its older messages, single articles.

Nothing is written, but that looking ends answers whose runner is gone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from apps.conversations import presenters
from apps.conversations.models import Conversation
from apps.conversations.services import conversations, forks, generations, overview, paths
from apps.conversations.views import frame
from apps.core.http import is_htmx, render_page, wants_part
from apps.core.ids import parse_id

LONGEST_PREFILL = 5_000
MOST_PAGES = 8
# Source: htmx; a polling element stops when it hears this.
STOP_POLLING = 286


@require_safe
def home(request: frame.SignedInRequest) -> HttpResponse:
    """Show the start of a new conversation; `?q=` fills the box and sends nothing."""
    return start_page(request, content=request.GET.get("q", "")[:LONGEST_PREFILL])


@require_safe
def detail(request: frame.SignedInRequest, conversation_id: str) -> HttpResponse:
    """Show the newest page of a path: the owner's, or the one through `?leaf=`."""
    conversation = conversations.get(user=request.user, conversation_id=conversation_id)
    page = paths.path_page(conversation=conversation, leaf_id=request.GET.get("leaf"))
    return conversation_page(request, conversation, page)


@require_safe
def older(request: frame.SignedInRequest, conversation_id: str) -> HttpResponse:
    """Show the page above a message; as a part, only the turns and the way further up."""
    conversation = conversations.get(user=request.user, conversation_id=conversation_id)
    leaf = request.GET.get("leaf")
    page = paths.path_page(conversation=conversation, leaf_id=leaf, cursor=request.GET.get("before"))
    if wants_part(request):
        return render_page(request, "conversations/_turns.html", path_context(request, conversation, page))
    # No composer there: what is written must go below the leaf, which this page does not show.
    return conversation_page(request, conversation, page, is_reading=True)


@require_safe
def message(request: frame.SignedInRequest, conversation_id: str, message_id: str) -> HttpResponse:
    """Give one article to scripts; others are led to the path through the message."""
    conversation, found, generation = overview.read_message(
        user=request.user, conversation_id=conversation_id, message_id=message_id
    )
    if not is_htmx(request):
        query = urlencode({"leaf": found.pk})
        return frame.see_other(f"{reverse('conversations:detail', args=[conversation.pk])}?{query}#m-{found.pk}")
    return article(request, conversation, found, generation)


@require_safe
def live(request: frame.SignedInRequest, conversation_id: str) -> HttpResponse:
    """Give the article of an answer as it stands, for pages without a socket; 286 once it has ended."""
    conversation, found, generation = overview.read_message(
        user=request.user, conversation_id=conversation_id, message_id=request.GET.get("m", "")
    )
    response = article(request, conversation, found, generation)
    response.status_code = 200 if generation else STOP_POLLING
    return response


def article(
    request: frame.SignedInRequest, conversation: Conversation, found: Any, generation: Any = None
) -> HttpResponse:
    """Answer with one message alone."""
    view = presenters.present_message(
        found, generation=generation, names=frame.model_names(), is_writable=not conversation.is_archived
    )
    return render_page(request, "conversations/_message.html", {"m": view})


def start_page(
    request: frame.SignedInRequest, *, content: str = "", error: str = "", status: int = 200
) -> HttpResponse:
    """Answer with the page of a new conversation."""
    name = request.user.first_name
    context = frame.page_context(
        request,
        title=_("New chat"),
        is_start=True,
        greeting=_("What is on your mind, %(name)s?") % {"name": name} if name else _("What is on your mind?"),
        composer=frame.present_composer(content=content),
        starters=frame.STARTERS,
        error=error,
    )
    return render_page(request, "conversations/detail.html", context, part="main", status=status)


def conversation_page(
    request: frame.SignedInRequest,
    conversation: Conversation,
    page: paths.PathPage,
    *,
    content: str = "",
    error: str = "",
    status: int = 200,
    is_reading: bool = False,
) -> HttpResponse:
    """Answer with a conversation's page: its header, one page of a path, the composer; none for reading alone."""
    turns = path_context(request, conversation, page)
    is_running = any(message.live for turn in turns["turns"] for message in turn.messages)
    family = conversation.branch_id is not None
    context = frame.page_context(
        request,
        **turns,
        title=conversation.display_title,
        conversation=conversation,
        family=forks.family(user=request.user, conversation_id=conversation.pk) if family else [],
        composer=frame.present_composer(conversation, leaf=page.leaf, content=content, is_running=is_running),
        error=error,
        is_reading=is_reading,
    )
    context["current"] = conversation.pk
    return render_page(request, "conversations/detail.html", context, part="main", status=status)


def path_context(request: frame.SignedInRequest, conversation: Conversation, page: paths.PathPage) -> dict[str, Any]:
    """Prepare a page of a path as turns, with the way to what is above it."""
    older = ""
    if page.next_cursor:
        query = {"before": page.next_cursor, "leaf": page.leaf.pk if page.leaf else ""}
        older = f"{reverse('conversations:older', args=[conversation.pk])}?{urlencode(query)}"
    turns = presenters.present_turns(
        page.messages,
        generations=generations.active_answers(user=request.user, conversation_id=conversation.pk),
        names=frame.model_names(),
        is_writable=not conversation.is_archived,
    )
    return {"turns": turns, "older": older, "notice": _leaf_notice(page)}


def path_part(
    request: frame.SignedInRequest, conversation_id: str | UUID, *, through: str | UUID | None = None
) -> HttpResponse:
    """Answer htmx with the turns of the path on which the owner stands now; notices come out of band.

    Shape: reaches up to the message `through`, so that it can stay where it stood, but at most eight pages.
    """
    conversation = conversations.get(user=request.user, conversation_id=conversation_id)
    page = paths.path_page(conversation=conversation)
    wanted = parse_id(through)
    for _more in range(MOST_PAGES - 1):
        if wanted is None or page.next_cursor is None or any(message.pk == wanted for message in page.messages):
            break
        above = paths.path_page(conversation=conversation, cursor=page.next_cursor)
        page = replace(page, messages=above.messages + page.messages, next_cursor=above.next_cursor)
    return render_page(request, "conversations/_path.html", path_context(request, conversation, page))


def _leaf_notice(page: paths.PathPage) -> str:
    return _("That message was deleted. This is where you stood last.") if page.reason == "not_found" else ""
