"""One look at what Redis holds of an answer, from a thread and without a bus: for whoever cleans up after a dead writer."""

from redis import Redis
from redis.exceptions import RedisError

from apps.core.logs import get_logger
from apps.streaming import redis_wire as wire
from apps.streaming.answers import Snapshot

log = get_logger(__name__)
# Seconds. Cleaning up goes on with the row alone where Redis is away.
PATIENCE = 1.0


def read_snapshot(url: str, live: str, *, prefix: str = "bough") -> Snapshot | None:
    """Read an answer as it stands; None if nothing whole is held, or if Redis does not say within a second."""
    try:
        with Redis.from_url(url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE) as client:
            reply = client.eval(wire.READ, 1, wire.Names(prefix).meta(live), live)
            return wire.unpack_snapshot(live, reply)
    except (RedisError, OSError, ValueError) as error:
        log.warning("snapshot-not-read", generation=live, error=type(error).__name__)
        return None
