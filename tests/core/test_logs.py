"""Log lines: what they carry in both shapes, and that no row of the database gets into one."""

import json
import logging

import pytest
from django.conf import settings
from django.db import DatabaseError, DataError, IntegrityError, connection
from django.test import RequestFactory

from apps.core.logs import JsonFormatter, TextFormatter, current_request_id
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
    token = current_request_id.set("")
    assert "request_id" not in formatter().format(record(generation="g1"))
    current_request_id.reset(token)


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
