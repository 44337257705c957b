from tests.servers import redis_server, shared_redis  # noqa: F401
