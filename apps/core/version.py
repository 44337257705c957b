"""Which Bough this is."""

from functools import cache
from tomllib import loads

from django.conf import settings


@cache
def version() -> str:
    """Give the version that pyproject.toml states."""
    project = loads((settings.BASE_DIR / "pyproject.toml").read_text())["project"]
    return str(project["version"])
