"""Language models as the API shows them."""

from __future__ import annotations

from apps.conversations.schemas.base import Answer


class Capabilities(Answer):
    """What a model can do; one that the catalogue does not know can do the least."""

    supports_tools: bool = False
    supports_images: bool = False
    supports_reasoning: bool = False
    supports_files: bool = False
    context_length: int = 4096
    input_modalities: list[str] = ["text"]


class LanguageModelOut(Answer):
    model_id: str
    name: str
    provider: str
    capabilities: Capabilities
    known: bool
    available: bool


class LanguageModels(Answer):
    models: list[LanguageModelOut]
