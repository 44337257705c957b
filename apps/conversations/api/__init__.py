"""The HTTP API for programs. Its paths and fields are a contract (docs/api.md); what they do lives in services."""

from apps.conversations.api import chats, documentation, language_models, messages, streams
from apps.conversations.api.application import Api

__all__ = ["api"]

api = Api(
    title="Bough",
    version="1",
    description="Chats, their trees of messages, and answers as they are written.",
    urls_namespace="api",
)
for router in (chats.router, messages.router, streams.router, language_models.router):
    api.add_router("", router)
documentation.publish(api)
