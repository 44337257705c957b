"""The API as one Django URL configuration: who asks is known before anything else, and every answer is JSON.

Operations live beside this module; what they mean lives in services.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, cast

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, path, re_path
from django.views.decorators.http import require_safe
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.renderers import JSONRenderer

from apps.conversations.api.authentication import authenticate
from apps.conversations.api.errors import ANSWERED, add_error_handlers, error_response, not_allowed_response
from apps.conversations.api.requests import RequestParser
from apps.core.errors import NotFound

View = Callable[..., HttpResponseBase]

ERROR_SCHEMA = {
    "type": "object",
    "title": "Error",
    "description": "More fields may say more: `field` of a 422, `leafId`, `forks`, `limit`, `remaining`, `reset`.",
    "properties": {"error": {"type": "string"}, "message": {"type": "string"}},
    "required": ["error", "message"],
}
REFUSED = {
    "description": "Refused",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}


class CompactRenderer(JSONRenderer):
    """Write JSON as UTF-8 without spaces; what UTF-8 can't carry becomes a question mark, not a failure."""

    json_dumps_params: Mapping[str, Any] = {"ensure_ascii": False, "separators": (",", ":")}

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        text: str = super().render(request, data, response_status=response_status)
        return text.encode("utf-8", "replace")


class Api(NinjaAPI):
    """Ninja's API with our refusals: 404 and 405 as JSON, 401 for everybody unknown, redirects for nobody."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            auth=authenticate,
            parser=RequestParser(),
            renderer=CompactRenderer(),
            openapi_url=None,
            docs_url=None,
            **options,
        )
        self._public: list[URLPattern] = []
        add_error_handlers(self)

    def add_public(self, name: str, route: str, view: View) -> None:
        """Serve a page of the API that everybody may read."""
        self._public.append(path(route, exempt(require_safe(view)), name=name))

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """Describe the API; what ninja can't know are the refusals, which are alike everywhere."""
        schema = super().get_openapi_schema(**options)
        schema["components"]["schemas"]["Error"] = ERROR_SCHEMA
        for methods in schema["paths"].values():
            for operation in methods.values():
                operation["responses"]["4XX"] = REFUSED
        return schema

    def _get_urls(self) -> list[URLResolver | URLPattern]:
        patterns = [pattern for pattern in super()._get_urls() if isinstance(pattern, URLPattern)]
        patterns = [pattern for pattern in patterns if pattern.name != "api-root"]
        for pattern in patterns:
            pattern.callback = self._guarded(cast(View, pattern.callback))
        # The root's name serves ninja: it finds the prefix of all paths by it.
        root = path("", self._unknown(), name="api-root")
        rest = re_path(r"^.+$", self._unknown(), name="unknown")
        return [*patterns, *self._public, root, rest]

    def _guarded(self, view: View) -> View:
        """Turn ninja's plain 405 into JSON, for callers that are known."""

        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            response = view(request, *args, **kwargs)
            if isinstance(response, HttpResponseNotAllowed):
                return self._refusal(request) or not_allowed_response(request, response)
            return response

        return exempt(guarded)

    def _unknown(self) -> View:
        def unknown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            return self._refusal(request) or error_response(request, NotFound())

        return exempt(unknown)

    def _refusal(self, request: HttpRequest) -> HttpResponse | None:
        """Authenticate a request that reaches no operation."""
        try:
            authenticate(request)
        except ANSWERED as error:
            return self.on_exception(request, error)
        return None


def exempt(view: View) -> View:
    """Take a view out of what redirects or answers in HTML: the API has its own sign-in and CSRF checks."""
    view.csrf_exempt = True  # type: ignore[attr-defined]
    view.login_required = False  # type: ignore[attr-defined]
    return view
