"""App configuration of conversations: its part of readiness and figures."""

from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    name = "apps.conversations"

    def ready(self) -> None:
        # It needs the models, which are not there before.
        from apps.conversations.services import queue  # noqa: PLC0415

        queue.register()
