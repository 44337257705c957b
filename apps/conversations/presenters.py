"""What pages show of messages, paths and lists: labels, states, groups, what can be done. No queries, no requests."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse
from django.utils import formats, timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.conversations.models import Conversation, Generation, GenerationState, Message, MessageStatus, Role
from apps.core import markdown

# Source: apps/providers/errors.py; these pass by themselves, so they are told in amber and not in red.
PASSING = ("overloaded", "rate_limited", "timed_out", "timeout", "cut_off", "unavailable")


@dataclass(frozen=True, slots=True)
class PartView:
    """One part of a message; `html` of a user's text is empty, for it is shown as typed."""

    index: int
    kind: str
    text: str
    html: SafeString | str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class StateView:
    """What an answer is doing or how it ended, in words, with what can be done about it."""

    name: str
    words: str
    can_continue: bool = False
    can_retry: bool = False


@dataclass(frozen=True, slots=True)
class SiblingsView:
    """A message's place among its siblings; the addresses are empty at the ends."""

    index: int
    count: int
    previous_url: str
    next_url: str
    # The page on which they stand side by side; empty where they are no answers to one message.
    compare_url: str = ""


@dataclass(frozen=True, slots=True)
class MessageView:
    """One message as an article."""

    id: UUID
    conversation_id: UUID
    parent_id: UUID | None
    role: str
    status: str
    name: str
    parts: Sequence[PartView]
    text: str
    live: str
    state: StateView | None
    siblings: SiblingsView | None
    is_favourite: bool
    is_writable: bool
    created_at: datetime
    # Its address; those of its actions lie below. Resolved once a message: the resolver is slow.
    url: str
    # The language model that answered, as "provider/id".
    model: str = ""
    # What is known of the making of an answer: pairs of a name and a value.
    info: Sequence[tuple[str, str]] = ()
    # Where answers stand side by side, all of them, with the one of the path among them.
    columns: Sequence[MessageView] = ()

    @property
    def is_user(self) -> bool:
        return self.role == Role.USER

    @property
    def shape(self) -> tuple[bool, ...]:
        """Give what its toolbar depends on: two messages of one shape differ in their addresses alone."""
        return (self.is_user, self.is_writable, self.is_favourite, self.can_regenerate, self.can_continue)

    @property
    def plain_url(self) -> str:
        """Give the conversation's page, where nothing is compared."""
        return compare_url(self.conversation_id, None)

    @property
    def words(self) -> str:
        """Say in a word what an answer is doing or how it ended."""
        if self.live:
            return _("writing")
        ended = {
            MessageStatus.COMPLETE: _("done"),
            MessageStatus.STOPPED: _("stopped"),
            MessageStatus.FAILED: _("failed"),
        }
        return ended.get(MessageStatus(self.status), _("interrupted"))

    @property
    def can_regenerate(self) -> bool:
        """Tell whether the toolbar offers it: not where the words of the state already do."""
        return not self.is_user and self.is_writable and not (self.state and self.state.can_retry)

    @property
    def can_continue(self) -> bool:
        """Tell whether the toolbar offers to write on: after an answer that ended by itself."""
        return not self.is_user and self.is_writable and bool(self.text) and not self.live and self.state is None


@dataclass(slots=True)
class TurnView:
    """A user's message and what answers it; older pages may begin in the middle of one."""

    messages: list[MessageView] = field(default_factory=list)

    @property
    def running(self) -> int:
        """Count the answers here that are being written."""
        return sum(bool(one.live) for message in self.messages for one in (message.columns or [message]))


@dataclass(frozen=True, slots=True)
class RowView:
    """One conversation in the sidebar."""

    id: UUID
    title: str
    state: str
    is_pinned: bool
    is_archived: bool
    updated_at: datetime
    # Its address; those of its actions lie below.
    url: str

    @property
    def shape(self) -> tuple[bool, bool]:
        """Give what its menu depends on, addresses and title apart."""
        return (self.is_pinned, self.is_archived)


@dataclass(slots=True)
class GroupView:
    """Rows under one heading; `is_continued` when an earlier page has the heading already."""

    key: str
    heading: str
    rows: list[RowView] = field(default_factory=list)
    is_continued: bool = False


@dataclass(slots=True)
class ModelGroup:
    """The language models of one provider."""

    provider: str
    models: list[tuple[str, str]] = field(default_factory=list)


