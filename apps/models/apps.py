"""App configuration of the catalogue: at start it installs the providers that settings name."""

from django.apps import AppConfig
from django.conf import settings

from apps.providers.registry import ProviderSettings, build_providers, install


class ModelsConfig(AppConfig):
    name = "apps.models"
    verbose_name = "Language models"

    def ready(self) -> None:
        install(build_providers(ProviderSettings(**settings.PROVIDER_ENVIRONMENT)))
