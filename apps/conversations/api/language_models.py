"""The language models that the user can choose from."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Router

from apps.conversations.schemas.language_models import Capabilities, LanguageModelOut, LanguageModels
from apps.models.services import catalogue

router = Router(tags=["models"], by_alias=True)


@router.get("/models", response=LanguageModels, summary="List the language models you can use")
def language_model_list(request: HttpRequest) -> LanguageModels:
    models = [
        LanguageModelOut(
            model_id=model.model_id,
            name=model.name,
            provider=model.provider,
            # Until a catalogue says more, a model counts as unknown and as able to do the least.
            capabilities=Capabilities(),
            known=model.known,
            available=model.available,
        )
        for model in catalogue.available()
    ]
    return LanguageModels(models=models)
