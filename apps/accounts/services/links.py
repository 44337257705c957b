"""One-time links that sign a user in, as the terminal prints them."""

from __future__ import annotations

import secrets
from datetime import timedelta

from django.utils import timezone

from apps.accounts.models import SignInLink, User
from apps.core.errors import DomainError, NotPossible
from apps.core.security import digest_of

VALID_FOR = timedelta(minutes=15)
RANDOM_BYTES = 32


class LinkSpent(DomainError):
    """Used, run out, or never made: which of them is nobody's business."""

    code, status, message = "link_spent", 404, "This sign-in link was used already or has run out."


def make_link(*, user: User) -> tuple[SignInLink, str]:
    """Make a link for a user and give it together with the only copy of its secret; it works once, for 15 minutes.

    Raises: NotPossible for a user that is switched off.
    """
    if not user.is_active:
        raise NotPossible("This user is switched off.")
    plain = secrets.token_urlsafe(RANDOM_BYTES)
    row = SignInLink.objects.create(user=user, digest=digest_of(plain), expires_at=timezone.now() + VALID_FOR)
    return row, plain


def use_link(*, secret: str) -> User:
    """Spend a link and give its user.

    Raises: LinkSpent unless it is fresh, and its user switched on.
    Effects: compare-and-set, so of two clicks at once one wins.
    """
    now = timezone.now()
    link = SignInLink.objects.select_related("user").filter(digest=digest_of(secret)).first()
    if link is None or not link.user.is_active:
        raise LinkSpent
    if not SignInLink.objects.filter(pk=link.pk, used_at__isnull=True, expires_at__gt=now).update(used_at=now):
        raise LinkSpent
    return link.user
