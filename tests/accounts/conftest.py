"""Accounts' tests: rate limits count from nothing in each."""

import pytest
from django.core.cache import cache


@pytest.fixture(autouse=True)
def _no_limits_used_up():
    cache.clear()
    yield
    cache.clear()
