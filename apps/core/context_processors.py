"""What the frame of every page needs."""

from typing import Any


def frame(request: Any) -> dict[str, Any]:
    return {}
