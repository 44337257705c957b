"""What has run out and opens nothing any more: for upkeep to count, and to remove."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.utils import timezone

from apps.accounts.models import ApiToken, SignInLink

# So long a revoked token can still be looked up in /admin/.
REVOKED_KEPT_FOR = timedelta(days=30)


def expired_sessions() -> QuerySet[Session]:
    """Keep sessions whose time is over."""
    return Session.objects.filter(expire_date__lt=timezone.now())


def spent_links() -> QuerySet[SignInLink]:
    """Keep sign-in links that have run out; a used one runs out as well."""
    return SignInLink.objects.filter(expires_at__lt=timezone.now())


def revoked_tokens() -> QuerySet[ApiToken]:
    """Keep tokens that were revoked a month ago."""
    return ApiToken.objects.filter(revoked_at__lt=timezone.now() - REVOKED_KEPT_FOR)
