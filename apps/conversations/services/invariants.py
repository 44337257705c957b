"""The invariants of the database: going through all rows, and finding where a rule doesn't hold. Repairs are in `repairs`.

The rules are in `tree_rules`, `family_rules` and `answer_rules`. Bough may serve meanwhile: what looks wrong in passing
is looked at again under its conversation's lock, and only what is wrong then counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from apps.conversations.models import Conversation
from apps.conversations.services import answer_rules, family_rules, tree_rules
from apps.conversations.services.columns import from_column, to_column
from apps.conversations.services.findings import TABLES, Examination, Rule, Scope
from apps.core.ids import NOWHERE
from apps.core.logs import get_logger

log = get_logger(__name__)
# Rows of a table that are looked at together; SQLite takes 32,766 ids in a query.
BATCH = 1000
SHOWN = 20

RULES: dict[str, Rule] = {
    rule.name: rule for module in (tree_rules, family_rules, answer_rules) for rule in module.RULES
}
EXAMINATIONS: list[Examination] = [
    *family_rules.EXAMINATIONS,
    *tree_rules.EXAMINATIONS,
    *answer_rules.EXAMINATIONS,
]

# What is done with rows that break a rule, under the lock of their conversation; gives how many it put right.
Act = Callable[[str, UUID, list[UUID]], int]
# Told how far the walk is: a table's name, and how many of its rows are done.
Progress = Callable[[str, int], None]


@dataclass
class Problem:
    """A rule that doesn't hold: how many rows break it, the first of them, and how many were repaired."""

    rule: Rule
    count: int = 0
    repaired: int = 0
    ids: list[UUID] = field(default_factory=list)

    def note(self, rows: Iterable[UUID]) -> None:
        for row in rows:
            self.count += 1
            if len(self.ids) < SHOWN:
                self.ids.append(row)


def find_problems(*, act: Act | None = None, progress: Progress | None = None) -> list[Problem]:
    """Go through the whole database, and give the rules that don't hold; an empty list is a healthy one.

    Effects: reads in batches, in constant memory; a short transaction for each conversation in which something looks
        wrong, where `act` may repair it.
    """
    problems: dict[str, Problem] = {}
    # What leans on a tree is not asked where the tree is wrong: it would only say the same in other words.
    wrong_trees: set[UUID] = set()
    for stage in (1, 2):
        for examination, scope in _scopes(stage, progress):
            for one in _confirmed(examination, scope, wrong_trees if stage == 2 else set(), act):
                problem = problems.setdefault(one.rule, Problem(RULES[one.rule]))
                problem.note(one.rows)
                problem.repaired += one.repaired
                wrong_trees.add(one.conversation)
    return [problems[name] for name in RULES if name in problems]


def _scopes(stage: int, progress: Progress | None) -> Iterator[tuple[Examination, Scope]]:
    """Go through the tables batch by batch, and name what is to be asked of each batch."""
    for table in TABLES:
        asked = [one for one in EXAMINATIONS if one.table == table and one.stage == stage]
        done = 0
        for scope, size in _batches(TABLES[table]) if asked else ():
            for examination in asked:
                yield examination, scope
            done += size
            if progress is not None:
                progress(table, done)
    for examination in EXAMINATIONS:
        if not examination.table and examination.stage == stage:
            yield examination, Scope()


def _batches(table: str) -> Iterator[tuple[Scope, int]]:
    """Cut a table into ranges of ids; rows that are made meanwhile are not waited for. Effects: one query a batch."""
    low = NOWHERE
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id FROM {table} ORDER BY id DESC LIMIT 1")  # noqa: S608 (one of our tables)
        last = cursor.fetchone()
    end = from_column(last[0]) if last else NOWHERE
    while low < end:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id FROM {table} WHERE id > %s AND id <= %s ORDER BY id LIMIT {BATCH}",  # noqa: S608
                [to_column(low), to_column(end)],
            )
            ids = cursor.fetchall()
        if not ids:
            return
        high = from_column(ids[-1][0])
        yield Scope(low, high), len(ids)
        low = high


@dataclass(frozen=True, slots=True)
class _Confirmed:
    rule: str
    conversation: UUID
    rows: list[UUID]
    repaired: int


def _confirmed(examination: Examination, scope: Scope, skipped: set[UUID], act: Act | None) -> Iterator[_Confirmed]:
    suspects: dict[UUID, set[UUID]] = defaultdict(set)
    for one in examination.find(scope):
        if one.conversation not in skipped:
            suspects[one.conversation].add(one.row)
    for conversation_id, rows in suspects.items():
        yield from _look_again(examination, conversation_id, tuple(rows), act)


def _look_again(
    examination: Examination, conversation_id: UUID, rows: tuple[UUID, ...], act: Act | None
) -> list[_Confirmed]:
    """Look again, under the lock, at what looked wrong; and act on what is."""
    try:
        # No savepoints in here: SQLite goes through all that one wrote so far at the end of each statement.
        with transaction.atomic():
            Conversation.objects.select_for_update().filter(pk=conversation_id).first()
            found: dict[str, list[UUID]] = defaultdict(list)
            for one in examination.find(Scope(rows=rows)):
                found[one.rule].append(one.row)
            return [
                _Confirmed(rule, conversation_id, wrong, act(rule, conversation_id, wrong) if act is not None else 0)
                for rule, wrong in found.items()
            ]
    except IntegrityError:
        # A constraint refuses the repair, so something else must be put right first.
        log.warning("repair-refused", conversation=str(conversation_id))
        return _look_again(examination, conversation_id, rows, None)
