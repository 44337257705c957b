"""Errors as answers: each kind of failure has one status and one shape."""

import json

import pytest
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, UnreadablePostError
from django.test import RequestFactory
from ninja.errors import AuthenticationError, AuthorizationError, HttpError, ValidationError

from apps.conversations.api.errors import as_domain_error, error_response
from apps.core.errors import HasForks, NotFound, TooManyRequests, Unavailable

REFUSED_FIELD = ValidationError(
    [{"loc": ("body", "given", "settings", "model"), "msg": "Input should be a valid string"}]
)
REFUSED_QUERY = ValidationError([{"loc": ("query", "limit"), "msg": "Input should be a whole number."}])


def answer(error):
    return error_response(RequestFactory().get("/api/chats"), error)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OperationalError("server closed the connection"), 503, "unavailable"),
        (InterfaceError("connection already closed"), 503, "unavailable"),
        (Http404("No Message matches"), 404, "not_found"),
        (AuthenticationError(), 401, "not_signed_in"),
        (AuthorizationError(), 403, "forbidden"),
        (HttpError(400, "Cannot parse request body"), 400, "malformed"),
        (RequestDataTooBig("too big"), 413, "too_large"),
        (SuspiciousOperation("odd"), 400, "malformed"),
        (UnreadablePostError("gone"), 400, "malformed"),
        (REFUSED_FIELD, 422, "invalid"),
    ],
)
def test_what_libraries_raise_has_a_status_and_a_code_of_ours(error, status, code):
    told = answer(as_domain_error(error))
    body = json.loads(told.content)
    assert (told.status_code, body["error"]) == (status, code)
    assert body["message"].endswith(".")
    assert str(error) not in body["message"] or status == 422


def test_the_field_that_does_not_fit_is_named_by_its_path():
    assert json.loads(answer(as_domain_error(REFUSED_FIELD)).content)["field"] == "settings.model"
    told = json.loads(answer(as_domain_error(REFUSED_QUERY)).content)
    assert (told["field"], told["message"]) == ("limit", "Input should be a whole number.")


def test_not_found_tells_nothing_of_what_was_looked_for():
    assert answer(NotFound("No token 42 of Ada", owner="ada")).content == answer(NotFound()).content


def test_waiting_is_told_in_seconds():
    assert answer(Unavailable())["Retry-After"] == "2"
    assert answer(TooManyRequests(limit=1, remaining=0, reset=77))["Retry-After"] == "77"
    assert answer(TooManyRequests(retry_after=60))["Retry-After"] == "60"


def test_more_is_told_beside_code_and_message():
    assert json.loads(answer(HasForks(forks=3)).content)["forks"] == 3
