"""Which language models can be chosen now: what the providers list, remembered for a while.

No rows yet: providers come from the environment. Talking to a model is the work of `apps.providers`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import dataclass, field

from django.conf import settings

from apps.core.errors import UnknownModel
from apps.providers import registry
from apps.providers.base import ChatProvider, ModelInfo
from apps.providers.errors import ProviderError

log = logging.getLogger(__name__)
FRESH_SECONDS = 60.0
LIST_TIMEOUT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class AvailableModel:
    """A language model that can be chosen; `model_id` is "provider/id", as the API and settings name it."""

    model_id: str
    name: str
    provider: str
    known: bool = False
    available: bool = True


@dataclass
class _Memory:
    """What the providers listed last, and when; shared by the request threads."""

    models: dict[str, list[AvailableModel]] = field(default_factory=dict)
    read_at: float = -1e9
    lock: threading.Lock = field(default_factory=threading.Lock)
    refreshing: bool = False


_memory = _Memory()


def available() -> list[AvailableModel]:
    """List the models that can be chosen: configured providers first, the demo model last.

    Effects: the first call asks the providers (bounded to 3 seconds each, side by side); later ones answer from memory
    and refresh it in the background once it is older than a minute.
    """
    if not _memory.models:
        refresh()
    elif time.monotonic() - _memory.read_at > FRESH_SECONDS and not _memory.refreshing:
        _memory.refreshing = True
        threading.Thread(target=refresh, name="models-refresh", daemon=True).start()
    return [model for models in _memory.models.values() for model in models]


def refresh() -> None:
    """Ask every provider what it serves; one that does not answer keeps its last list."""
    with _memory.lock:
        try:
            listed = asyncio.run(_list_all())
            _memory.models = {slug: models or _memory.models.get(slug, []) for slug, models in listed.items()}
            _memory.read_at = time.monotonic()
        finally:
            _memory.refreshing = False


def forget() -> None:
    """Forget the lists, as after a change of providers."""
    _memory.models, _memory.read_at = {}, -1e9


def resolve(model_id: str | None) -> AvailableModel:
    """Find the model to use: the given one, else the configured default, else the first that is available.

    Raises: UnknownModel, if one is named and its provider does not list it.
    """
    wanted = model_id or settings.DEFAULT_MODEL
    if not wanted:
        return available()[0]
    found = _find(wanted)
    if found is None and time.monotonic() - _memory.read_at > 2:
        # It may be new at the provider: ask once more, at most every two seconds.
        refresh()
        found = _find(wanted)
    if found is None:
        raise UnknownModel(f"There is no model {wanted[:200]!r} here.", field="model")
    return found


def _find(model_id: str) -> AvailableModel | None:
    return next((model for model in available() if model.model_id == model_id), None)


async def _list_all() -> dict[str, list[AvailableModel]]:
    providers = registry.current()
    lists = await asyncio.gather(*(_list_one(provider) for provider in providers.values()))
    return dict(zip(providers, lists, strict=True))


async def _list_one(provider: ChatProvider) -> list[AvailableModel]:
    try:
        async with asyncio.timeout(LIST_TIMEOUT_SECONDS):
            infos = await provider.list_models()
    except (ProviderError, TimeoutError) as error:
        log.warning("models-not-listed", extra={"fields": {"provider": provider.slug, "error": type(error).__name__}})
        return []
    finally:
        await provider.aclose()
    return [_as_available(provider, info) for info in infos]


def _as_available(provider: ChatProvider, info: ModelInfo) -> AvailableModel:
    return AvailableModel(f"{provider.slug}/{info.model_id}", info.name, provider.slug)
