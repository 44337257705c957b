"""How a request goes through Django under ASGI: static files before it, and all of it in one thread."""

from typing import Any

from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from servestatic import ServeStaticASGI

from apps.core.db import in_request_thread

# What ManifestStaticFilesStorage puts into a name: such a file never changes.
HASHED_NAME = r"^.+\.[0-9a-f]{12}\..+$"


class HttpHandler(ASGIHandler):
    """Django's handler with the whole chain of middlewares and views in one thread.

    Django's own adapts each middleware to the loop, with two hops to a thread for each: measured, ADR-0006. Our views
    are synchronous; what streams is an async iterator, which the handler reads on the loop all the same.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        """Build the chain for threads, whatever the server is."""
        super().load_middleware(is_async=False)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request, without the thread of its own that Django would start for it."""
        await self.handle(scope, receive, send)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a request in a thread of the pool, which keeps its database connection."""
        return await in_request_thread(self.get_response, request)


def with_static_files(application: Any) -> Any:
    """Put static files before an application: collected ones, or the source folders while developing."""
    if settings.DEBUG:
        return ASGIStaticFilesHandler(application)
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    return ServeStaticASGI(
        application,
        root=settings.STATIC_ROOT,
        prefix=settings.STATIC_URL,
        allow_all_origins=False,
        add_headers_function=_no_sniffing,
        immutable_file_test=HASHED_NAME,
    )


def _no_sniffing(headers: Any, path: str, url: str) -> None:
    headers["X-Content-Type-Options"] = "nosniff"
