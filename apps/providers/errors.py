"""What can go wrong at a provider, in kinds that programs act on and sentences that people read.

Not here: reading any provider's wire; each client translates what it saw into a kind.
"""

from __future__ import annotations

from enum import StrEnum


class ErrorKind(StrEnum):
    """Why a call failed; the values are stored and shown to programs."""

    KEY_REFUSED = "key_refused"
    NO_CREDIT = "no_credit"
    OVERLOADED = "overloaded"
    RATE_LIMITED = "rate_limited"
    TIMED_OUT = "timed_out"
    CUT_OFF = "cut_off"
    MODEL_GONE = "model_gone"
    TOO_LONG = "too_long"
    FILTERED = "filtered"
    UNAVAILABLE = "unavailable"
    BAD_REQUEST = "bad_request"
    MALFORMED = "malformed"


# The same call may succeed a moment later. Whether it may be made again is the caller's to decide: never
# once a delta came.
RETRYABLE = frozenset(
    {
        ErrorKind.OVERLOADED,
        ErrorKind.RATE_LIMITED,
        ErrorKind.TIMED_OUT,
        ErrorKind.CUT_OFF,
        ErrorKind.UNAVAILABLE,
    }
)

_SENTENCES = {
    ErrorKind.KEY_REFUSED: "{name} refused the API key.",
    ErrorKind.NO_CREDIT: "The {name} account has no credit left.",
    ErrorKind.OVERLOADED: "{name} is overloaded.",
    ErrorKind.RATE_LIMITED: "{name} limits how often it may be asked.",
    ErrorKind.TIMED_OUT: "{name} did not answer in time.",
    ErrorKind.CUT_OFF: "The connection to {name} broke.",
    ErrorKind.MODEL_GONE: "{model} is no longer offered.",
    ErrorKind.TOO_LONG: "The conversation is too long for {model}.",
    ErrorKind.FILTERED: "{name} withheld this answer.",
    ErrorKind.UNAVAILABLE: "{name} cannot be reached.",
    ErrorKind.BAD_REQUEST: "{name} did not accept the request.",
    ErrorKind.MALFORMED: "{name} sent an answer that cannot be read.",
}


class ProviderError(Exception):
    """A call of a provider that failed.

    Shape: `message` is a plain sentence for the reader of the conversation: it holds neither a key nor
    anything the provider sent. `status` is the provider's HTTP status, if there was one.
    Units: `retry_after` in seconds.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str = "",
        *,
        retry_after: float | None = None,
        status: int | None = None,
        retryable: bool | None = None,
    ) -> None:
        self.kind = kind
        self.message = message or sentence(kind, name="The provider")
        self.retry_after = retry_after
        self.status = status
        self.retryable = kind in RETRYABLE if retryable is None else retryable
        super().__init__(self.message)

    def __repr__(self) -> str:
        return f"ProviderError({self.kind.value!r}, {self.message!r}, status={self.status})"


def sentence(kind: ErrorKind, *, name: str, model: str = "") -> str:
    """Say in a plain sentence what went wrong at the provider called `name`."""
    return _SENTENCES[kind].format(name=name, model=model or "this model")


def cut_off(*, name: str, has_begun: bool) -> ProviderError:
    """Say that the connection broke; once the answer has begun, asking again would pay for it twice."""
    if has_begun:
        return ProviderError(ErrorKind.CUT_OFF, "The connection to the model broke.", retryable=False)
    return ProviderError(ErrorKind.CUT_OFF, sentence(ErrorKind.CUT_OFF, name=name))
