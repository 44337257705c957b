"""What Bough decides where allauth asks: who may sign up, where one may be sent, and how MFA secrets are kept."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from apps.core.security import client_address, decrypt, encrypt

# Where a secret of MFA is kept, for the cipher: changing it makes every stored one unreadable.
PURPOSE = "mfa"


class AccountAdapter(DefaultAccountAdapter):
    """Accounts as this site is set up."""

    def is_open_for_signup(self, request: Any) -> bool:
        """Tell whether strangers may sign up; with `invite` they can't either, for the administrator makes the user."""
        return bool(settings.SIGNUP == "open")

    def is_safe_url(self, url: str) -> bool:
        """Tell whether `next` stays on this very site; other hosts of ALLOWED_HOSTS are not this site."""
        request = context.request
        return url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())

    def get_client_ip(self, request: Any) -> str:
        """Give whom a rate limit counts; behind a unix socket without a proxy that is everybody together."""
        return client_address(
            peer=request.META.get("REMOTE_ADDR") or "",
            forwarded_for=request.headers.get("X-Forwarded-For", ""),
            trusted=settings.TRUSTED_PROXIES,
        )

    def get_password_change_redirect_url(self, request: Any) -> str:
        return reverse("accounts:profile")


class MFAAdapter(DefaultMFAAdapter):
    """Secrets of authenticator apps and recovery codes, encrypted with FIELD_KEY."""

    def encrypt(self, text: str) -> str:
        return encrypt(text, purpose=PURPOSE)

    def decrypt(self, encrypted_text: str) -> str:
        return decrypt(encrypted_text, purpose=PURPOSE)
