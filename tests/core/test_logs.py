"""Log lines: what they carry in both shapes, and that no row of the database gets into one."""

import io
import json
import logging
import sys
import threading

import pytest
from django.conf import settings
from django.db import DatabaseError, DataError, IntegrityError, connection
from django.test import RequestFactory

from apps.core.logs import JsonFormatter, LineHandler, TextFormatter, current_request_id, get_logger
from apps.core.middleware import RequestIdMiddleware

FORMATTERS = [JsonFormatter, TextFormatter]
SECRET = "The words of\nsomebody"
REFUSED = (
    f'new row violates check "x"\nDETAIL:  Failing row contains (1, {SECRET}).\nCONTEXT:  JSON data, line 1: {SECRET}'
)


class UniqueViolation(Exception):
    """Stands for the driver's own error."""

    __module__ = "psycopg.errors"


def record(message="answer-broke", *, error=None, **fields):
    info = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord("apps.x", logging.ERROR, "x.py", 1, message, (), info)
    if fields:
        made.fields = fields
    return made


def raised(make):
    """Give what a function raises, with its traceback."""
    with pytest.raises((DatabaseError, RuntimeError, ExceptionGroup)) as caught:
        make()
    return caught.value


@pytest.fixture(autouse=True)
def outside():
    """Begin outside of any request."""
    token = current_request_id.set("")
    yield
    current_request_id.reset(token)


@pytest.fixture
def request_id():
    token = current_request_id.set("abc")
    yield "abc"
    current_request_id.reset(token)


def test_a_line_of_text_has_the_fields_and_the_request(request_id):
    line = TextFormatter().format(record(generation="g1", seconds=2, words='two "words"\n'))
    assert line.endswith(r' ERROR apps.x answer-broke request_id=abc generation=g1 seconds=2 words="two \"words\"\n"')


def test_a_json_line_has_the_fields_and_the_request(request_id):
    line = json.loads(JsonFormatter().format(record(generation="g1")))
    assert line["event"] == "answer-broke"
    assert (line["request_id"], line["generation"], line["level"]) == ("abc", "g1", "error")


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_outside_of_a_request_none_is_named(formatter):
    assert "request_id" not in formatter().format(record(generation="g1"))


def test_a_request_names_itself_for_its_lines():
    RequestIdMiddleware(lambda request: None).before(RequestFactory().get("/", headers={"X-Request-Id": "edge-1"}))
    assert "request_id=edge-1" in TextFormatter().format(record())


def refuse():
    try:
        raise UniqueViolation(REFUSED)
    except UniqueViolation as error:
        raise IntegrityError(REFUSED) from error


def refuse_and_fail():
    try:
        refuse()
    except IntegrityError:
        raise RuntimeError("while cleaning up")  # noqa: B904  (the chain of contexts is what is tested)


def refuse_in_group():
    raise ExceptionGroup("several", [raised(refuse), ValueError("another")])


@pytest.mark.parametrize("formatter", FORMATTERS)
@pytest.mark.parametrize("make", [refuse, refuse_and_fail, refuse_in_group])
def test_an_error_of_the_database_is_told_without_the_row(formatter, make):
    line = formatter().format(record(error=raised(make)))
    for word in ("The words of", "somebody", "DETAIL", "CONTEXT", "Failing row"):
        assert word not in line
    told = json.loads(line)["exception"] if formatter is JsonFormatter else line
    assert 'psycopg.errors.UniqueViolation: new row violates check "x"\n' in told
    assert 'django.db.utils.IntegrityError: new row violates check "x"' in told
    assert "in refuse\n" in told


def test_the_order_and_the_links_of_a_chain_are_kept():
    told = TextFormatter().format(record(error=raised(refuse_and_fail)))
    places = [told.index(word) for word in ("UniqueViolation:", "direct cause", "IntegrityError:", "During handling")]
    assert places == sorted(places)
    assert told.endswith("RuntimeError: while cleaning up")


def test_other_errors_keep_all_their_lines_and_notes():
    error = ValueError("first\nsecond")
    error.add_note("a note")
    assert TextFormatter().format(record(error=error)).endswith("ValueError: first\nsecond\na note")


