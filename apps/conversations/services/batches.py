"""Several models answering one message: which are asked, and the batches of answers that a page shows side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from apps.conversations.models import Message, Role
from apps.conversations.services.columns import from_column, from_column_or_none, to_column
from apps.core.errors import InvalidField, UnknownModel
from apps.models.services import catalogue

MOST_MODELS = 8

# Two reads put together, each by its own index: joined by OR, SQLite reads the whole conversation.
ROWS = """
SELECT message.id, message.parent_id, message.created_at, generation.batch, generation.rank
FROM conversations_message message
LEFT JOIN conversations_generation generation ON generation.message_id = message.id AND generation.purpose = 'answer'
WHERE message.deletion IS NULL
"""
BELOW = "AND message.parent_id IN ({marks})"
FIRST = "AND message.parent_id IS NULL AND message.depth = 0 AND message.conversation_id = %s"
# By numbers of the columns: which a statement put together of two can be ordered by on both databases.
IN_ORDER = "ORDER BY 3, 1"


@dataclass(frozen=True, slots=True)
class Batch:
    """Answers that were begun together, of which more than one stands; in the order in which their models were named."""

    id: UUID
    members: list[Message]


class _Row(NamedTuple):
    message_id: UUID
    parent_id: UUID | None
    batch: UUID | None
    rank: int


def check_given(model: str | None, models: Sequence[str] | None) -> None:
    """Refuse what can't be a choice of models, whichever there are.

    Raises: InvalidField for both fields at once, and for a list that is empty or too long.
    """
    if models is None:
        return
    if model:
        raise InvalidField("Give model or models, not both.", field="models")
    if not 1 <= len(models) <= MOST_MODELS:
        raise InvalidField(f"One to {MOST_MODELS} models can answer a message.", field="models")


def resolve_given(model: str | None, models: Sequence[str] | None) -> list[str]:
    """Find the models that were asked for, one or several; none given is an empty list.

    Raises: InvalidField as `check_given`; UnknownModel, naming the model.
    """
    check_given(model, models)
    if models is not None:
        return [_resolve(one) for one in models]
    return [catalogue.resolve(model).model_id] if model else []


def _resolve(model_id: str) -> str:
    slug, _, name = model_id.partition("/")
    if not slug or not name:
        raise UnknownModel(f"A model is named provider/id, and {model_id[:200]!r} isn't.", field="models")
    try:
        return catalogue.resolve(model_id).model_id
    except UnknownModel as error:
        raise UnknownModel(error.text, field="models") from None


def on_path(messages: Iterable[Message]) -> dict[UUID, Batch]:
    """Find the batches that messages of one conversation belong to, by message.

    Shape: only those of which more than one answer stands. Members are the instances given where they are among them;
        the others have their siblings attached, as `paths.attach_siblings` does.
    Effects: two queries at most; none where siblings are attached and no answer has any.
    """
    given = {message.pk: message for message in messages}
    asked = [one for one in given.values() if one.role == Role.ASSISTANT and getattr(one, "sibling_count", 2) > 1]
    if not asked:
        return {}
    siblings = _read_siblings(asked)
    several = _several(siblings)
    missing = {pk for ids in several.values() for pk in ids} - set(given)
    read = Message.objects.standing().in_bulk(missing) if missing else {}
    _attach(siblings, read)
    known, found = given | read, {}
    for batch_id, ids in several.items():
        # One that was deleted since the first query is no member any more.
        members = [known[pk] for pk in ids if pk in known]
        if len(members) > 1:
            found.update({member.pk: Batch(batch_id, members) for member in members if member.pk in given})
    return found


def _read_siblings(messages: Sequence[Message]) -> list[_Row]:
    """Read messages with all their siblings and the generations that wrote them, in the order of siblings."""
    parents = {message.parent_id for message in messages}
    below = [to_column(parent) for parent in parents if parent is not None]
    reads, values = [], list(below)
    if below:
        reads.append(ROWS + BELOW.format(marks=", ".join("%s" for _ in below)))
    if None in parents:
        reads.append(ROWS + FIRST)
        values.append(to_column(messages[0].conversation_id))
    with connection.cursor() as cursor:
        cursor.execute(f"{' UNION ALL '.join(reads)} {IN_ORDER}", values)
        return [
            _Row(from_column(pk), from_column_or_none(parent), from_column_or_none(batch), rank or 0)
            for pk, parent, _, batch, rank in cursor.fetchall()
        ]


def _several(rows: Iterable[_Row]) -> dict[UUID, list[UUID]]:
    """Name the messages of each batch that has more than one, by rank; a continuation's batch has one alone."""
    batches: dict[UUID, list[UUID]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.rank):
        if row.batch is not None:
            batches[row.batch].append(row.message_id)
    return {batch: ids for batch, ids in batches.items() if len(ids) > 1}


def _attach(rows: Iterable[_Row], messages: Mapping[UUID, Message]) -> None:
    """Set the place among siblings of messages that were read beside the page."""
    below: dict[UUID | None, dict[UUID, None]] = defaultdict(dict)
    for row in rows:
        below[row.parent_id][row.message_id] = None
    for siblings in below.values():
        ids = list(siblings)
        for index, pk in enumerate(ids):
            if (message := messages.get(pk)) is not None:
                message.sibling_index, message.sibling_count = index + 1, len(ids)
                message.previous_sibling_id = ids[index - 1] if index else None
                message.next_sibling_id = ids[index + 1] if index + 1 < len(ids) else None
