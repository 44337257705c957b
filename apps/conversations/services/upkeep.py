"""Keeping the house: ending what is dead, removing what has run out. Safe to repeat, and bounded in time and memory.

The scheduler, the web process that has none, and `manage.py sweep` call it; what breaks the rules of the database is for `repairs`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from itertools import groupby
from time import monotonic
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, Model, OuterRef, QuerySet
from django.utils import timezone

from apps.accounts.services import expiry
from apps.conversations.models import Conversation, Generation, GenerationState, Message, MessageStatus
from apps.conversations.models.generation import ACTIVE_STATES
from apps.conversations.services import generations, runners
from apps.conversations.services.answer_repairs import settle_messages
from apps.conversations.services.purge import purge
from apps.core.locks import only_one

BATCH = 1000
# A generation ends with its message, in one transaction: only what a bug left lately is looked for here, doctor finds all.
LOOKED_BACK = timedelta(days=2)

GoOn = Callable[[], bool]


def run(
    *, dry_run: bool = False, seconds: float = math.inf, over: Callable[[], bool] = lambda: False
) -> dict[str, int]:
    """Do the whole upkeep, and give a count for each kind of thing that was ended or removed.

    Shape: with `dry_run` nothing changes and the counts are the same. After so many seconds, or when it is `over`, it stops
        between two transactions; the next time goes on.
    Raises: Locked while another upkeep runs, in whichever process.
    """
    until = monotonic() + seconds

    def go_on() -> bool:
        return monotonic() < until and not over()

    with only_one("sweep"):
        counts = {
            "generations": generations.count_dead() if dry_run else generations.sweep(),
            "unfinished_messages": _end_unfinished(dry_run),
            "runners": _remove(runners.gone(), dry_run, go_on),
            "sessions": _remove(expiry.expired_sessions(), dry_run, go_on),
            "sign_in_links": _remove(expiry.spent_links(), dry_run, go_on),
            "tokens": _remove(expiry.revoked_tokens(), dry_run, go_on),
        }
        purged = purge(dry_run=dry_run, go_on=go_on)
        return {**counts, "conversations": purged.conversations, "messages": purged.messages}


def _remove(rows: QuerySet[Model], dry_run: bool, go_on: GoOn) -> int:
    """Remove rows in batches, each a transaction of its own."""
    if dry_run:
        return rows.count()
    removed = 0
    while go_on() and (ids := list(rows.values_list("pk", flat=True)[:BATCH])):
        removed += rows.model._default_manager.filter(pk__in=ids).delete()[0]
    return removed


def _end_unfinished(dry_run: bool) -> int:
    """End messages that are marked as being written, whose generation ended without them."""
    since = timezone.now() - LOOKED_BACK
    ended = [state for state in GenerationState if state not in ACTIVE_STATES]
    active = Generation.objects.active().filter(message=OuterRef("message"))
    found = Generation.objects.filter(
        ~Exists(active), state__in=ended, queued_at__gt=since, message__status=MessageStatus.STREAMING
    )
    rows = sorted(set(found.values_list("conversation_id", "message_id")))
    if not dry_run:
        for conversation_id, group in groupby(rows, key=lambda row: row[0]):
            _settle(conversation_id, [message_id for _, message_id in group if message_id is not None])
    return len(rows)


def _settle(conversation_id: UUID, ids: list[UUID]) -> None:
    with transaction.atomic():
        Conversation.objects.select_for_update().filter(pk=conversation_id).first()
        still = Message.objects.filter(pk__in=ids, status=MessageStatus.STREAMING)
        settle_messages(conversation_id, list(still.values_list("pk", flat=True)))
