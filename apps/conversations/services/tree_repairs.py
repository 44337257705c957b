"""Putting a tree right: where its messages hang, how deep, and in which runs. Text is never touched, rows never removed.

Parents are believed, for they are what a tree is told by; runs and depths follow them. Only where a parent can't be right
(it is gone, elsewhere, or below) the run says where the message hung. All of it under the conversation's lock.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, OuterRef

from apps.conversations.models import Conversation, Message, Run
from apps.conversations.services.columns import to_column
from apps.conversations.services.tree_rules import rings_of
from apps.core.ids import NOWHERE

# Upwards by parents, whose runs may be wrong; UNION ends in rings.
RAISE_ABOVE = """
UPDATE conversations_message SET deletion = NULL WHERE deletion IS NOT NULL AND id IN (
    WITH RECURSIVE up (id) AS (
        SELECT parent_id FROM conversations_message WHERE id IN ({ids})
        UNION
        SELECT above.parent_id FROM conversations_message above JOIN up ON above.id = up.id
    )
    SELECT id FROM up WHERE id IS NOT NULL
)
"""
# Row by row: given a thousand in one statement, PostgreSQL reads the whole table for them.
MOVE = "UPDATE conversations_message SET run_id = %s, depth = %s WHERE id = %s"
BATCH = 1000


def hang_anew(conversation_id: UUID, rows: Sequence[UUID]) -> int:
    """Hang messages where their run says, whose parent is gone or in another conversation; else at the top.

    Shape: one that itself lies in a conversation where nothing else of it does goes back to where its parent and run are.
    """
    for message in Message.objects.filter(pk__in=rows):
        if _went_home(message):
            continue
        parent = Message.objects.filter(pk=message.parent_id or NOWHERE).first()
        # Where the two lie apart, the parent may be the one that lies wrong.
        if parent is not None and parent.conversation_id != conversation_id:
            _went_home(parent)
            parent.refresh_from_db(fields=["conversation"])
        if parent is None or parent.conversation_id != conversation_id:
            _hang(message, _parent_by_run(message))
    return number_anew(conversation_id, rows)


def open_rings(conversation_id: UUID, rows: Sequence[UUID]) -> int:
    """Hang messages that stand above themselves where their run says, if that is outside of the ring; else at the top."""
    parents: dict[UUID, UUID | None] = dict(
        Message.objects.filter(conversation_id=conversation_id).values_list("pk", "parent_id")
    )
    for message in Message.objects.filter(pk__in=rows).order_by("created_at", "pk"):
        if message.pk not in rings_of(parents):
            continue  # the one before opened it
        parent = _parent_by_run(message)
        parents[message.pk] = parent.pk if parent is not None else None
        if message.pk in rings_of(parents):
            parents[message.pk] = parent = None
        _hang(message, parent)
    return number_anew(conversation_id, rows)


def place_anew(conversation_id: UUID, rows: Sequence[UUID]) -> int:
    """Make depths and runs follow the parents; one that lies in a wrong conversation goes back first."""
    for message in Message.objects.filter(pk__in=rows):
        _went_home(message)
    return number_anew(conversation_id, rows)


def number_anew(conversation_id: UUID, rows: Sequence[UUID]) -> int:
    """Make depths and runs follow the parents. What is right stays; from a wrong message on, everything below moves to new runs.

    Effects: reads the conversation's ids, some 500 bytes a message; writes the rows that move.
    """
    numbering = _Numbering(conversation_id)
    numbering.walk()
    Run.objects.bulk_create(numbering.new_runs, batch_size=BATCH)
    moved = iter(numbering.moved.items())
    with connection.cursor() as cursor:
        while batch := list(islice(moved, BATCH)):
            cursor.executemany(MOVE, [(to_column(run), depth, to_column(pk)) for pk, (run, depth) in batch])
    remove_empty_runs(conversation_id, ())
    return len(rows)


def remove_empty_runs(conversation_id: UUID, rows: Sequence[UUID]) -> int:
    """Remove the runs of a conversation that hold nothing, with empty ones that hang on them; not where others do.

    An empty run of another conversation may go with them: nothing ever comes into one.
    """
    empty = ~Exists(Message.objects.filter(run=OuterRef("pk")))
    going = set(Run.objects.filter(empty, conversation_id=conversation_id).values_list("pk", flat=True))
    stays: set[UUID | None] = set()
    while hanging := Run.objects.filter(parent__in=going).exclude(pk__in=going).annotate(is_empty=empty):
        for pk, parent_id, is_empty in list(hanging.values_list("pk", "parent_id", "is_empty")):
            if is_empty and pk not in stays:
                going.add(pk)
            else:
                stays.add(parent_id)
        going = {pk for pk in going if pk not in stays}
    Run.objects.filter(pk__in=going).delete()
    return len(going)


def raise_above(conversation_id: UUID, rows: Sequence[UUID]) -> int:
    """Let the deleted messages above standing ones stand again: hiding what stands could lose it."""
    with connection.cursor() as cursor:
        sql = RAISE_ABOVE.format(ids=", ".join(["%s"] * len(rows)))
        cursor.execute(sql, [to_column(pk) for pk in rows])
    return len(rows)


def _went_home(message: Message) -> bool:
    """Bring a message back to the conversation that its neighbours lie in, if that isn't its own."""
    home = _home_of(message)
    if home == message.conversation_id:
        return False
    list(Conversation.objects.select_for_update().filter(pk__in=[home, message.conversation_id]).order_by("pk"))
    Message.objects.filter(pk=message.pk).update(conversation=home)
    return True


