"""Log lines, as text or as JSON. Which there are is decided where they are written; message text is never among them."""

import json
import logging
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from django.db.utils import Error as DatabaseError

# The id of the request whose thread it is; set by the middleware.
current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")

# Packages whose errors speak for the database.
DRIVERS = ("psycopg", "psycopg_pool", "sqlite3")
CAUSED = "\nThe above exception was the direct cause of the following exception:\n"
DURING = "\nDuring handling of the above exception, another exception occurred:\n"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event, request and whatever the caller put into `extra={"fields": …}`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if error := _error(record):
            line["exception"] = describe(error)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """The same for people: one line, with the fields as `name=value`, and a traceback below where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={_quoted(value)}" for name, value in _fields(record).items())
        line = f"{self.formatTime(record)} {record.levelname} {record.name} {record.getMessage()}{fields}"
        error = _error(record)
        return f"{line}\n{describe(error)}" if error else line


def describe(error: BaseException) -> str:
    """Write an error with its traceback and those it came from, without what the database tells of rows.

    PostgreSQL's errors go on after their first line with the row that failed, or a piece of the statement: texts of
    messages, over several lines, under headings in the server's language.
    """
    return "\n".join(_chain(error, set()))


def _chain(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _chain(before, seen)
        yield CAUSED if error.__cause__ else DURING
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        yield "".join(traceback.format_tb(error.__traceback__)).rstrip("\n")
    yield _words(error)
    yield from getattr(error, "__notes__", ())
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield "\nAmong them:\n"
            yield from _chain(one, seen)


def _words(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    words = str(error)
    if _is_of_database(error):
        words = words.partition("\n")[0]
    return f"{name}: {words}" if words else name


def _is_of_database(error: BaseException) -> bool:
    drivers = any(kind.__module__.partition(".")[0] in DRIVERS for kind in type(error).__mro__)
    return drivers or isinstance(error, DatabaseError)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    request = current_request_id.get()
    return {"request_id": request, **fields} if request else fields


def _error(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def _quoted(value: object) -> str:
    """Give a value as one word; in quotes where it would be several, or another line."""
    text = str(value)
    return text if text.isprintable() and text and not set(text) & set(' "=') else json.dumps(text)
