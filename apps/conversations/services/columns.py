"""Values between Python and columns, for statements that are written out. Queries themselves are where they are asked."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Model


def stored(model: type[Model], field: str, value: Any) -> Any:
    """Give a value as the database at hand stores it."""
    column: Any = model._meta.get_field(field)
    return column.get_db_prep_save(value, connection)


def to_column(pk: UUID) -> UUID | str:
    """Give an id as this database's own SQL takes it."""
    return pk if connection.features.has_native_uuid_field else pk.hex


def from_column(value: object) -> UUID:
    """Read an id that this database's own SQL gave."""
    return value if isinstance(value, UUID) else UUID(str(value))


def from_column_or_none(value: object) -> UUID | None:
    """Read an id that may be missing."""
    return None if value is None else from_column(value)
