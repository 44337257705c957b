"""The Django app of the ground floor: templates and system checks, no tables."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "apps.core"

    def ready(self) -> None:
        # Importing registers the checks; they need the settings, which are not there before.
        from apps.core import checks  # noqa: F401, PLC0415
