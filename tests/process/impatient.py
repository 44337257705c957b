"""The real settings, with less patience: what waits half a minute for a model or a lock would make tests as long."""

from config.settings import *  # noqa: F403
from config.settings import DATABASES, GENERATION

GENERATION |= {"first_delta_seconds": 5, "between_deltas_seconds": 2, "answer_bytes": 50_000}
if "timeout" in DATABASES["default"]["OPTIONS"]:
    DATABASES["default"]["OPTIONS"]["timeout"] = 2
