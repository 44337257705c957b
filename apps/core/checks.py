"""System checks with the tag `bough`: what starts, and yet will hurt. What must not start at all, the settings refuse."""

import os
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from apps.core.security import is_network

TAG = "bough"
# 128 bits as letters and digits; a generated key has more.
SHORT_KEY = 22
# Ours, which the settings put in place of Django's.
SQLITE_ENGINES = ("apps.core.sqlite", "django.db.backends.sqlite3")


@register(TAG)
def check_field_keys(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if all(len(key) >= SHORT_KEY for key in settings.FIELD_KEYS):
        return []
    return [
        Warning(
            "A key in FIELD_KEY is so short that it could be guessed from a copy of the database.",
            hint="Put a new one of 32 random characters in front of it, behind a comma the old one.",
            id="bough.W001",
        )
    ]


@register(TAG)
def check_data_folder(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    folder = settings.DATA_DIR
    if not folder.exists() or os.access(folder, os.W_OK):
        return []
    return [
        Error("The data folder can't be written to.", hint=f"Let this user write to {folder}.", id="bough.E001"),
    ]


@register(TAG)
def check_sqlite(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    database = settings.DATABASES["default"]
    if database["ENGINE"] not in SQLITE_ENGINES:
        return []
    if database.get("OPTIONS", {}).get("transaction_mode") == "IMMEDIATE":
        return []
    return [
        Error(
            "SQLite must begin its transactions with IMMEDIATE: else two writers meet 'database is locked'.",
            id="bough.E002",
        )
    ]


@register(TAG)
def check_proxy_addresses(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    wrong = [entry for entry in settings.TRUSTED_PROXIES if not is_network(entry)]
    if not wrong:
        return []
    return [
        Error(
            f"TRUSTED_PROXIES holds what is no address: {', '.join(wrong)}.",
            hint="Give addresses or networks, for example 127.0.0.1,10.0.0.0/8.",
            id="bough.E003",
        )
    ]


@register(TAG)
def check_shape(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if settings.GENERATIONS_HOST == "inline" or settings.REDIS_URL:
        return []
    return [
        Warning(
            "Other processes write the answers, and no Redis carries them: readers see text seconds late.",
            hint="Set REDIS_URL, or leave BOUGH_GENERATIONS unset.",
            id="bough.W005",
        )
    ]


@register(TAG, deploy=True)
def check_plain_http(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if settings.SITE_IS_LOOPBACK or settings.SITE_URL.startswith("https://"):
        return []
    return [
        Warning(
            "SITE_URL is plain http, and not this machine: passwords and messages cross the network readable.",
            hint="Put a proxy with a certificate in front, and set SITE_URL=https://…",
            id="bough.W002",
        )
    ]


@register(TAG, deploy=True)
def check_proxy(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if not settings.SITE_URL.startswith("https://") or settings.TRUSTED_PROXIES:
        return []
    return [
        Warning(
            "SITE_URL is https, but no proxy is trusted: every request will look like plain http, and sign-in will loop.",
            hint="Set TRUSTED_PROXIES to the address of the proxy, for example 127.0.0.1.",
            id="bough.W003",
        )
    ]


@register(TAG, deploy=True)
def check_mail(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if settings.SIGNUP != "open" or "console" not in settings.EMAIL_BACKEND:
        return []
    return [
        Warning(
            "Anyone may sign up, and mail only goes to the console: nobody can confirm an address or reset a password.",
            hint="Set EMAIL_URL, for example smtp+tls://user:password@mail.example.org:587.",
            id="bough.W004",
        )
    ]
