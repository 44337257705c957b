"""App configuration of conversations; nothing runs at start here."""

from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    name = "apps.conversations"
