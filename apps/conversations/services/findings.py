"""What rules of the database are made of: a sentence, the rows it is asked of, and what was found against it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar
from uuid import UUID

from django.db import connection
from django.db.models import Model, QuerySet

from apps.conversations.services.columns import from_column, to_column

M = TypeVar("M", bound=Model)

# The tables that are walked, in the order in which they are.
TABLES = {
    "conversations": "conversations_conversation",
    "runs": "conversations_run",
    "messages": "conversations_message",
    "revisions": "conversations_messagerevision",
    "generations": "conversations_generation",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that holds between any two transactions. `advice` is for what can't be repaired by itself."""

    name: str
    sentence: str
    advice: str = ""


class Found(NamedTuple):
    """A row that breaks a rule, and the conversation under whose lock it is looked at again."""

    rule: str
    row: UUID
    conversation: UUID


@dataclass(frozen=True, slots=True)
class Scope:
    """Which rows are looked at: all, a range of ids, or rows by name."""

    low: UUID | None = None
    high: UUID | None = None
    rows: tuple[UUID, ...] = ()

    def narrow(self, rows: QuerySet[M]) -> QuerySet[M]:
        """Keep the rows that are looked at."""
        if self.rows:
            return rows.filter(pk__in=self.rows)
        return rows.filter(pk__gt=self.low, pk__lte=self.high) if self.low is not None else rows

    def read(self, sql: str, *, column: str) -> Iterator[tuple[object, ...]]:
        """Run a query that has a place named `scope`, on a column of ids. Effects: one query."""
        marks = ", ".join(["%s"] * len(self.rows))
        condition = f"{column} IN ({marks})" if self.rows else f"{column} > %s AND {column} <= %s"
        with connection.cursor() as cursor:
            cursor.execute(
                sql.format(scope=condition), [to_column(pk) for pk in self.rows or (self.low, self.high) if pk]
            )
            yield from cursor.fetchall()


Finder = Callable[[Scope], Iterable[Found]]


@dataclass(frozen=True, slots=True)
class Examination:
    """A finder, and the table it goes through: stage 2 waits until stage 1 found nothing wrong with a conversation."""

    table: str
    find: Finder
    stage: int = 1


def by_sql(sql: str, *, column: str, facets: Sequence[Mapping[str, str]]) -> Finder:
    """Make a finder from conditions: of each facet the first that is true names the broken rule.

    The SQL gives a row's id and its conversation's, and has a place for `facets`, and one for `scope`.
    """
    cases = [
        "CASE " + " ".join(f"WHEN {condition} THEN '{rule}'" for rule, condition in facet.items()) + " END"
        for facet in facets
    ]
    filled = sql.replace("{facets}", ", ".join(cases))

    def find(scope: Scope) -> Iterator[Found]:
        for row, conversation, *rules in scope.read(filled, column=column):
            for rule in rules:
                if rule is not None:
                    yield Found(str(rule), from_column(row), from_column(conversation))

    return find
