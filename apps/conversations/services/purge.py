"""Removing for good what was deleted a month ago: conversations with all they hold, and subtrees.

Rows go in small transactions, each under the conversation's lock, what is below before what is above: whenever it is cut
short, what is left is a tree, and the next time goes on. What others name is named by its nearest relative then: a copy of
what is removed names what that was a copy of, a fork of a removed fork hangs on that one's parent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Max, Min, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from apps.conversations.models import Conversation, Message, Run
from apps.conversations.services import family_repairs
from apps.conversations.services.columns import to_column
from apps.conversations.services.keeping import cutoff
from apps.core.ids import NOWHERE, first_id_at
from apps.core.logs import get_logger

# Messages of one transaction: a tenth of a second, in which nobody else writes to SQLite.
BATCH = 500
AT_ONCE = 100

COPIES = """
UPDATE conversations_message SET copied_from_id = (
    SELECT original.copied_from_id FROM conversations_message original
    WHERE original.id = conversations_message.copied_from_id
) WHERE copied_from_id IN ({ids})
"""

# Asked between two transactions: is there time for another?
GoOn = Callable[[], bool]


log = get_logger(__name__)


class Entangled(Exception):
    """A row that stays names one that is to go: the database breaks its rules, and `doctor` comes first."""


@dataclass(slots=True)
class Purged:
    """What was removed, or would be."""

    conversations: int = 0
    messages: int = 0


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Messages of runs between two depths, to be removed together; `whole` takes the runs as well."""

    runs: tuple[UUID, ...]
    low: int
    high: int
    whole: bool

    def within(self, messages: QuerySet[Message]) -> QuerySet[Message]:
        return messages.filter(run__in=self.runs, depth__gte=self.low, depth__lte=self.high)


def purge(*, dry_run: bool = False, go_on: GoOn = lambda: True) -> Purged:
    """Remove what was deleted too long ago to be restored; with `dry_run` count it alone.

    Effects: transactions of 500 messages; what `go_on` leaves no time for waits for the next time.
    """
    purged = Purged()
    gone = Conversation.objects.filter(deleted_at__lt=cutoff())
    for conversation_id in _in_order(gone):
        if go_on():
            _unless_entangled(conversation_id, _purge_conversation, purged, dry_run, go_on)
    for conversation_id in _with_old_deletions(gone):
        if go_on():
            _unless_entangled(conversation_id, _purge_subtrees, purged, dry_run, go_on)
    return purged


def _unless_entangled(
    conversation_id: UUID, part: Callable[[UUID, Purged, bool, GoOn], None], purged: Purged, dry_run: bool, go_on: GoOn
) -> None:
    """Leave a conversation alone that can't be purged without loss, and say so."""
    try:
        part(conversation_id, purged, dry_run, go_on)
    except Entangled:
        log.warning("purge-entangled", conversation=str(conversation_id))


def _in_order(rows: QuerySet[Conversation]) -> Iterator[UUID]:
    """Name rows by when they were deleted, a hundred at a time."""
    after = Q()
    in_order = rows.order_by("deleted_at", "pk").values_list("deleted_at", "pk")
    while found := list(in_order.filter(after)[:AT_ONCE]):
        yield from (pk for _, pk in found)
        at, pk = found[-1]
        after = Q(deleted_at__gte=at) & (Q(deleted_at__gt=at) | Q(pk__gt=pk))


# --- whole conversations ----------------------------------------------------------------------------------------


def _purge_conversation(conversation_id: UUID, purged: Purged, dry_run: bool, go_on: GoOn) -> None:
    """Remove a conversation, its messages from the leaves up, unless it is restored or time runs out meanwhile."""
    messages = Message.objects.filter(conversation=conversation_id)
    if dry_run:
        purged.messages += messages.count()
        purged.conversations += 1
        return
    for stretch in _stretches(_whole_runs(conversation_id)):
        with transaction.atomic():
            if not go_on() or not _still_gone(conversation_id):
                return
            purged.messages += _remove(stretch.within(messages))
            _remove_runs(stretch)
    with transaction.atomic():
        if not _still_gone(conversation_id):
            return
        if messages.exists():
            raise Entangled
        _hand_over_forks(Conversation.objects.get(pk=conversation_id))
        Conversation.objects.filter(pk=conversation_id).delete()
    purged.conversations += 1


def _whole_runs(conversation_id: UUID) -> list[tuple[UUID, int, int]]:
    """Name the runs of a conversation with their first and last depths, the deepest beginnings first."""
    starts = Coalesce(F("parent_depth") + 1, 0)
    tips = Message.objects.filter(run=OuterRef("pk")).order_by("-depth").values("depth")[:1]
    runs = Run.objects.filter(conversation=conversation_id).annotate(start=starts, tip=Coalesce(Subquery(tips), -1))
    return list(runs.order_by("-start").values_list("pk", "start", "tip"))


def _still_gone(conversation_id: UUID) -> bool:
    """Lock a conversation, and tell whether it is still to be removed."""
    rows = Conversation.objects.select_for_update().filter(pk=conversation_id, deleted_at__lt=cutoff())
    return rows.first() is not None


