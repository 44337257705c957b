import uuid
from datetime import UTC, datetime, timedelta

import pytest

from apps.core.ids import NOWHERE, first_id_at, new_id, parse_id


def test_ids_sort_in_the_order_they_were_made():
    made = [new_id() for _ in range(1000)]
    assert made == sorted(made)
    assert all(one.version == 7 for one in made)


@pytest.mark.parametrize("value", ["", "x", "\x00", "0" * 33, "g" * 36, None, 3, b"abc", [], "é" * 32, "1" * 10_000])
def test_what_is_no_id_leads_nowhere(value):
    assert parse_id(value) == NOWHERE


def test_an_id_is_read_in_any_of_its_spellings():
    one = uuid.uuid4()
    for spelling in (one, str(one), one.hex, str(one).upper()):
        assert parse_id(spelling) == one


def test_the_first_id_of_a_time_parts_what_was_made_before_from_what_came_after():
    made, now = new_id(), datetime.now(UTC)
    assert first_id_at(now - timedelta(seconds=1)) < made < first_id_at(now + timedelta(seconds=1))
