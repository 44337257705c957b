"""Fixtures that several modules here share."""

from tests.conversations.live_answers import calls, chat, runner, sound  # noqa: F401
from tests.conversations.tabs import tab  # noqa: F401
from tests.servers import redis_server, shared_redis  # noqa: F401
from tests.upstream.fixtures import upstream  # noqa: F401
