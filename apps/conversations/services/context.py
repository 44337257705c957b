"""What a model is sent: the newest messages of the path that fit the budget, the new message always.

Summaries, pins and similar messages are not here yet.
"""

from __future__ import annotations

from collections.abc import Sequence

from apps.conversations.models import Message, Role
from apps.conversations.services.nodes import estimate_tokens
from apps.providers.base import ChatMessage

# Source: defaults of the context's design.
BUDGET_TOKENS = 8_000
SENT_ROLES = {Role.USER: "user", Role.ASSISTANT: "assistant", Role.SYSTEM: "system"}


def build_context(path: Sequence[Message], *, budget_tokens: int = BUDGET_TOKENS) -> tuple[ChatMessage, ...]:
    """Choose what is sent of a path.

    Shape: `path` oldest first, ending with the message to answer; so is the result. Messages without text, such as a
    failed answer, are left out. The last message is always in; the others from the newest on while they fit.
    """
    chosen: list[ChatMessage] = []
    left = budget_tokens
    for message in reversed(path):
        role = SENT_ROLES.get(Role(message.role))
        if role is None or not message.text:
            continue
        left -= message.token_estimate or estimate_tokens(message.text)
        if chosen and left < 0:
            break
        chosen.append(ChatMessage(role=role, content=message.text))  # type: ignore[arg-type]
    return tuple(reversed(chosen))
