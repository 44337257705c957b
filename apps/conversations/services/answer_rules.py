"""What holds of answers and the generations that write them: leases, batches, and what messages say of both."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now

from apps.conversations.models import Generation, GenerationState
from apps.conversations.services.findings import Examination, Found, Rule, Scope, by_sql

# A runner takes what is queued within a second; with none running, it waits.
LONGEST_WAIT = timedelta(hours=1)

RULES = [
    Rule("message_streaming", "A message that is being written has an active generation."),
    Rule("message_status", "A message's status is that of its last generation."),
    Rule("generation_place", "A generation belongs to its message's conversation and to the owner."),
    Rule("generation_lease", "A running generation has a lease, and nothing outlives its lease by another."),
    Rule(
        "generation_waiting",
        "No generation waits for an hour.",
        "No runner takes it. Start one (run_web, or run_generations with BOUGH_GENERATIONS=external), or stop the answer.",
    ),
    Rule("generation_batch", "One batch of answers at a time is written in a conversation."),
]

ANSWERS = """
SELECT m.id, m.conversation_id, {facets} FROM (
    SELECT m.id, m.conversation_id, m.status,
        EXISTS (
            SELECT 1 FROM conversations_generation g WHERE g.message_id = m.id AND g.state IN ('queued', 'running')
        ) AS active,
        (SELECT CASE g.state WHEN 'completed' THEN 'complete' ELSE g.state END FROM conversations_generation g
            WHERE g.message_id = m.id ORDER BY g.queued_at DESC, g.id DESC LIMIT 1) AS ended
    FROM conversations_message m WHERE {scope}
) m
"""
STATUS = {
    "message_streaming": "m.status = 'streaming' AND NOT m.active",
    "message_status": "(m.active AND m.status <> 'streaming') OR (NOT m.active AND m.status <> m.ended)",
}
GENERATIONS = """
SELECT g.id, g.conversation_id, {facets}
FROM conversations_generation g
LEFT JOIN conversations_message m ON m.id = g.message_id
LEFT JOIN conversations_conversation c ON c.id = g.conversation_id
WHERE {scope}
"""
OWN = {"generation_place": "m.conversation_id <> g.conversation_id OR g.user_id <> c.owner_id"}


def find_leaseless(scope: Scope) -> Iterator[Found]:
    """Find generations whose runner is gone, and that nobody swept for the time of one lease."""
    a_lease_ago = Now() - timedelta(seconds=settings.GENERATION["lease_seconds"])
    lapsed = Q(lease_until__isnull=True) | Q(lease_until__lt=a_lease_ago)
    return _found("generation_lease", Generation.objects.filter(lapsed, state=GenerationState.RUNNING), scope)


def find_waiting(scope: Scope) -> Iterator[Found]:
    """Find generations that nobody begins."""
    waiting = Generation.objects.filter(state=GenerationState.QUEUED, queued_at__lt=Now() - LONGEST_WAIT)
    return _found("generation_waiting", waiting, scope)


def find_second_batches(scope: Scope) -> Iterator[Found]:
    """Find active answers of a batch that began while another was being written."""
    active = Generation.objects.active().answers()
    batches = active.values("conversation_id").annotate(number=Count("batch", distinct=True)).filter(number__gt=1)
    for conversation_id in list(batches.values_list("conversation_id", flat=True)):
        rows = active.filter(conversation_id=conversation_id).order_by("queued_at", "pk")
        first, *_ = rows.values_list("batch", flat=True)
        yield from _found("generation_batch", rows.exclude(batch=first), scope)


def _found(rule: str, rows: QuerySet[Generation], scope: Scope) -> Iterator[Found]:
    for pk, conversation_id in scope.narrow(rows).values_list("pk", "conversation_id").iterator(chunk_size=2000):
        yield Found(rule, pk, conversation_id)


EXAMINATIONS = [
    Examination("messages", by_sql(ANSWERS, column="m.id", facets=[STATUS])),
    Examination("generations", by_sql(GENERATIONS, column="g.id", facets=[OWN])),
    Examination("", find_leaseless),
    Examination("", find_waiting),
    Examination("", find_second_batches),
]
