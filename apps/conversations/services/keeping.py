"""How long what is deleted is kept: until then it can be restored, and then it is purged."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

KEPT_FOR = timedelta(days=30)


def cutoff() -> datetime:
    """Give the time before which what was deleted is gone for good."""
    return timezone.now() - KEPT_FOR
