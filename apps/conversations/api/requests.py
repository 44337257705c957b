"""Reading requests: bodies and query strings from outside become plain values, or a refusal that says why."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from django.http import HttpRequest, RawPostDataException, UnreadablePostError
from django.utils.datastructures import MultiValueDict
from ninja.parser import Parser

from apps.core.errors import DomainError, InvalidField, Malformed


class UnsupportedBody(DomainError):
    code, status, message = "unsupported_media_type", 415, "Send the body as JSON with Content-Type: application/json."


class RequestParser(Parser):
    """Read JSON strictly, and query strings with empty values left out."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Read the JSON body.

        Raises: UnsupportedBody; Malformed if it is no JSON; InvalidField if a text holds NUL or half a surrogate pair.
        """
        kind = request.content_type or ""
        if kind not in ("application/json", "text/json") and not kind.endswith("+json"):
            raise UnsupportedBody
        try:
            data = json.loads(request.body.decode("utf-8-sig"), parse_constant=_refuse_constant)
        except (ValueError, RecursionError, RawPostDataException, UnreadablePostError) as error:
            raise Malformed("The body is not valid JSON.") from error
        refuse_unstorable(data)
        return data

    def parse_querydict(
        self, data: MultiValueDict[str, Any], list_fields: list[str], request: HttpRequest
    ) -> dict[str, Any]:
        """Read a query string; `?cursor=` means the same as no cursor."""
        read: dict[str, Any] = super().parse_querydict(data, list_fields, request)
        return {key: value for key, value in read.items() if value != ""}


def refuse_unstorable(data: Any) -> None:
    """Refuse text that no database keeps, wherever in a JSON value it is.

    Raises: InvalidField, naming the field of the outermost object.
    """
    waiting: list[tuple[str, Any]] = [("body", data)]
    if isinstance(data, dict):
        waiting = [(key, pair) for key, value in data.items() for pair in (key, value)]
    while waiting:
        field, value = waiting.pop()
        if isinstance(value, str):
            _refuse_text(value, field)
        elif isinstance(value, dict):
            waiting += [(field, item) for pair in value.items() for item in pair]
        elif isinstance(value, list):
            waiting += [(field, item) for item in value]


def _refuse_text(text: str, field: str) -> None:
    if "\0" in text:
        raise InvalidField("The text holds a NUL character, which can't be stored.", field=_printable(field))
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidField("The text holds half a surrogate pair.", field=_printable(field)) from error


def _printable(field: str) -> str:
    return field.encode("ascii", "backslashreplace").decode()[:100]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
