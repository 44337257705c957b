"""One tree of errors: a code for programs, a sentence for people, an HTTP status as plain data. No HTTP here."""

from typing import Any, ClassVar


class DomainError(Exception):
    """Something the caller asked for can't be done; every door turns it into its own kind of answer."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 400
    message: ClassVar[str] = "That didn't work."

    def __init__(self, message: str = "", **data: Any) -> None:
        self.text = message or self.message
        self.data = data
        super().__init__(self.text)

    def as_dict(self) -> dict[str, Any]:
        """Give the body of an API error."""
        return {"error": self.code, "message": self.text, **self.data}


class NotFound(DomainError):
    """Not there, or not yours: the two must look the same."""

    code, status, message = "not_found", 404, "It doesn't exist or isn't yours."


class Malformed(DomainError):
    code, status, message = "malformed", 400, "The request can't be read."


class InvalidField(DomainError):
    """A field holds something that does not fit; `field` names it."""

    code, status, message = "invalid", 422, "A field doesn't fit."


class UnknownModel(InvalidField):
    code, message = "unknown_model", "There is no such model here."


class EmptyMessage(DomainError):
    code, status, message = "empty_message", 400, "The message is empty."


class TooLarge(DomainError):
    code, status, message = "too_large", 413, "That is too large."


class Conflict(DomainError):
    code, status, message = "conflict", 409, "The conversation changed meanwhile."


class InvalidLeaf(Conflict):
    code, message = "invalid_leaf", "That place in the conversation isn't there any more."


class GenerationInProgress(Conflict):
    code, message = "generation_in_progress", "An answer is still being written here. Wait for it or stop it."


class ConversationArchived(Conflict):
    code, message = "conversation_archived", "This conversation is archived. Restore it to go on."


class ClientIdReused(Conflict):
    code, message = "client_id_reused", "That client id was used for another message."


class HasForks(Conflict):
    code, message = "has_forks", "Other conversations were forked from this one."


class NotPossible(DomainError):
    """The request is understood and makes no sense for this row, such as regenerating a user's message."""

    code, status, message = "not_possible", 400, "That can't be done here."


class Unavailable(DomainError):
    code, status, message = "unavailable", 503, "The server can't do that right now. Try again in a moment."


class SignInNeeded(DomainError):
    """Nobody is signed in, or no valid token came along."""

    code, status, message = "not_signed_in", 401, "Please sign in first."


class Refused(DomainError):
    """Known who it is, and not allowed: a scope, a role, a forged form."""

    code, status, message = "forbidden", 403, "That isn't allowed."


class AlreadyThere(Conflict):
    code, message = "already_there", "That is there already."


class TooManyRequests(DomainError):
    """A limit is reached; `retry_after` in the data says for how many seconds."""

    code, status, message = "rate_limited", 429, "That was a bit much at once. Wait a moment and try again."


class Broken(DomainError):
    """Our own fault, told without details; the log has them under the request's id."""

    code, status, message = "server_error", 500, "Something broke on our side. Nothing was lost."