# --- messages ---------------------------------------------------------------------------------------------------


def present_message(
    message: Message, *, generation: Generation | None = None, names: Mapping[str, str], is_writable: bool = True
) -> MessageView:
    """Make the view of one message.

    Shape: `names` maps "provider/model" to the model's name. Siblings must have been attached.
    """
    is_user = message.role == Role.USER
    return MessageView(
        id=message.pk,
        conversation_id=message.conversation_id,
        parent_id=message.parent_id,
        role=message.role,
        status=message.status,
        name=_("You") if is_user else assistant_name(message, names),
        parts=[present_part(index, part, is_user=is_user) for index, part in enumerate(message.parts)],
        text=message.text,
        live=str(generation.pk) if generation else "",
        state=None if is_user else present_state(message, generation),
        siblings=_siblings(message),
        is_favourite=message.is_favourite,
        is_writable=is_writable,
        created_at=message.created_at,
        url=reverse("conversations:message", args=[message.conversation_id, message.pk]),
        model=f"{message.provider}/{message.model_id}" if message.model_id else "",
        info=() if is_user or generation else present_info(message),
    )


def present_info(message: Message) -> list[tuple[str, str]]:
    """Say which model answered, with how many tokens and how fast; unknown figures are a dash, never 0."""
    writing = (message.duration_ms or 0) - (message.ttft_ms or 0)
    speed = message.completion_tokens / writing * 1000 if message.completion_tokens and writing > 0 else None
    return [
        (_("Model"), f"{message.provider}/{message.model_id}"),
        (_("Tokens in / out"), f"{_figure(message.prompt_tokens)} / {_figure(message.completion_tokens)}"),
        (_("First token"), _seconds(message.ttft_ms)),
        (_("Total"), _seconds(message.duration_ms)),
        (_("Speed"), _("%(count)s tokens/s") % {"count": round(speed)} if speed else "–"),
    ]


def _figure(count: int | None) -> str:
    return "–" if count is None else formats.number_format(count, force_grouping=True)


def _seconds(milliseconds: int | None) -> str:
    return "–" if milliseconds is None else f"{formats.number_format(milliseconds / 1000, 2)} s"


def present_turns(
    messages: Iterable[Message],
    *,
    generations: Iterable[Generation] = (),
    names: Mapping[str, str],
    is_writable: bool = True,
    beside: Mapping[UUID, Sequence[Message]] | None = None,
) -> list[TurnView]:
    """Group messages into turns, oldest first; each message of the user opens one.

    Shape: `beside` maps the id of an answer on the path to all that stand beside one another there.
    """
    active = {generation.message_id: generation for generation in generations}
    turns: list[TurnView] = []

    def view(message: Message) -> MessageView:
        return present_message(message, generation=active.get(message.pk), names=names, is_writable=is_writable)

    for message in messages:
        if not turns or message.role == Role.USER:
            turns.append(TurnView())
        columns = [view(one) for one in (beside or {}).get(message.pk, ())]
        turns[-1].messages.append(replace(view(message), columns=columns) if columns else view(message))
    return turns


def assistant_name(message: Message, names: Mapping[str, str]) -> str:
    """Name who answered: the language model as its provider calls it, else by its id."""
    return names.get(f"{message.provider}/{message.model_id}") or message.model_id or _("Assistant")


def present_part(index: int, part: Mapping[str, Any], *, is_user: bool) -> PartView:
    text = str(part.get("text", ""))
    if part["type"] == "reasoning":
        return PartView(index, "reasoning", text, markdown.render(text), reasoning_label(part.get("durationMs")))
    return PartView(index, "text", text, "" if is_user else markdown.render(text))


def reasoning_label(duration_ms: int | None) -> str:
    """Say how long the model thought; without a time, what it is."""
    if duration_ms is None:
        return _("Reasoning")
    seconds = max(1, round(duration_ms / 1000))
    if seconds < 60:
        return ngettext("Thought for %(count)d second", "Thought for %(count)d seconds", seconds) % {"count": seconds}
    minutes = round(seconds / 60)
    return ngettext("Thought for %(count)d minute", "Thought for %(count)d minutes", minutes) % {"count": minutes}


