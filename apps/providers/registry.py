"""Which providers there are: built from given settings, swapped in tests.

Not here: reading the environment (config/settings.py) and keys that users save (apps/models).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from apps.providers.base import ChatProvider
from apps.providers.demo import DemoChat
from apps.providers.litellm_chat import LiteLLMChat
from apps.providers.openai_wire import OpenAICompatible

OPENAI_URL = "https://api.openai.com/v1"
OPENROUTER_URL = "https://openrouter.ai/api/v1"


@dataclass(frozen=True)
class ProviderSettings:
    """The keys and addresses an operator has set; empty means not set.

    Shape: addresses end before "/chat/completions", as the OpenAI SDK takes them.
    """

    openai_api_key: str = field(default="", repr=False)
    openai_base_url: str = ""
    anthropic_api_key: str = field(default="", repr=False)
    gemini_api_key: str = field(default="", repr=False)
    openrouter_api_key: str = field(default="", repr=False)
    ollama_base_url: str = ""


def build_providers(settings: ProviderSettings) -> dict[str, ChatProvider]:
    """Build a provider for everything that is set, keyed by slug, the demo last.

    Shape: never empty. The order is the order of preference for a default model.
    Effects: none; connections open with the first call.
    """
    found: list[ChatProvider] = []
    if settings.openai_api_key or settings.openai_base_url:
        address = settings.openai_base_url or OPENAI_URL
        found.append(OpenAICompatible("openai", "OpenAI", address, settings.openai_api_key or None))
    if settings.anthropic_api_key:
        found.append(LiteLLMChat("anthropic", "Anthropic", settings.anthropic_api_key, "anthropic"))
    if settings.gemini_api_key:
        found.append(LiteLLMChat("gemini", "Gemini", settings.gemini_api_key, "gemini"))
    if settings.openrouter_api_key:
        found.append(
            OpenAICompatible("openrouter", "OpenRouter", OPENROUTER_URL, settings.openrouter_api_key, prefills=True)
        )
    if settings.ollama_base_url:
        found.append(OpenAICompatible("ollama", "Ollama", ollama_address(settings.ollama_base_url), prefills=True))
    found.append(DemoChat(varies=True))
    return {provider.slug: provider for provider in found}


def ollama_address(address: str) -> str:
    """Give the address of Ollama's OpenAI wire, whether or not `address` has its "/v1" already.

    Source: Ollama's own variables name the server without a path; its OpenAI wire lies under /v1.
    """
    trimmed = address.rstrip("/")
    return trimmed if trimmed.endswith("/v1") else f"{trimmed}/v1"


def split_model(model: str) -> tuple[str, str]:
    """Split "provider/model" at the first slash; the model's own id may hold more of them."""
    slug, _, model_id = model.partition("/")
    return slug, model_id


_installed: Mapping[str, ChatProvider] = {}


def install(providers: Mapping[str, ChatProvider]) -> None:
    """Make these the providers of this process."""
    global _installed
    _installed = dict(providers)


def current() -> Mapping[str, ChatProvider]:
    """Give the providers of this process, keyed by slug.

    Raises: LookupError when nothing was installed: an empty list would look like a choice.
    """
    if not _installed:
        raise LookupError("no providers are installed: call apps.providers.registry.install() at start")
    return _installed


@contextmanager
def installed(*providers: ChatProvider) -> Iterator[None]:
    """Swap the providers of this process while the block runs; for tests."""
    before = _installed
    install({provider.slug: provider for provider in providers})
    try:
        yield
    finally:
        install(before)
