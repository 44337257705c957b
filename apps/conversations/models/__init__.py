"""The tree: conversations, messages and their revisions, runs, the generations that write answers, and their runners.

What touches two rows lives in services; here are fields, constraints, reads by QuerySet, and rules without I/O.
"""

from apps.conversations.models.conversation import Conversation, ConversationStatus, TitleSource
from apps.conversations.models.generation import Generation, GenerationState, Purpose
from apps.conversations.models.message import Message, MessageRevision, MessageStatus, Role, Run
from apps.conversations.models.runner_process import RunnerProcess

__all__ = [
    "Conversation",
    "ConversationStatus",
    "Generation",
    "GenerationState",
    "Message",
    "MessageRevision",
    "MessageStatus",
    "Purpose",
    "Role",
    "Run",
    "RunnerProcess",
    "TitleSource",
]
