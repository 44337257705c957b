"""How many answers a user may have: at once, and within a window. Counted from the generations themselves.

So the limits are the same through every door and in every process, and a restart forgets nothing.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Count, Min, Q

from apps.accounts.models import User
from apps.conversations.models import Generation, GenerationState
from apps.conversations.models.generation import ACTIVE_STATES
from apps.core.errors import TooManyRequests

# A failed answer of which nothing was seen is not counted: nobody had anything of it.
UNSEEN = Q(state=GenerationState.FAILED, first_delta_at__isnull=True)


def check(user_id: UUID, *, now: datetime, wanted: int = 1) -> None:
    """Refuse further answers beyond the user's limits.

    Raises: TooManyRequests with limit, remaining and reset (seconds).
    Effects: locks the user's row until the transaction ends, so that two sends at once can't both be the last.
    """
    if connection.features.has_select_for_update:  # SQLite's transaction holds the only lock there is
        User.objects.select_for_update(no_key=True).only("pk").get(pk=user_id)
    limit, window = settings.GENERATIONS_PER_USER, timedelta(seconds=settings.GENERATIONS_WINDOW_SECONDS)
    found = (
        Generation.objects.answers()
        .filter(user_id=user_id, queued_at__gt=now - window)
        .exclude(UNSEEN)
        .aggregate(used=Count("pk"), oldest=Min("queued_at"), active=Count("pk", filter=Q(state__in=ACTIVE_STATES)))
    )
    at_once = settings.GENERATIONS_AT_ONCE
    if found["active"] + wanted > at_once:
        sentence = f"{found['active']} answers are being written for you already; {at_once} at once is the limit."
        raise TooManyRequests(sentence, limit=at_once, remaining=max(0, at_once - found["active"]), reset=5)
    if found["used"] + wanted > limit:
        reset = max(1, math.ceil((found["oldest"] + window - now).total_seconds()))
        raise TooManyRequests(
            f"Limit reached: {limit} answers in {_in_words(window)}.",
            limit=limit,
            remaining=max(0, limit - found["used"]),
            reset=reset,
        )


def _in_words(window: timedelta) -> str:
    """Say a window in its largest whole unit."""
    seconds = int(window.total_seconds())
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} seconds"
