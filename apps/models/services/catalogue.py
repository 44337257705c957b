"""Which language models can be chosen now: what the providers list, remembered for a while.

No rows yet: providers come from the environment. Talking to a model is the work of `apps.providers`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field

from django.conf import settings

from apps.core.errors import UnknownModel
from apps.core.logs import get_logger
from apps.providers import registry
from apps.providers.base import ChatProvider, ModelInfo
from apps.providers.errors import ProviderError

log = get_logger(__name__)
FRESH_SECONDS = 60.0
LIST_TIMEOUT_SECONDS = 3.0
# A made-up name must not make every request ask the providers.
ASK_AGAIN_SECONDS = 2.0
# What answers keep of the model that wrote them.
LONGEST_NAME = 200


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
        refresh(older_than=ASK_AGAIN_SECONDS)
    elif time.monotonic() - _memory.read_at > FRESH_SECONDS and not _memory.refreshing:
        _memory.refreshing = True
        threading.Thread(target=refresh, name="models-refresh", daemon=True).start()
    return [model for models in _memory.models.values() for model in models]


def refresh(*, older_than: float = 0.0) -> None:
    """Ask every provider what it serves; one that does not answer keeps its last list.

    Units: nothing is asked if the lists are younger than `older_than` seconds, so that many waiting callers ask once.
    """
    with _memory.lock:
        try:
            if time.monotonic() - _memory.read_at < older_than:
                return
            listed = asyncio.run(_list_all())
            _memory.models = {slug: models or _memory.models.get(slug, []) for slug, models in listed.items()}
            _memory.read_at = time.monotonic()
        finally:
            _memory.refreshing = False


def forget() -> None:
    """Forget the lists, as after a change of providers."""
    _memory.models, _memory.read_at = {}, -1e9


def resolve(model_id: str | None, *, preferred: str | None = None) -> AvailableModel:
    """Find the model to use: the given one, else the preferred, else the configured default, else the first there is.

    A model that was chosen earlier, or whose provider lists nothing now, is used all the same: if it is gone, the
    answer says so in words.
    Raises: UnknownModel, if one is given that its provider does not list.
    """
    if model_id:
        return _find_given(model_id)
    for wanted in (preferred, settings.DEFAULT_MODEL):
        if wanted and _is_of_provider(wanted) and (found := _find(wanted) or _unlisted(wanted)):
            return found
    return available()[0]


def _find_given(model_id: str) -> AvailableModel:
    found = _find(model_id)
    if found is None:
        # It may be new at the provider.
        refresh(older_than=ASK_AGAIN_SECONDS)
        found = _find(model_id)
    if found is None and not _memory.models.get(model_id.partition("/")[0]):
        found = _unlisted(model_id)
    if found is None:
        raise UnknownModel(f"There is no model {model_id[:200]!r} here.", field="model")
    return found


def _unlisted(model_id: str) -> AvailableModel | None:
    """Take a model that its provider doesn't list now at its word; None if there can't be such a model."""
    slug, _, name = model_id.partition("/")
    if not _is_of_provider(model_id) or not _can_be_name(name):
        return None
    return AvailableModel(model_id, name, slug, available=False)


def _is_of_provider(model_id: str) -> bool:
    return model_id.partition("/")[0] in registry.current()


def _can_be_name(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME


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
        log.warning("models-not-listed", provider=provider.slug, error=type(error).__name__)
        return []
    except Exception:
        # A fault of one provider's library must not take the list of all others, and every page, with it.
        log.exception("models-not-listed", provider=provider.slug)
        return []
    finally:
        await provider.aclose()
    return [_as_available(provider, info) for info in infos if _can_be_name(info.model_id)]


def _as_available(provider: ChatProvider, info: ModelInfo) -> AvailableModel:
    return AvailableModel(f"{provider.slug}/{info.model_id}", info.name, provider.slug)
