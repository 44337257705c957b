"""What Bough decides where allauth asks: who may sign up, where one may be sent, and how MFA secrets are kept."""

from smtplib import SMTPException
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.contrib.messages.constants import ERROR  # noqa: TID251  (this is the view side of allauth)
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _

from apps.accounts.services.users import EMAIL_LENGTH
from apps.core.errors import Unavailable
from apps.core.logs import get_logger
from apps.core.security import client_address, decrypt, encrypt

log = get_logger(__name__)

# Where a secret of MFA is kept, for the cipher: changing it makes every stored one unreadable.
PURPOSE = "mfa"


class AccountAdapter(DefaultAccountAdapter):
    """Accounts as this site is set up."""

    error_messages = DefaultAccountAdapter.error_messages | {
        # The same sentence whatever was typed: it tells nobody which names exist.
        "email_password_mismatch": _("That name and password don't fit together."),
        "username_password_mismatch": _("That name and password don't fit together."),
        "too_many_login_attempts": _("Too many attempts. Wait a few minutes and try again."),
        "enter_current_password": _("That isn't your current password."),
    }

    def is_open_for_signup(self, request: Any) -> bool:
        """Tell whether strangers may sign up; with `invite` they can't either, for the administrator makes the user."""
        return bool(settings.SIGNUP == "open")

    def clean_email(self, email: str) -> str:
        """Refuse an address that the column can't hold; forms let 320 characters pass."""
        if len(email) > EMAIL_LENGTH:
            raise ValidationError(_("That address is too long."))
        return str(super().clean_email(email))

    def is_safe_url(self, url: str) -> bool:
        """Tell whether `next` stays on this very site; other hosts of ALLOWED_HOSTS are not this site."""
        request = context.request
        return url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())

    def confirm_email(self, request: Any, email_address: Any) -> bool:
        """Confirm an address, unless another user signs in with it meanwhile: then nothing changes."""
        try:
            with transaction.atomic():
                return bool(super().confirm_email(request, email_address))
        except IntegrityError:
            failed = "account/messages/email_confirmation_failed.txt"
            self.add_message(request, ERROR, failed, {"email": email_address.email})
            return False

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send a mail.

        Raises: Unavailable if the mail server can't be reached or refuses: a fault of ours, not of the form.
        """
        try:
            super().send_mail(template_prefix, email, context)
        except (SMTPException, OSError) as error:
            log.error("mail-failed", template=template_prefix, error=type(error).__name__)
            raise Unavailable("Mail can't be sent right now. Try again later, or ask your administrator.") from None

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
