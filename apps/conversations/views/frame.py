"""What every page of conversations stands in: the sidebar, the composer, notices, the way back. No writing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import wraps
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages as notices
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import User
from apps.conversations import presenters
from apps.conversations.models import Conversation, Message
from apps.conversations.services import overview
from apps.core.errors import DomainError
from apps.core.http import error_response, is_htmx
from apps.core.ids import new_id, parse_id
from apps.models.services import catalogue

DEMO = "demo"
STARTERS = (
    (_("Explain something"), _("Explain how tides work, as if I had never seen the sea.")),
    (_("Weigh a decision"), _("Help me decide between two job offers: ask me five questions first.")),
    (_("Write and rewrite"), _("Write a short, warm note to thank a neighbour. Then make it half as long.")),
    (_("Read code with me"), _("Write a small Python function that merges two sorted lists, and explain each line.")),
)


class SignedInRequest(HttpRequest):
    """A request of somebody: the middleware lets no other through to these views."""

    user: User  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class SidebarView:
    """The list as the sidebar shows it."""

    pinned: list[presenters.RowView]
    groups: list[presenters.GroupView]
    next_cursor: str | None
    last_group: str

    @property
    def is_empty(self) -> bool:
        return not self.pinned and not self.groups


@dataclass(frozen=True, slots=True)
class ComposerView:
    """The composer: what it carries, and what may be chosen."""

    action: str
    client_id: str
    conversation: Conversation | None
    parent_id: UUID | None
    content: str
    model: str
    # Those asked beside it, as the form was sent; a page begins with none.
    further: Sequence[str]
    models: list[presenters.ModelGroup]
    # How many answers on the page are being written.
    running: int
    is_demo_only: bool


def page_context(request: SignedInRequest, **more: Any) -> dict[str, Any]:
    """Give the context of a full page. The sidebar is read only where a template shows it."""
    sidebar = SimpleLazyObject(lambda: present_sidebar(request))
    return {"sidebar": sidebar, "current": None, **more}


def present_sidebar(request: SignedInRequest, *, cursor: str | None = None, continues: str = "") -> SidebarView:
    """Read and group a page of the list. Raises: Malformed for a bad cursor."""
    read = overview.read_sidebar(user=request.user, cursor=cursor)
    rows = [presenters.present_row(row, read.running) for row in read.recent]
    groups = presenters.group_rows(rows, now=timezone.now(), zone=reader_zone(request), continues=continues)
    return SidebarView(
        pinned=[presenters.present_row(row, read.running) for row in read.pinned],
        groups=groups,
        next_cursor=read.next_cursor,
        last_group=groups[-1].key if groups else continues,
    )


def present_composer(
    conversation: Conversation | None = None,
    *,
    leaf: Message | None = None,
    content: str = "",
    further: Sequence[str] = (),
    running: int = 0,
) -> ComposerView:
    """Prepare the composer; the model chosen is the conversation's, else the one that answered last, else the default."""
    models = catalogue.available()
    pk = conversation.pk if conversation else None
    return ComposerView(
        action=reverse("conversations:send", args=[pk]) if pk else reverse("conversations:send_new"),
        client_id=str(new_id()),
        conversation=conversation,
        parent_id=leaf.pk if leaf else None,
        content=content,
        model=_chosen(conversation, leaf, [model.model_id for model in models]),
        further=further,
        models=presenters.group_models(models),
        running=running,
        is_demo_only=all(model.provider == DEMO for model in models),
    )


def _chosen(conversation: Conversation | None, leaf: Message | None, known: list[str]) -> str:
    chosen = conversation.settings.get("model", "") if conversation else ""
    last = f"{leaf.provider}/{leaf.model_id}" if leaf and leaf.model_id else ""
    default = catalogue.resolve(None).model_id
    return next((model for model in (chosen, last) if model in known), default)


def model_names() -> dict[str, str]:
    """Map "provider/model" to the model's name."""
    return {model.model_id: model.name for model in catalogue.available()}


def reader_zone(request: HttpRequest) -> tzinfo | None:
    """Give the reader's time zone, as the browser told it in a cookie; None for the site's own."""
    try:
        return ZoneInfo(request.COOKIES.get("tz", ""))
    except (ValueError, OSError):
        return None


def back(request: HttpRequest, fallback: str) -> HttpResponse:
    """Go back with 303 to the page the form named in `next`, if that is ours."""
    target = request.POST.get("next", "")
    ours = url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return see_other(target if ours else fallback)


def came_from(request: HttpRequest) -> SplitResult:
    """Give the address of the page on which a button was pressed, as htmx or the form says it; empty where neither does."""
    return urlsplit(request.headers.get("HX-Current-URL", "") or request.POST.get("next", ""))


def compared(request: HttpRequest) -> UUID | None:
    """Give the message whose answers are to stand side by side: as the form names it, else as the page it came from."""
    named = request.POST.get("compare")
    if named is None:
        named = parse_qs(came_from(request).query).get("compare", [""])[0]
    return parse_id(named) if named else None


def see_other(target: str) -> HttpResponse:
    """Answer a form with 303, so that reloading the page it leads to sends nothing again."""
    response = redirect(target)
    response.status_code = 303
    return response


def notice(request: HttpRequest, words: str, *, undo: str = "") -> None:
    """Leave a note for the next page; `undo` is the address of the form that takes it back."""
    notices.success(request, words, extra_tags=undo)


def keeps_page(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Tell htmx to put an error beside the page, never in the place of what the action would have changed."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except DomainError as error:
            if not is_htmx(request):
                raise
            response = error_response(request, error)
            response["HX-Retarget"], response["HX-Reswap"] = "#toasts", "beforeend"
            return response

    return guarded
