"""Claiming queued answers: in turns between users, never twice, and what a claim writes."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.conversations.models import Generation, GenerationState
from apps.conversations.services import leases, messages
from tests.factories import make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def bob():
    return make_user(email="bob@example.org")


def queue(user, count):
    """Queue so many answers, each in a conversation of its own; their generations' ids, oldest first."""
    sent = [messages.send(user=user, conversation_id=None, content=f"Hi {number}") for number in range(count)]
    return [one.generations[0].pk for one in sent]


def claim(limit, owner="me:1:x"):
    return [generation.pk for generation in leases.claim(owner=owner, limit=limit)]


def test_many_answers_of_one_user_do_not_starve_anothers_first(user, bob):
    many = queue(user, 10)
    (first,) = queue(bob, 1)
    assert set(claim(2)) == {many[0], first}


def test_answers_that_are_being_written_count_as_turns(user, bob):
    many = queue(user, 4)
    assert claim(3) == many[:3]
    others = queue(bob, 3)
    assert claim(3) == others
    assert claim(3) == many[3:]


def test_one_users_answers_go_by_age(user):
    many = queue(user, 5)
    Generation.objects.filter(pk=many[4]).update(queued_at=timezone.now() - timedelta(minutes=1))
    assert claim(2) == [many[4], many[0]]
    assert claim(9) == many[1:4]


def test_a_claim_is_a_lease_by_the_databases_clock(user, settings):
    settings.GENERATION = {**settings.GENERATION, "lease_seconds": 30}
    queue(user, 1)
    (found,) = leases.claim(owner="me:1:x", limit=5)
    row = Generation.objects.get(pk=found.pk)
    assert (row.state, row.lease_owner, row.attempt) == (GenerationState.RUNNING, "me:1:x", 1)
    assert (found.state, found.lease_owner, found.attempt, found.request) == ("running", "me:1:x", 1, row.request)
    assert timedelta(seconds=20) < row.lease_until - timezone.now() < timedelta(seconds=31)
    assert row.started_at is not None
    assert leases.claim(owner="you:1:y", limit=5) == []


def test_claiming_costs_one_statement_however_many(user, django_assert_num_queries):
    queue(user, 3)
    with django_assert_num_queries(3):  # with BEGIN and COMMIT
        leases.claim(owner="me:1:x", limit=50)
