"""Makes the `.env` file of a new installation. Reading it is the work of settings."""

import os
import secrets
from base64 import urlsafe_b64encode
from pathlib import Path


def ensure_env_file(path: Path) -> bool:
    """Write `.env` with fresh secrets unless it is there, and tell whether it was written.

    Effects: the file is readable by its owner alone.
    """
    if path.exists():
        return False
    lines = [
        "# Made at the first start. Keep it: without these keys, signed-in sessions and stored keys are lost.",
        f"SECRET_KEY={secrets.token_urlsafe(48)}",
        f"FIELD_KEY={urlsafe_b64encode(secrets.token_bytes(32)).decode()}",
    ]
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(lines) + "\n")
    return True
