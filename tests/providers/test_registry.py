import sys

import pytest

from apps.providers import registry
from apps.providers.demo import DemoChat
from apps.providers.litellm_chat import LiteLLMChat
from apps.providers.openai_wire import OpenAICompatible
from apps.providers.registry import ProviderSettings, build_providers, ollama_address, split_model
from apps.providers.scripted import ScriptedChat


def test_without_settings_the_demo_model_is_there():
    assert list(build_providers(ProviderSettings())) == ["demo"]


def test_each_key_or_address_makes_a_provider_and_the_demo_comes_last():
    providers = build_providers(
        ProviderSettings(
            openai_api_key="a",
            anthropic_api_key="b",
            gemini_api_key="c",
            openrouter_api_key="d",
            ollama_base_url="http://localhost:11434",
        )
    )
    assert {slug: type(provider) for slug, provider in providers.items()} == {
        "openai": OpenAICompatible,
        "anthropic": LiteLLMChat,
        "gemini": LiteLLMChat,
        "openrouter": OpenAICompatible,
        "ollama": OpenAICompatible,
        "demo": DemoChat,
    }
    assert list(providers)[-1] == "demo"
    assert providers["openai"].base_url == "https://api.openai.com/v1"


def test_an_address_alone_makes_the_openai_provider():
    providers = build_providers(ProviderSettings(openai_base_url="http://localhost:8080/v1/"))
    assert providers["openai"].base_url == "http://localhost:8080/v1"


@pytest.mark.parametrize("address", ["http://localhost:11434", "http://localhost:11434/", "http://localhost:11434/v1/"])
def test_ollama_is_asked_on_its_openai_wire(address):
    assert ollama_address(address) == "http://localhost:11434/v1"


def test_building_does_not_import_litellm():
    before = "litellm" in sys.modules
    build_providers(ProviderSettings(anthropic_api_key="b"))
    assert ("litellm" in sys.modules) == before


def test_settings_do_not_show_their_keys():
    assert "sk-secret" not in repr(ProviderSettings(openai_api_key="sk-secret", openrouter_api_key="sk-secret"))


def test_a_models_name_is_split_at_the_first_slash():
    assert split_model("openrouter/meta/llama-4") == ("openrouter", "meta/llama-4")


def test_providers_can_be_swapped_for_a_while():
    before = registry.current()
    chat = ScriptedChat()
    with registry.installed(chat):
        assert registry.current() == {"scripted": chat}
    assert registry.current() == before


def test_without_installed_providers_asking_for_them_is_an_error():
    with registry.installed(), pytest.raises(LookupError):
        registry.current()