def _hand_over_forks(conversation: Conversation) -> None:
    """Hang a conversation's forks on its parent; without one they become roots."""
    named = Q(parent_conversation=conversation) | Q(root_conversation=conversation)
    members = Conversation.objects.filter(named).exclude(pk=conversation.pk).select_for_update().order_by("pk")
    for pk in list(members.values_list("pk", flat=True)):
        fork = Conversation.objects.filter(pk=pk, parent_conversation=conversation)
        if conversation.parent_conversation_id is None:
            family_repairs.make_root(pk, (pk,))
        elif fork.update(parent_conversation=conversation.parent_conversation_id):
            family_repairs.name_origin(pk, (pk,))


# --- subtrees ---------------------------------------------------------------------------------------------------


def _old() -> Q:
    return Q(deletion__lt=first_id_at(cutoff()))


def _with_old_deletions(gone: QuerySet[Conversation]) -> Iterator[UUID]:
    """Name conversations that stand, or were deleted since, with messages deleted a month ago."""
    after: UUID | None = NOWHERE
    seen: set[UUID] = set()
    rows = Message.objects.filter(_old()).order_by("deletion")
    while found := list(rows.filter(deletion__gt=after).values_list("deletion", "conversation_id")[:1000]):
        fresh = {conversation_id for _, conversation_id in found} - seen
        seen |= fresh
        yield from sorted(fresh - set(gone.filter(pk__in=fresh).values_list("pk", flat=True)))
        after = found[-1][0]


def _purge_subtrees(conversation_id: UUID, purged: Purged, dry_run: bool, go_on: GoOn) -> None:
    """Remove what was deleted a month ago inside of a conversation, the lowest first."""
    old = Message.objects.filter(_old(), conversation=conversation_id)
    if _holds_newer(conversation_id):
        return
    if dry_run:
        purged.messages += old.count()
        return
    forks = Conversation.objects.filter(parent_conversation=conversation_id, branch_from_message__in=old)
    moved = list(forks.values_list("pk", flat=True))
    ranges, whole = _old_ranges(old)
    for stretch in _stretches(ranges, whole=whole):
        with transaction.atomic():
            Conversation.objects.select_for_update().filter(pk=conversation_id).first()
            if not go_on():
                break
            purged.messages += _remove(stretch.within(old))
            _remove_runs(stretch)
    for pk in moved:
        with transaction.atomic():
            Conversation.objects.select_for_update().filter(pk=pk).first()
            family_repairs.name_origin(pk, (pk,))


def _old_ranges(old: QuerySet[Message]) -> tuple[list[tuple[UUID, int, int]], set[UUID]]:
    """Name the runs that messages are in, with their depths, the deepest beginnings first; and those that go whole."""
    starts = Coalesce(F("run__parent_depth") + 1, 0)
    runs = old.values("run").annotate(low=Min("depth"), tip=Max("depth"), start=Min(starts)).order_by("-low")
    rows = list(runs.values_list("run", "low", "tip", "start"))
    return [row[:3] for row in rows], {run for run, low, _, start in rows if low == start}


def _holds_newer(conversation_id: UUID) -> bool:
    """Tell whether something below is not to be removed yet: a clock that jumped; it goes when the newest of it does."""
    newer = Q(deletion__isnull=True) | Q(deletion__gte=first_id_at(cutoff()))
    above = Message.objects.filter(_old(), conversation=conversation_id)
    return Message.objects.filter(newer, conversation=conversation_id, parent__in=above).exists()


# --- rows -------------------------------------------------------------------------------------------------------


def _stretches(runs: Sequence[tuple[UUID, int, int]], *, whole: set[UUID] | None = None) -> Iterator[_Stretch]:
    """Share out runs, each with its range of depths, the deepest beginnings first, in pieces of a transaction.

    A run hangs above where it begins, so what begins deeper goes first; within a run, what is deeper does.
    """
    small: list[UUID] = []
    size = 0
    for run, low, tip in runs:
        length = tip - low + 1
        is_whole = whole is None or run in whole
        if length > BATCH or not is_whole:
            yield from _flush(small)
            small, size = [], 0
            for high in range(tip, low - 1, -BATCH):
                bottom = max(low, high - BATCH + 1)
                yield _Stretch((run,), bottom, high, is_whole and bottom == low)
            continue
        if size + length > BATCH or len(small) == AT_ONCE:
            yield from _flush(small)
            small, size = [], 0
        small.append(run)
        size += length
    yield from _flush(small)


def _flush(runs: list[UUID]) -> Iterator[_Stretch]:
    if runs:
        yield _Stretch(tuple(runs), 0, 2**31 - 1, True)


def _remove(messages: QuerySet[Message]) -> int:
    """Remove messages with what belongs to them; whoever named one of them names another, or none.

    Raises: Entangled where one stands above a message that stays, for that would go with it.
    """
    ids = list(messages.values_list("pk", flat=True))
    if not ids:
        return 0
    if Message.objects.filter(parent__in=ids).exclude(pk__in=ids).exists():
        raise Entangled
    with connection.cursor() as cursor:
        cursor.execute(COPIES.format(ids=", ".join(["%s"] * len(ids))), [to_column(pk) for pk in ids])
    Message.objects.filter(pk__in=ids).delete()
    return len(ids)


def _remove_runs(stretch: _Stretch) -> None:
    """Remove the runs of a stretch. Raises: Entangled where something stays in them, or hangs on them."""
    if not stretch.whole:
        return
    hanging = Run.objects.filter(parent__in=stretch.runs).exclude(pk__in=stretch.runs)
    if hanging.exists() or Message.objects.filter(run__in=stretch.runs).exists():
        raise Entangled
    Run.objects.filter(pk__in=stretch.runs).delete()
