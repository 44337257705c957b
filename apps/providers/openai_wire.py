"""A client of the OpenAI wire: OpenAI, OpenRouter, Ollama, llama.cpp, vLLM, Groq, Mistral, DeepSeek and more.

Not here: the form of what is sent (openai_requests.py), of what comes back (openai_chunks.py) and of what is
refused (openai_refusals.py). No retries but one: without an optional field that the server has just refused.

Over aiohttp and not httpx: at 100 streams of 50 chunks a second, httpx costs 79 µs of CPU per chunk, aiohttp 18
and a bare socket 11; nothing else about a live answer costs as much. Reading what the chunk says adds 6 µs,
of which a reader without json.loads would save 3: not worth its rules.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from functools import cache, partial
from http import HTTPStatus
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import certifi

from apps.providers import openai_refusals
from apps.providers.base import ChatRequest, ModelInfo, ProviderEvent
from apps.providers.errors import ErrorKind, ProviderError, cut_off, sentence
from apps.providers.openai_chunks import LINE_LIMIT, ChunkReader, CutChunk, ErrorChunk, MalformedChunk
from apps.providers.openai_requests import chat_body, unwelcome_field

_CONNECT_SECONDS = 10.0
# How long to wait, after "[DONE]", for the body's last byte: with it the connection serves the next answer too.
_DRAIN_SECONDS = 0.25
_REFUSAL_BYTES = 64 * 1024
_LIST_BYTES = 16 * 1024 * 1024

_UNREACHABLE = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)


class OpenAICompatible:
    """One server of the OpenAI wire.

    Shape: `base_url` ends before "/chat/completions". `prefills`: the server goes on with a last message of
    the assistant by itself. `client` is used as it is and never closed here; without it each event loop gets
    one of our own.
    Units: `list_seconds` bounds a list of models, `refusal_seconds` the reading of why a call was refused.
    """

    list_seconds = 20.0
    refusal_seconds = 5.0

    def __init__(
        self,
        slug: str,
        name: str,
        base_url: str,
        api_key: str | None = None,
        client: aiohttp.ClientSession | None = None,
        *,
        prefills: bool = False,
    ) -> None:
        self.slug = slug
        self.name = name
        self.base_url = base_url.rstrip("/")
        self._api_key = (api_key or "").strip()
        self._client = client
        self._clients: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {}
        self._is_strict = urlsplit(self.base_url).hostname == "api.openai.com"
        self._prefills = prefills
        # Fields that a model's server has refused, so that only its first answer waits for a second call.
        self._refused_fields: dict[str, set[str]] = {}

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ProviderEvent, None]:
        """Ask for one answer and give its events as they arrive.

        Raises: ProviderError. There is no limit of time between events: callers have their own.
        """
        reader = ChunkReader()
        has_begun = False
        async with self._opened(request) as response:
            read = _reading(response)
            try:
                while not reader.is_done and (piece := await read()):
                    for event in reader.feed(piece):
                        has_begun = True
                        yield event
                    if has_begun and request.pace is not None:
                        # Several pieces read in one go cost little more than one of them.
                        await request.pace()
                for event in reader.end():
                    yield event
            # From None where the cause would carry what the server sent into a log.
            except ErrorChunk as fault:
                raise openai_refusals.read_error_chunk(fault.error, name=self.name, model=request.model) from None
            except MalformedChunk:
                raise self._error(ErrorKind.MALFORMED) from None
            except CutChunk:
                raise cut_off(name=self.name, has_begun=has_begun) from None
            except aiohttp.ClientError as fault:
                raise cut_off(name=self.name, has_begun=has_begun) from fault
            await _drain(response)

    async def list_models(self) -> list[ModelInfo]:
        """List what the server offers, in its order.

        Raises: ProviderError.
        Effects: uses a connection of its own, so that any event loop may ask.
        """
        try:
            async with asyncio.timeout(self.list_seconds), self._own_client() as client:
                response = await self._call(client, "GET", "/models")
                async with response:
                    body = await _read(response, _LIST_BYTES)
        except TimeoutError as fault:
            raise self._error(ErrorKind.TIMED_OUT) from fault
        except aiohttp.ClientError as fault:
            raise cut_off(name=self.name, has_begun=False) from fault
        if response.status != HTTPStatus.OK:
            raise openai_refusals.read_refusal(response.status, body, response.headers, name=self.name, model="")
        try:
            return _models_in(json.loads(body))
        except (ValueError, TypeError, LookupError, RecursionError):
            raise self._error(ErrorKind.MALFORMED) from None

    async def aclose(self) -> None:
        """Close the connections that the running event loop holds; safe to repeat."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    @asynccontextmanager
    async def _opened(self, request: ChatRequest) -> AsyncIterator[aiohttp.ClientResponse]:
        """Make the call until it is not refused for an optional field; leaving closes the connection if still in use."""
        body = chat_body(request, is_strict=self._is_strict, prefills=self._prefills)
        for field in self._refused_fields.get(request.model, ()):
            body.pop(field, None)
        while True:
            response = await self._call(self._loop_client(), "POST", "/chat/completions", body)
            try:
                if response.status == HTTPStatus.OK:
                    yield response
                    return
                said = await _read_refusal(response, self.refusal_seconds)
            finally:
                response.close()
            unwelcome = unwelcome_field(openai_refusals.error_in(said), body) if response.status in (400, 422) else None
            if unwelcome is None:
                raise openai_refusals.read_refusal(
                    response.status, said, response.headers, name=self.name, model=request.model
                )
            self._refused_fields.setdefault(request.model, set()).add(unwelcome)
            del body[unwelcome]

    async def _call(
        self, client: aiohttp.ClientSession, method: str, path: str, body: dict[str, Any] | None = None
    ) -> aiohttp.ClientResponse:
        data = None if body is None else BytesIO(json.dumps(body).encode())
        try:
            return await client.request(
                method, self.base_url + path, data=data, headers=self._headers(), allow_redirects=False
            )
        except _UNREACHABLE as fault:
            raise self._error(ErrorKind.UNAVAILABLE) from fault
        except aiohttp.ClientConnectionError as fault:
            raise cut_off(name=self.name, has_begun=False) from fault
        except aiohttp.ClientError as fault:
            raise self._error(ErrorKind.MALFORMED) from fault

    def _headers(self) -> dict[str, str]:
        # Compression would hold text back until a block of it is full.
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "Bough"}
        if self._api_key:
            if not (self._api_key.isascii() and self._api_key.isprintable()):
                raise self._error(ErrorKind.KEY_REFUSED)
            headers["Authorization"] = f"Bearer {self._api_key}"
        return headers

    def _loop_client(self) -> aiohttp.ClientSession:
        if self._client is not None:
            return self._client
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = _new_client()
        return self._clients[loop]

    def _own_client(self) -> AbstractAsyncContextManager[aiohttp.ClientSession]:
        return _new_client() if self._client is None else nullcontext(self._client)

    def _error(self, kind: ErrorKind) -> ProviderError:
        return ProviderError(kind, sentence(kind, name=self.name))


