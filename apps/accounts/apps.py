"""App configuration of accounts; nothing runs at start here."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "apps.accounts"
