"""Buckets: a burst, then a steady rate; keys that were quiet are forgotten."""

from apps.streaming.rates import Bucket, Buckets


def test_a_burst_passes_and_then_as_many_as_the_rate_says():
    bucket = Bucket(2, 5, now=0.0)
    assert [bucket.take(0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [bucket.take(1.0) for _ in range(3)] == [True, True, False]


def test_a_quiet_time_fills_it_to_the_burst_and_no_further():
    bucket = Bucket(2, 5, now=0.0)
    assert [bucket.take(1000.0) for _ in range(6)] == [True] * 5 + [False]


def test_what_costs_more_leaves_room_for_less():
    bucket = Bucket(1, 5, now=0.0)
    assert [bucket.take(0.0, cost) for cost in (2, 2, 2, 1)] == [True, True, False, True]


def test_each_key_has_a_bucket_of_its_own():
    buckets = Buckets(1, 1)
    assert [buckets.take(key, 0.0) for key in "abab"] == [True, True, False, False]


def test_keys_that_were_quiet_are_forgotten_when_there_are_many():
    buckets = Buckets(1, 2, many=10)
    for number in range(10):
        buckets.take(f"old{number}", 0.0)
    buckets.take("busy", 0.5)
    assert len(buckets) == 11
    for number in range(10):
        buckets.take(f"new{number}", 60.0)
    assert len(buckets) < 15


def test_a_flood_of_keys_is_looked_through_ever_more_rarely():
    buckets = Buckets(1, 2, many=10)
    for number in range(45):
        buckets.take(str(number), 0.0)
    assert len(buckets) == 45
    assert not [buckets.take("0", 0.0) for _ in range(2)][1]