def present_state(message: Message, generation: Generation | None) -> StateView | None:
    """Say what an answer is doing or why it is not whole; None for one that simply ended."""
    if generation is not None:
        return _live_state(message, generation)
    has_text = bool(message.text)
    if message.status == MessageStatus.STOPPED:
        return StateView("stopped", _("Stopped by you"), has_text, True)
    if message.status in (MessageStatus.INTERRUPTED, MessageStatus.STREAMING):
        kept = _("Interrupted: the server restarted. The text so far is kept.")
        words = message.error_message or (kept if has_text else _("Interrupted before the first word."))
        return StateView("interrupted", words, has_text, True)
    if message.status == MessageStatus.FAILED:
        name = "waits" if message.error_code in PASSING else "failed"
        return StateView(name, message.error_message or _("The answer failed."), has_text, True)
    if message.finish_reason == "length":
        return StateView("stopped", _("Ended at the length limit"), has_text, True)
    if message.finish_reason == "content_filter":
        return StateView("waits", _("The provider withheld the rest of this answer."), False, True)
    return None


def _live_state(message: Message, generation: Generation) -> StateView:
    if generation.stop_requested_at is not None:
        return StateView("stopping", _("Stopping…"))
    if generation.state == GenerationState.QUEUED:
        return StateView("waiting", _("Waiting"))
    # Checkpoints write the parts alone: `text` comes with the end.
    if not any(part["type"] == "text" for part in message.parts):
        return StateView("thinking", _("Thinking"))
    return StateView("writing", _("Writing"))


def _siblings(message: Message) -> SiblingsView | None:
    count = getattr(message, "sibling_count", 1)
    if count < 2:
        return None
    return SiblingsView(
        message.sibling_index,
        count,
        _select_url(message.conversation_id, message.previous_sibling_id),
        _select_url(message.conversation_id, message.next_sibling_id),
        compare_url(message.conversation_id, message.parent_id) if message.is_answer and message.parent_id else "",
    )


def compare_url(conversation_id: UUID | str, parent_id: UUID | None) -> str:
    """Give the page on which all answers to a message stand side by side; the conversation's own without one."""
    url = reverse("conversations:detail", args=[conversation_id])
    return f"{url}?{urlencode({'compare': parent_id})}" if parent_id else url


def _select_url(conversation_id: UUID, message_id: UUID | None) -> str:
    return reverse("conversations:message_select", args=[conversation_id, message_id]) if message_id else ""


# --- lists ------------------------------------------------------------------------------------------------------


def present_row(conversation: Conversation, running: Container[UUID] = ()) -> RowView:
    state = "unread" if conversation.is_unread else "idle"
    if conversation.pk in running:
        state = "running"
    return RowView(
        id=conversation.pk,
        title=conversation.display_title,
        state=state,
        is_pinned=conversation.is_pinned,
        is_archived=conversation.is_archived,
        updated_at=conversation.updated_at,
        url=reverse("conversations:detail", args=[conversation.pk]),
    )


def group_rows(
    rows: Iterable[RowView], *, now: datetime, zone: tzinfo | None = None, continues: str = ""
) -> list[GroupView]:
    """Put rows, newest change first, under headings by day in the reader's time zone.

    Shape: `continues` is the key of the group that the page before ended with; it gets no second heading.
    """
    today = timezone.localtime(now, zone).date()
    groups: list[GroupView] = []
    for row in rows:
        key, heading = _group_of(timezone.localtime(row.updated_at, zone), today)
        if not groups or groups[-1].key != key:
            groups.append(GroupView(key, heading, is_continued=not groups and key == continues))
        groups[-1].rows.append(row)
    return groups


def _group_of(moment: datetime, today: Any) -> tuple[str, str]:
    day = moment.date()
    if day >= today:
        return "today", _("Today")
    if day == today - timedelta(days=1):
        return "yesterday", _("Yesterday")
    if day > today - timedelta(days=8):
        return "week", _("Previous 7 days")
    if day > today - timedelta(days=31):
        return "month", _("Previous 30 days")
    if day.year == today.year:
        return f"{day:%Y-%m}", formats.date_format(day, "F")
    return f"{day:%Y}", f"{day:%Y}"


def group_models(models: Iterable[Any]) -> list[ModelGroup]:
    """Group the language models by provider, in the order given."""
    groups: dict[str, ModelGroup] = {}
    for model in models:
        groups.setdefault(model.provider, ModelGroup(model.provider)).models.append((model.model_id, model.name))
    return list(groups.values())