def _new_client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        # No limit of connections: the caller bounds its answers, and a queue here would look like a slow provider.
        connector=aiohttp.TCPConnector(limit=0, ssl=_tls()),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
    )


@cache
def _tls() -> ssl.SSLContext:
    """Trust what the machine trusts, and certifi's list for machines that have none."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _reading(response: aiohttp.ClientResponse) -> Callable[[], Awaitable[bytes]]:
    """Choose how to read the body: as it arrives, or, where it is one JSON object, whole as one chunk."""
    is_whole = response.content_type in ("application/json", "text/html")
    return partial(_read_as_chunk, response) if is_whole else response.content.readany


async def _read_as_chunk(response: aiohttp.ClientResponse) -> bytes:
    """Read a whole body as one line of a stream; a web page, which no API sends, so becomes a malformed one."""
    body = await _read(response, LINE_LIMIT)
    # Line ends in JSON stand between its tokens only, never inside them.
    return b"data:" + body.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n" if body else b""


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read a body to its end, at most `limit` bytes of it."""
    pieces, size = [], 0
    while size < limit and (piece := await response.content.read(limit - size)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


async def _read_refusal(response: aiohttp.ClientResponse, seconds: float) -> bytes:
    """Read what a refusal says, or nothing if that takes long or breaks: the status is enough to go on with."""
    try:
        async with asyncio.timeout(seconds):
            return await _read(response, _REFUSAL_BYTES)
    except (TimeoutError, aiohttp.ClientError):
        return b""


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Wait a little for the body's last byte, so that the connection can be used again."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while await response.content.readany():
                pass


def _models_in(listing: Any) -> list[ModelInfo]:
    # Together lists without an envelope, Ollama without models says null.
    models = listing if isinstance(listing, list) else listing["data"] or []
    return [ModelInfo(model_id=str(model["id"]), name=str(model.get("name") or model["id"])) for model in models]