def test_a_context_that_was_hidden_stays_hidden():
    def make():
        try:
            refuse()
        except IntegrityError:
            raise RuntimeError("instead") from None

    assert "IntegrityError" not in TextFormatter().format(record(error=raised(make)))


@pytest.mark.django_db
@pytest.mark.postgres
def test_a_real_refusal_is_told_without_the_row():
    def make():
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s::jsonb", [f'{{"a": "{SECRET}'])

    error = raised(make)
    assert isinstance(error, DataError)
    assert "The words of" in str(error)
    assert "The words of" not in TextFormatter().format(record(error=error))


def test_both_shapes_are_configured():
    formatters = settings.LOGGING["formatters"]
    assert {name: entry["()"] for name, entry in formatters.items()} == {
        "text": "apps.core.logs.TextFormatter",
        "json": "apps.core.logs.JsonFormatter",
    }


# --- events -----------------------------------------------------------------------------------------------------


@pytest.fixture
def lines():
    """Give what the logger "apps.test" writes, as JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("apps.test")
    logger.addHandler(handler)
    logger.setLevel("INFO")
    logger.propagate = False
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel("NOTSET")
    logger.propagate = True


def test_an_event_is_written_with_its_fields(lines, request_id):
    get_logger("apps.test").info("answer-began", message="m1", tokens=3)
    [line] = lines()
    assert line.pop("time").endswith("+00:00")
    told = {"level": "info", "logger": "apps.test", "event": "answer-began"}
    assert line == {**told, "request_id": "abc", "message": "m1", "tokens": 3}


def test_an_event_below_the_level_is_not_written(lines):
    get_logger("apps.test").debug("answer-began")
    assert lines() == []


def test_an_event_carries_the_error_at_hand_or_the_one_given(lines):
    log = get_logger("apps.test")
    try:
        refuse()
    except IntegrityError as error:
        log.exception("send-failed", generation="g1")
        given = error
    log.error("send-failed", exc_info=given)
    for line in lines():
        assert "in refuse\n" in line["exception"]
        assert "somebody" not in str(line)


def test_lines_of_libraries_have_the_same_shape(lines):
    logging.getLogger("apps.test").warning("%s left", "one")
    assert [(line["event"], line["level"]) for line in lines()] == [("one left", "warning")]


class Stopped(io.StringIO):
    """A terminal that is stopped until somebody lets it go on."""

    def __init__(self):
        super().__init__()
        self.reached, self.goes_on = threading.Event(), threading.Event()

    def write(self, text):
        self.reached.set()
        assert self.goes_on.wait(10)
        return super().write(text)


@pytest.fixture
def handler():
    handler = LineHandler(most_waiting=3)
    handler.setFormatter(TextFormatter())
    return handler


def test_a_terminal_that_is_stopped_holds_nobody_up(handler, monkeypatch):
    terminal = Stopped()
    monkeypatch.setattr(sys, "stderr", terminal)
    handler.handle(record("first"))
    assert terminal.reached.wait(10)
    for number in range(5):
        handler.handle(record(f"line-{number}"))
    terminal.goes_on.set()
    handler.flush()
    handler.handle(record("last"))
    handler.flush()
    assert [line.split("apps.")[1] for line in terminal.getvalue().splitlines()] == [
        "x first",
        "x line-0",
        "x line-1",
        "x line-2",
        "core.logs lines-dropped count=2",
        "x last",
    ]


def test_a_closed_terminal_breaks_nothing(handler, monkeypatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    handler.handle(record("nobody-reads-it"))
    handler.flush()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    handler.handle(record("somebody-reads-it"))
    handler.flush()
    assert sys.stderr.getvalue().endswith("somebody-reads-it\n")


def test_a_value_that_cannot_be_written_is_told_without_it(handler, monkeypatch):
    class Odd:
        def __str__(self):
            raise RuntimeError(SECRET)

    monkeypatch.setattr(sys, "stderr", io.StringIO())
    handler.handle(record("odd", value=Odd()))
    handler.flush()
    assert sys.stderr.getvalue().endswith("apps.core.logs line-not-formatted logger=apps.x error=RuntimeError\n")
    assert "somebody" not in sys.stderr.getvalue()
