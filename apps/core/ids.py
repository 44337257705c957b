"""Ids: time-ordered, made in Python, so that a row's id is known before it is written."""

from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Make a UUIDv7; ids made in one process sort in the order they were made."""
    return uuid7()


def first_id_at(at: datetime) -> UUID:
    """Give what sorts before every id that is made from that millisecond on."""
    return UUID(int=int(at.timestamp() * 1000) << 80)


# The nil UUID: no row has it.
NOWHERE = UUID(int=0)


def parse_id(value: object) -> UUID:
    """Read an id from outside; anything malformed is `NOWHERE`, which no query finds."""
    if isinstance(value, UUID):
        return value
    if not isinstance(value, str) or len(value) > 36:
        return NOWHERE
    try:
        return UUID(value)
    except ValueError:
        return NOWHERE
