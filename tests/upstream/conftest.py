from tests.upstream.fixtures import upstream  # noqa: F401
