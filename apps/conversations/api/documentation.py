"""The description of the API, for programs (openapi.json) and people (docs). Public: it holds nobody's data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string

from apps.conversations.api.application import Api


@dataclass(frozen=True, slots=True)
class Call:
    """One operation as the page lists it."""

    method: str
    path: str
    summary: str
    parameters: list[str]
    body: list[str]
    statuses: list[str]


def publish(api: Api) -> None:
    """Give an API its openapi.json and its page."""

    def openapi(request: HttpRequest) -> HttpResponse:
        response = JsonResponse(api.get_openapi_schema())
        response["Cache-Control"] = "public, max-age=300"
        return response

    def docs(request: HttpRequest) -> HttpResponse:
        schema = api.get_openapi_schema()
        context = {"groups": _groups(schema), "info": schema["info"]}
        response = HttpResponse(render_to_string("conversations/api_docs.html", context))
        response["Cache-Control"] = "public, max-age=300"
        return response

    api.add_public("openapi-json", "openapi.json", openapi)
    api.add_public("docs", "docs", docs)


def _groups(schema: dict[str, Any]) -> dict[str, list[Call]]:
    """Sort the operations by their tag, in the order in which they were declared."""
    groups: dict[str, list[Call]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            call = Call(
                method.upper(),
                path,
                operation["summary"],
                [parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"],
                list(_body_fields(operation, schema)),
                [str(status) for status in operation["responses"]],
            )
            groups.setdefault(operation["tags"][0], []).append(call)
    return groups


def _body_fields(operation: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    choices = content.get("anyOf", [content])
    for reference in (choice["$ref"] for choice in choices if "$ref" in choice):
        described = schema["components"]["schemas"][reference.rpartition("/")[2]]
        required = described.get("required", [])
        yield from (name if name in required else f"{name}?" for name in described["properties"])