def _home_of(message: Message) -> UUID:
    """Name the conversation that a message's neighbours and owner speak for, if they outvote its own."""
    votes = Counter(
        [
            message.conversation_id,
            *Message.objects.filter(parent=message).values_list("conversation_id", flat=True)[:100],
            *Message.objects.filter(children=message).values_list("conversation_id", flat=True),
            *Run.objects.filter(pk=message.run_id).values_list("conversation_id", flat=True),
        ]
    )
    # A text never goes to somebody who doesn't own it.
    theirs = Conversation.objects.filter(pk__in=votes, owner=message.owner_id).values_list("pk", flat=True)
    votes.update(theirs)
    best = max(theirs, key=lambda pk: votes[pk], default=message.conversation_id)
    return best if votes[best] > votes[message.conversation_id] else message.conversation_id


def _parent_by_run(message: Message) -> Message | None:
    """Find the message that the run says it hangs below."""
    run = Run.objects.filter(pk=message.run_id, conversation_id=message.conversation_id).first()
    if run is None or message.depth == 0:
        return None
    above = run.pk
    if run.parent_id is not None and message.depth - 1 == run.parent_depth:
        above = run.parent_id
    found = Message.objects.filter(conversation_id=message.conversation_id, run_id=above, depth=message.depth - 1)
    return found.exclude(pk=message.pk).first()


def _hang(message: Message, parent: Message | None) -> None:
    if parent is not None:
        Message.objects.filter(pk=message.pk).update(parent=parent)
        return
    with transaction.atomic():
        run = Run.objects.create(conversation_id=message.conversation_id)
        Message.objects.filter(pk=message.pk).update(parent=None, depth=0, run=run)


@dataclass
class _Numbering:
    """One pass over a tree, parents first: which messages stay in their place, and which get a new one."""

    conversation_id: UUID
    new_runs: list[Run] = field(default_factory=list)
    moved: dict[UUID, tuple[UUID, int]] = field(default_factory=dict)
    # Of messages in new runs that nothing goes on from yet.
    _open: set[UUID] = field(default_factory=set)

    def walk(self) -> None:
        """Go through the tree from its first messages down."""
        runs = Run.objects.filter(conversation_id=self.conversation_id).values_list("pk", "parent_id", "parent_depth")
        self._runs = {pk: (parent, depth) for pk, parent, depth in runs.iterator(chunk_size=BATCH)}
        rows = Message.objects.filter(conversation_id=self.conversation_id).order_by("pk")
        # One object for each id, however often it is named: a tree may have a million messages.
        ids: dict[UUID, UUID] = {pk: pk for pk in self._runs}
        places: dict[UUID, tuple[UUID, int]] = {}
        children: dict[UUID | None, list[UUID]] = defaultdict(list)
        for pk, above, run, depth in rows.values_list("pk", "parent_id", "run_id", "depth").iterator(chunk_size=BATCH):
            places[ids.setdefault(pk, pk)] = (ids.setdefault(run, run), depth)
            children[above and ids.setdefault(above, above)].append(ids[pk])
        waiting: list[tuple[UUID, UUID | None]] = [(pk, None) for pk in children[None]]
        while waiting:
            pk, parent = waiting.pop()
            if not self._stays(places[pk], parent, places):
                self._place(pk, parent, places)
            waiting += [(child, pk) for child in children.get(pk, ())]

    def _stays(self, place: tuple[UUID, int], parent: UUID | None, places: dict[UUID, tuple[UUID, int]]) -> bool:
        run, depth = place
        if run not in self._runs or parent in self.moved:
            return False
        hangs, hangs_at = self._runs[run]
        if parent is None:
            return depth == 0 and hangs is None
        above_run, above_depth = places[parent]
        starts = 0 if hangs_at is None else hangs_at + 1
        goes_on = run == above_run and depth > starts
        return depth == above_depth + 1 and (goes_on or (hangs == above_run and hangs_at == above_depth))

    def _place(self, pk: UUID, parent: UUID | None, places: dict[UUID, tuple[UUID, int]]) -> None:
        """Go on in the parent's run, if that is new and free; else begin one."""
        if parent is not None and parent in self._open:
            self._open.discard(parent)
            run, depth = places[parent][0], places[parent][1] + 1
        else:
            new = Run(conversation_id=self.conversation_id)
            if parent is not None:
                new.parent_id, new.parent_depth = places[parent]
            self.new_runs.append(new)
            run, depth = new.pk, 0 if new.parent_depth is None else new.parent_depth + 1
        self._open.add(pk)
        self.moved[pk] = places[pk] = (run, depth)
