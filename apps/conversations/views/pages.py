"""Reading: the page of a new conversation, of one that exists, its older messages, single articles.

Nothing is written, but that looking ends answers whose runner is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from apps.conversations import presenters
from apps.conversations.models import Conversation, Message
from apps.conversations.services import batches, conversations, forks, overview, paths
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
    """Show the newest page of a path: the owner's, or the one through `?leaf=`; side by side what answers `?compare=`."""
    conversation = conversations.get(user=request.user, conversation_id=conversation_id)
    page = paths.path_page(conversation=conversation, leaf_id=request.GET.get("leaf"))
    compare = parse_id(request.GET["compare"]) if request.GET.get("compare") else None
    if compare is not None:
        page = reaching(conversation, page, lambda message: message.parent_id == compare)
    return conversation_page(request, conversation, page, compare=compare)


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
    request: frame.SignedInRequest,
    *,
    content: str = "",
    further: Sequence[str] = (),
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    """Answer with the page of a new conversation."""
    name = request.user.first_name
    context = frame.page_context(
        request,
        title=_("New chat"),
        is_start=True,
        greeting=_("What is on your mind, %(name)s?") % {"name": name} if name else _("What is on your mind?"),
        composer=frame.present_composer(content=content, further=further),
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
    compare: UUID | None = None,
    further: Sequence[str] = (),
) -> HttpResponse:
    """Answer with a conversation's page: its header, one page of a path, the composer; none for reading alone."""
    turns = path_context(request, conversation, page, compare=compare)
    running = sum(turn.running for turn in turns["turns"])
    family = conversation.branch_id is not None
    context = frame.page_context(
        request,
        **turns,
        title=conversation.display_title,
        conversation=conversation,
        family=forks.family(user=request.user, conversation_id=conversation.pk) if family else [],
        composer=frame.present_composer(
            conversation, leaf=page.leaf, content=content, further=further, running=running
        ),
        error=error,
        is_reading=is_reading,
    )
    context["current"] = conversation.pk
    return render_page(request, "conversations/detail.html", context, part="main", status=status)


def path_context(
    request: frame.SignedInRequest, conversation: Conversation, page: paths.PathPage, *, compare: UUID | None = None
) -> dict[str, Any]:
    """Prepare a page of a path as turns, with the way to what is above it; side by side the answers to `compare`."""
    older = ""
    if page.next_cursor:
        query = {"before": page.next_cursor, "leaf": page.leaf.pk if page.leaf else ""}
        older = f"{reverse('conversations:older', args=[conversation.pk])}?{urlencode(query)}"
    beside, compare = _beside(page, compare)
    shown = [*page.messages, *(message for answers in beside.values() for message in answers)]
    turns = presenters.present_turns(
        page.messages,
        generations=overview.read_active(user=request.user, conversation=conversation, shown=shown),
        names=frame.model_names(),
        is_writable=not conversation.is_archived,
        beside=beside,
    )
    return {"turns": turns, "older": older, "notice": _leaf_notice(page), "compare": compare}


def _beside(page: paths.PathPage, compare: UUID | None) -> tuple[dict[UUID, list[Message]], UUID | None]:
    """Find what stands side by side: answers of a batch that ends the path, and those to the message compared.

    Shape: with the message compared, if its answers stand so for that alone.
    """
    forks = [message for message in page.messages if message.is_answer and message.sibling_count > 1]
    ends = [message for message in forks if message == page.leaf and batches.on_path([message])]
    wanted = [message for message in forks if compare is not None and message.parent_id == compare]
    beside = {message.pk: overview.read_answers(message) for message in {*ends, *wanted}}
    return beside, compare if wanted and wanted != ends else None


def show_path(
    request: frame.SignedInRequest,
    conversation_id: str | UUID,
    message_id: str | UUID | None,
    *,
    compare: UUID | None = None,
) -> HttpResponse:
    """Answer with the path on which the owner stands now, and its address.

    Shape: side by side the answers to `compare`; if none is given, those that the form's page compared.
    """
    target = presenters.compare_url(conversation_id, compare or frame.compared(request))
    if not is_htmx(request):
        return frame.see_other(f"{target}#m-{message_id}" if message_id else target)
    response = path_part(request, conversation_id, through=message_id, compare=compare or frame.compared(request))
    here = frame.came_from(request)
    if here.path == urlsplit(target).path and here.query != urlsplit(target).query:
        response["HX-Push-Url"] = f"{target}#m-{message_id}" if message_id and urlsplit(target).query else target
    return response


def path_part(
    request: frame.SignedInRequest,
    conversation_id: str | UUID,
    *,
    through: str | UUID | None = None,
    compare: UUID | None = None,
) -> HttpResponse:
    """Answer htmx with the turns of the path on which the owner stands now; notices come out of band.

    Shape: reaches up to the message `through`, so that it can stay where it stood, but at most eight pages.
    """
    conversation = conversations.get(user=request.user, conversation_id=conversation_id)
    page = paths.path_page(conversation=conversation)
    wanted = parse_id(through) if through else None
    if wanted is not None or compare is not None:
        page = reaching(conversation, page, lambda message: message.pk == wanted or message.parent_id == compare)
    return render_page(request, "conversations/_path.html", path_context(request, conversation, page, compare=compare))


def reaching(conversation: Conversation, page: paths.PathPage, wanted: Callable[[Message], bool]) -> paths.PathPage:
    """Read on above a page until it holds a message that is wanted, at most eight pages."""
    whole = page
    for _more in range(MOST_PAGES - 1):
        if whole.next_cursor is None or any(map(wanted, whole.messages)):
            return whole
        above = paths.path_page(conversation=conversation, cursor=whole.next_cursor)
        whole = replace(whole, messages=above.messages + whole.messages, next_cursor=above.next_cursor)
    return whole


def _leaf_notice(page: paths.PathPage) -> str:
    return _("That message was deleted. This is where you stood last.") if page.reason == "not_found" else ""
