"""How many answers a user may have: at once, and within a window. Counted from the generations themselves.

So the limits are the same through every door and in every process, and a restart forgets nothing.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Q

from apps.accounts.models import User
from apps.conversations.models import Generation, GenerationState
from apps.conversations.services.columns import to_column
from apps.core.errors import GenerationInProgress, TooManyRequests
from apps.core.ids import NOWHERE

# A failed answer of which nothing was seen is not counted: nobody had anything of it. Written out, for it runs at every
# send, and building it anew cost a millisecond.
COUNT = """
SELECT COUNT(*), COALESCE(SUM(CASE WHEN state IN ('queued', 'running') THEN 1 ELSE 0 END), 0), EXISTS(
    SELECT 1 FROM conversations_generation
    WHERE conversation_id = %s AND purpose = 'answer' AND state IN ('queued', 'running')
)
FROM conversations_generation
WHERE user_id = %s AND queued_at > %s AND purpose = 'answer' AND NOT (state = 'failed' AND first_delta_at IS NULL)
"""


def check(user_id: UUID, *, now: datetime, wanted: int = 1, alone_in: UUID | None = None) -> None:
    """Refuse further answers beyond the user's limits: all that are wanted, if there is no room for all.

    Raises: GenerationInProgress while one is being written in the conversation they are to be `alone_in`;
        TooManyRequests with limit, remaining and reset (seconds).
    Effects: locks the user's row until the transaction ends, so that two sends at once can't both be the last.
    """
    if connection.features.has_select_for_update:  # SQLite's transaction holds the only lock there is
        User.objects.select_for_update(no_key=True).only("pk").get(pk=user_id)
    window = timedelta(seconds=settings.GENERATIONS_WINDOW_SECONDS)
    used, active, is_busy = _count(user_id, now - window, alone_in)
    if is_busy:
        raise GenerationInProgress
    limit, at_once = settings.GENERATIONS_PER_USER, settings.GENERATIONS_AT_ONCE
    if active + wanted > at_once:
        sentence = _too_many_at_once(wanted, active, at_once)
        raise TooManyRequests(sentence, limit=at_once, remaining=max(0, at_once - active), reset=5)
    if used + wanted > limit:
        sentence = f"Limit reached: {limit} answers in {_in_words(window)}."
        reset = _reset(user_id, now, window, leaving=min(used + wanted - limit, used))
        raise TooManyRequests(sentence, limit=limit, remaining=max(0, limit - used), reset=reset)


def _count(user_id: UUID, since: datetime, conversation_id: UUID | None) -> tuple[int, int, bool]:
    """Count a user's answers since a time, and those being written; and tell whether one is in the conversation."""
    place = to_column(conversation_id or NOWHERE)
    with connection.cursor() as cursor:
        cursor.execute(COUNT, [place, to_column(user_id), connection.ops.adapt_datetimefield_value(since)])
        used, active, is_busy = cursor.fetchone()
    return int(used), int(active), bool(is_busy)


def _too_many_at_once(wanted: int, active: int, at_once: int) -> str:
    if wanted == 1:
        return f"{active} answers are being written for you already; {at_once} at once is the limit."
    return f"{wanted} more would be {active + wanted} answers at once; {at_once} is the limit."


def _reset(user_id: UUID, now: datetime, window: timedelta, *, leaving: int) -> int:
    """Seconds until so many counted answers have left the window."""
    counted = Generation.objects.answers().filter(user_id=user_id, queued_at__gt=now - window)
    unseen = Q(state=GenerationState.FAILED, first_delta_at__isnull=True)
    oldest = counted.exclude(unseen).order_by("queued_at").values_list("queued_at", flat=True)
    last = oldest[max(0, leaving - 1) :].first()
    return max(1, math.ceil(((last or now) + window - now).total_seconds()))


def _in_words(window: timedelta) -> str:
    """Say a window in its largest whole unit."""
    seconds = int(window.total_seconds())
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} seconds"
