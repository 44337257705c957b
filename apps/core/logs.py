"""Log lines: events with fields, as text or as JSON. Which there are is decided where they are written.

Message text is never among them. A line costs its writer some microseconds, and never a wait.
"""

import json
import logging
import os
import re
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterator, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from django.db.utils import Error as DatabaseError

# structlog imports these where they are installed, for terminals and servers other than ours: 0.3 s of every start.
_NOT_NEEDED = [name for name in ("rich", "structlog.twisted") if name not in sys.modules]
_modules: dict[str, Any] = sys.modules
_modules.update(dict.fromkeys(_NOT_NEEDED))  # None: an import of it fails
import structlog  # noqa: E402

for _name in _NOT_NEEDED:
    del sys.modules[_name]

Fields = MutableMapping[str, Any]

# The id of the request whose thread it is; set by the middleware.
current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")

_ONE_WORD = re.compile(r"[!#-<>-~]+")
# Packages whose errors speak for the database.
DRIVERS = ("psycopg", "psycopg_pool", "sqlite3")
CAUSED = "\nThe above exception was the direct cause of the following exception:\n"
DURING = "\nDuring handling of the above exception, another exception occurred:\n"


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Give the logger of a module: `log.info("answer-began", generation=…)`. Events are kebab-case."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name).bind()
    return logger


class JsonFormatter(structlog.stdlib.ProcessorFormatter):
    """One JSON object a line: time, level, logger, event, request and the fields of the event."""

    def __init__(self) -> None:
        super().__init__(processors=[_json_line])


class TextFormatter(structlog.stdlib.ProcessorFormatter):
    """The same for people: one line, with the fields as `name=value`, and a traceback below where there is one."""

    def __init__(self) -> None:
        super().__init__(processors=[_text_line])


class LineHandler(logging.Handler):
    """Write lines to standard error from a thread of its own: a terminal or pipe that is stopped stops no answer.

    Lines beyond those that may wait are dropped, and counted in a line of their own.
    """

    def __init__(self, *, most_waiting: int = 10_000) -> None:
        super().__init__()
        self._most_waiting = most_waiting
        self._begin_anew()
        os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._arrived, self._written = threading.Event(), threading.Event()
        self._writer: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line; called under the handler's lock."""
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001  (said in the line; whoever logs must go on)
            line = self.format(_told("line-not-formatted", logger=record.name, error=type(error).__name__))
        if len(self._lines) >= self._most_waiting:
            self._dropped += 1
            return
        if self._dropped:
            line = self.format(_told("lines-dropped", count=self._dropped)) + "\n" + line
            self._dropped = 0
        self._lines.append(line)
        self._written.clear()
        self._arrived.set()
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="log", daemon=True)
            self._writer.start()

    def flush(self) -> None:
        """Wait until all is written, a second at most."""
        if self._writer is not None:
            self._written.wait(1.0)

    def _write(self) -> None:
        while True:
            self._arrived.wait()
            self._arrived.clear()
            waiting = [self._lines.popleft() for _ in range(len(self._lines))]
            if waiting:
                try:
                    sys.stderr.write("\n".join(waiting) + "\n")
                    sys.stderr.flush()
                except (OSError, ValueError):
                    pass  # nobody reads it: closed, or the disk is full
            if not self._lines:
                self._written.set()


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


def _as_record(logger: object, method: str, event: Fields) -> tuple[tuple[str], dict[str, Any]]:
    """Hand an event to logging as an ordinary record, with its fields beside."""
    words = event.pop("event")
    options = {name: event.pop(name) for name in ("exc_info", "stack_info") if name in event}
    return (words,), {"extra": {"fields": event}, **options}


def _told(event: str, **fields: Any) -> logging.LogRecord:
    """Make a record about the lines themselves."""
    return logging.makeLogRecord(
        {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": event, "fields": fields}
    )


def _json_line(logger: object, method: str, entry: Fields) -> str:
    record: logging.LogRecord = entry["_record"]
    line = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": entry["event"],
        **_fields(record),
    }
    if error := _error(entry):
        line["exception"] = describe(error)
    return json.dumps(line, default=str)


def _text_line(logger: object, method: str, entry: Fields) -> str:
    record: logging.LogRecord = entry["_record"]
    time = datetime.fromtimestamp(record.created).strftime("%Y-%m-%d %H:%M:%S")  # noqa: DTZ006  (people read it)
    fields = "".join(f" {name}={_quoted(value)}" for name, value in _fields(record).items())
    line = f"{time},{int(record.msecs):03} {record.levelname} {record.name} {entry['event']}{fields}"
    error = _error(entry)
    return f"{line}\n{describe(error)}" if error else line


def _fields(record: logging.LogRecord) -> Fields:
    fields: Fields = getattr(record, "fields", {})
    request = current_request_id.get()
    return {"request_id": request, **fields} if request else fields


def _error(entry: Fields) -> BaseException | None:
    info = entry.get("exc_info")
    return info[1] if info else None


def _quoted(value: object) -> str:
    """Give a value as one word; in quotes where it would be several, or another line."""
    text = str(value)
    return text if _ONE_WORD.fullmatch(text) else json.dumps(text, ensure_ascii=not text.isprintable())


structlog.configure(
    processors=[structlog.stdlib.filter_by_level, _as_record],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)
