import json
from datetime import UTC, datetime

import pytest

from apps.providers.errors import ErrorKind
from apps.providers.openai_refusals import error_in, read_error_chunk, read_refusal, read_retry_after

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def kind_of(status: int, error: object) -> ErrorKind:
    body = json.dumps(error).encode()
    return read_refusal(status, body, {}, name="OpenAI", model="gpt").kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ErrorKind.BAD_REQUEST),
        (401, ErrorKind.KEY_REFUSED),
        (402, ErrorKind.NO_CREDIT),
        (403, ErrorKind.KEY_REFUSED),
        (404, ErrorKind.MODEL_GONE),
        (408, ErrorKind.TIMED_OUT),
        (410, ErrorKind.MODEL_GONE),
        (413, ErrorKind.TOO_LONG),
        (418, ErrorKind.BAD_REQUEST),
        (429, ErrorKind.OVERLOADED),
        (500, ErrorKind.UNAVAILABLE),
        (502, ErrorKind.UNAVAILABLE),
        (503, ErrorKind.OVERLOADED),
        (504, ErrorKind.TIMED_OUT),
        (529, ErrorKind.OVERLOADED),
        (599, ErrorKind.UNAVAILABLE),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[]", b"null", b'"no"', b"[" * 100_000, b"\xff\xfe"])
def test_without_telling_words_the_status_decides(status, kind, body):
    assert read_refusal(status, body, {}, name="OpenAI", model="gpt").kind is kind


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (429, {"error": {"code": "insufficient_quota", "message": "You exceeded"}}, ErrorKind.NO_CREDIT),
        (400, {"error": {"message": "Your credit balance is too low to access"}}, ErrorKind.NO_CREDIT),
        (400, {"error": {"code": "context_length_exceeded"}}, ErrorKind.TOO_LONG),
        (400, {"object": "error", "message": "This model's maximum context length is 4096"}, ErrorKind.TOO_LONG),
        (500, {"error": "the request exceeds the available context size"}, ErrorKind.TOO_LONG),
        (400, {"error": {"code": "content_filter"}}, ErrorKind.FILTERED),
        (403, {"error": {"message": "Input was flagged by moderation"}}, ErrorKind.FILTERED),
        (400, {"error": {"code": "model_decommissioned"}}, ErrorKind.MODEL_GONE),
        (400, [{"error": {"message": "API key not valid. Please pass a valid API key."}}], ErrorKind.KEY_REFUSED),
        (429, {"error": {"code": "rate_limit_exceeded"}}, ErrorKind.RATE_LIMITED),
        (500, {"error": {"type": "overloaded_error"}}, ErrorKind.OVERLOADED),
        (422, {"detail": "Too many tokens"}, ErrorKind.TOO_LONG),
    ],
)
def test_telling_words_decide_before_the_status(status, error, kind):
    assert kind_of(status, error) is kind


def test_messages_name_provider_or_model_and_nothing_of_the_body():
    body = b'{"error": {"message": "key sk-123 of acme"}}'
    said = {
        status: read_refusal(status, body, {}, name="OpenAI", model="gpt-4-0314").message
        for status in (401, 402, 404, 413, 429, 500)
    }
    assert said == {
        401: "OpenAI refused the API key.",
        402: "The OpenAI account has no credit left.",
        404: "gpt-4-0314 is no longer offered.",
        413: "The conversation is too long for gpt-4-0314.",
        429: "OpenAI is overloaded.",
        500: "OpenAI failed with an error of its own (500).",
    }


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:07 GMT"}, 7.0),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:07 -0000"}, 7.0),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0.0),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers, seconds):
    assert read_retry_after(headers, now=NOW) == seconds


def test_retry_after_counts_from_now():
    error = read_refusal(429, b"", {"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, name="X", model="m")
    assert error.retry_after > 1e9


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ({"code": 429, "message": "slow down"}, ErrorKind.OVERLOADED, 429),
        ({"code": "server_error"}, ErrorKind.UNAVAILABLE, None),
        ({"code": 7}, ErrorKind.UNAVAILABLE, None),
        ("broken", ErrorKind.UNAVAILABLE, None),
        (None, ErrorKind.UNAVAILABLE, None),
        ({"code": "content_filter"}, ErrorKind.FILTERED, None),
    ],
)
def test_an_error_inside_a_stream_is_read_like_a_refusal(error, kind, status):
    found = read_error_chunk(error, name="OpenAI", model="gpt")
    assert (found.kind, found.status) == (kind, status)


def test_the_error_is_found_in_every_envelope():
    assert error_in(b'{"error": {"code": 1}}') == {"code": 1}
    assert error_in(b'[{"error": {"code": 1}}]') == {"code": 1}
    assert error_in(b'{"detail": "x"}') == {"detail": "x"}
    assert error_in(b"oops") is None
