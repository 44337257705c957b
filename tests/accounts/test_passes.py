"""What lets somebody read on: which passes lapse, by what, and at what cost."""

from datetime import timedelta

import pytest
from django.contrib.auth import update_session_auth_hash
from django.contrib.sessions.models import Session
from django.test import Client, RequestFactory
from django.utils import timezone

from apps.accounts.models import ApiToken, User
from apps.accounts.services import passes, tokens
from apps.accounts.services.passes import Lapse
from tests.factories import make_user, reload

pytestmark = pytest.mark.django_db


def session_of(user):
    client = Client()
    client.force_login(user)
    return client.session


def session_pass(user):
    return passes.of_session(session_of(user).session_key, user)


def token_pass(user):
    return passes.of_token(tokens.make_token(user=user)[0])


def test_whoever_is_signed_in_reads_on(user, stranger):
    assert passes.lapsed([session_pass(user), token_pass(user), session_pass(stranger)]) == {}


def test_signing_out_ends_that_session_alone(client, user):
    client.force_login(user)
    gone, other = passes.of_session(client.session.session_key, user), session_pass(user)
    client.logout()
    assert passes.lapsed([gone, other, token_pass(user)]) == {gone: Lapse.ENDED}


def test_a_session_that_expired_has_ended(user):
    held = session_pass(user)
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert passes.lapsed([held]) == {held: Lapse.ENDED}


def test_disabling_or_deleting_a_user_ends_all_theirs(user, stranger):
    mine, by_token, other = session_pass(user), token_pass(user), session_pass(stranger)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert passes.lapsed([mine, by_token, other]) == {mine: Lapse.ENDED, by_token: Lapse.ENDED}
    reload(user).delete()
    assert passes.lapsed([mine, by_token]) == {mine: Lapse.ENDED, by_token: Lapse.ENDED}


def test_a_new_password_ends_every_other_session_and_renews_the_one_it_was_made_in(user):
    request = RequestFactory().get("/")
    request.session, request.user = session_of(user), user
    here, elsewhere, by_token = (
        passes.of_session(request.session.session_key, user),
        session_pass(user),
        token_pass(user),
    )
    user.set_password("another battery")
    user.save()
    update_session_auth_hash(request, user)
    assert passes.lapsed([here, elsewhere, by_token]) == {here: Lapse.RENEWED, elsewhere: Lapse.ENDED}
    assert passes.lapsed([passes.of_session(request.session.session_key, user)]) == {}


def test_a_revoked_token_has_ended(user):
    held, other = token_pass(user), token_pass(user)
    ApiToken.objects.filter(pk=held.key).update(revoked_at=timezone.now())
    assert passes.lapsed([held, other]) == {held: Lapse.ENDED}


@pytest.mark.parametrize("users", [1, 20])
def test_any_number_of_passes_costs_one_query(users, django_assert_num_queries):
    people = [make_user(email=f"{number}@example.org") for number in range(users)]
    held = [one for user in people for one in (session_pass(user), session_pass(user), token_pass(user))]
    with django_assert_num_queries(1):
        assert passes.lapsed(held) == {}


def test_no_passes_cost_none(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert passes.lapsed([]) == {}


def test_a_pass_shows_neither_session_nor_password(user):
    held = session_pass(user)
    assert held.key not in repr(held)
    assert held.proof not in repr(held)
