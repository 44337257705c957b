"""App configuration of the catalogue of language models."""

from django.apps import AppConfig


class ModelsConfig(AppConfig):
    name = "apps.models"
    verbose_name = "Language models"
