"""What operators see of answers: one log line for each step of their life, and figures. Never text, keys or addresses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec

from django.db import transaction
from django.utils import timezone
from prometheus_client import Counter, Gauge, Histogram

from apps.conversations.models import Generation, GenerationState, Purpose
from apps.conversations.services.endings import Ending
from apps.core.logs import current_request_id, get_logger
from apps.core.metrics import REGISTRY, Few
from apps.core.security import pseudonym

log = get_logger(__name__)
P = ParamSpec("P")

EVENTS = {
    GenerationState.COMPLETED: "generation-finished",
    GenerationState.STOPPED: "generation-stopped",
    GenerationState.FAILED: "generation-failed",
    GenerationState.INTERRUPTED: "generation-interrupted",
}
TO_FIRST = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120)
TO_END = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 900)

IN_HAND = Gauge("bough_answers_active", "Answers and titles that this process is writing.", registry=REGISTRY)
LEASES_LOST = Counter("bough_leases_lost", "Answers that another runner took over meanwhile.", registry=REGISTRY)
ENDED = Counter("bough_generations", "Answers that ended, by how.", ["state", "model"], registry=REGISTRY)
ERRORS = Counter("bough_generation_errors", "Answers that failed, by why.", ["code", "model"], registry=REGISTRY)
TOKENS = Counter("bough_tokens", "Tokens as providers count them.", ["direction", "model"], registry=REGISTRY)
FIRST = Histogram(
    "bough_first_token_seconds",
    "From queued to the first token shown.",
    ["provider"],
    buckets=TO_FIRST,
    registry=REGISTRY,
)
TOTAL = Histogram(
    "bough_answer_seconds",
    "From queued to the end of complete answers.",
    ["provider"],
    buckets=TO_END,
    registry=REGISTRY,
)
_models, _providers, _codes = Few(), Few(), Few()


def origin(number: int) -> dict[str, Any]:
    """Name the request at hand, and how many models it asks, for a generation to carry to whoever writes it."""
    request = current_request_id.get()
    return {**({"request_id": request} if request else {}), **({"of": number} if number > 1 else {})}


def _harmless(tell: Callable[P, None]) -> Callable[P, None]:
    """Keep what breaks while telling away from what is told: an answer never fails for it."""

    @wraps(tell)
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            tell(*args, **kwargs)
        except Exception:
            log.exception("observation-failed", step=tell.__name__)

    return told


def queued(generation: Generation) -> None:
    """Tell that an answer waits for a runner, once that is committed."""
    if generation.purpose == Purpose.ANSWER:
        transaction.on_commit(lambda: _queued(generation))


@_harmless
def _queued(generation: Generation) -> None:
    log.info("generation-queued", **_named(generation))


@_harmless
def started(generation: Generation) -> None:
    """Tell that a runner took an answer in hand."""
    if generation.purpose == Purpose.ANSWER:
        log.info("generation-started", **_named(generation), queued_ms=_since_queued(generation, timezone.now()))


@_harmless
def began(generation: Generation, at: datetime) -> None:
    """Tell that the first delta of an answer was shown."""
    ttft_ms = _since_queued(generation, at)
    FIRST.labels(_providers(_model(generation)[0])).observe(ttft_ms / 1000)
    log.info("generation-first-delta", **_named(generation), ttft_ms=ttft_ms)


@_harmless
def ended(generation: Generation, ending: Ending) -> None:
    """Tell how an answer ended, and count it; call it once its ending is committed."""
    provider, model = _model(generation)
    label = _models(f"{provider}/{model}")
    duration_ms = ending.duration_ms
    if duration_ms is None:
        duration_ms = _since_queued(generation, timezone.now())
    tokens = {"in": ending.usage.get("prompt_tokens"), "out": ending.usage.get("completion_tokens")}
    ENDED.labels(ending.state, label).inc()
    for direction, number in tokens.items():
        TOKENS.labels(direction, label).inc(number or 0)
    if ending.state == GenerationState.COMPLETED:
        TOTAL.labels(_providers(provider)).observe(duration_ms / 1000)
    if ending.state == GenerationState.FAILED:
        ERRORS.labels(_codes(ending.error_code), label).inc()
    figures = {"ttft_ms": ending.ttft_ms, "tokens_in": tokens["in"], "tokens_out": tokens["out"]}
    words = {"finish_reason": ending.finish_reason, "error": ending.error_code}
    told = {name: value for name, value in {**figures, **words}.items() if value not in (None, "")}
    log.info(EVENTS[GenerationState(ending.state)], **_named(generation), duration_ms=duration_ms, **told)


def _named(generation: Generation) -> dict[str, Any]:
    """Name an answer in a line; its user by a pseudonym, and its place among several models where there are."""
    provider, model = _model(generation)
    named = {
        "request_id": generation.request.get("request_id", ""),
        "generation": str(generation.pk),
        "message": str(generation.message_id),
        "conversation": str(generation.conversation_id),
        "user": pseudonym(str(generation.user_id)),
        "provider": provider,
        "model": model,
        "attempt": generation.attempt,
    }
    if generation.request.get("of", 1) > 1:
        named |= {"batch": str(generation.batch), "rank": generation.rank}
    return named


def _model(generation: Generation) -> tuple[str, str]:
    provider, _, model = generation.request.get("model", "").partition("/")
    return provider, model


def _since_queued(generation: Generation, now: datetime) -> int:
    """Measure in milliseconds; a clock that was set back gives 0."""
    return max(0, int((now - generation.queued_at).total_seconds() * 1000))
