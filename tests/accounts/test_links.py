from datetime import timedelta

import pytest
from django.utils import timezone

from apps.accounts.models import SignInLink
from apps.accounts.services import links
from apps.core.errors import NotPossible
from tests.factories import make_user

pytestmark = pytest.mark.django_db


def _address(secret):
    return f"/sign-in/{secret}/"


def test_a_link_signs_in_once(client, user):
    row, secret = links.make_link(user=user)
    assert secret not in str(SignInLink.objects.get(pk=row.pk).__dict__)
    response = client.get(_address(secret))
    assert (response.status_code, response["Location"]) == (302, "/")
    assert response["Referrer-Policy"] == "no-referrer"
    assert "no-store" in response["Cache-Control"]
    assert client.session["_auth_user_id"] == str(user.pk)
    client.logout()
    again = client.get(_address(secret))
    assert again.status_code == 404
    assert "was used already or has run out" in again.content.decode()
    assert "_auth_user_id" not in client.session


def test_a_link_runs_out_after_15_minutes(user):
    row, secret = links.make_link(user=user)
    assert timedelta(minutes=14) < row.expires_at - timezone.now() <= timedelta(minutes=15)
    SignInLink.objects.update(expires_at=timezone.now())
    with pytest.raises(links.LinkSpent):
        links.use_link(secret=secret)
    assert SignInLink.objects.get().used_at is None


def test_of_two_uses_one_wins(user):
    _row, secret = links.make_link(user=user)
    assert links.use_link(secret=secret) == user
    with pytest.raises(links.LinkSpent):
        links.use_link(secret=secret)


@pytest.mark.parametrize("secret", ["x", "a" * 43, "%00", "é", "a" * 5000])
def test_no_guess_opens_or_breaks_anything(client, user, secret):
    links.make_link(user=user)
    assert client.get(_address(secret)).status_code == 404


def test_a_used_link_brings_who_is_signed_in_home(client, user):
    # A browser may fetch the address beforehand, and then once more when it is clicked.
    _row, secret = links.make_link(user=user)
    client.get(_address(secret))
    assert client.get(_address(secret))["Location"] == "/"


def test_looking_is_not_using(client, user):
    _row, secret = links.make_link(user=user)
    assert client.head(_address(secret)).status_code == 405
    assert client.post(_address(secret)).status_code == 405
    assert client.get(_address(secret)).status_code == 302


def test_the_session_before_is_not_the_session_after(client, user, stranger):
    client.force_login(stranger)
    before = client.session.session_key
    _row, secret = links.make_link(user=user)
    client.get(_address(secret))
    assert client.session.session_key != before
    assert client.session["_auth_user_id"] == str(user.pk)


def test_a_user_that_is_switched_off_gets_no_link_and_uses_none(user):
    _row, secret = links.make_link(user=user)
    user.is_active = False
    user.save()
    with pytest.raises(links.LinkSpent):
        links.use_link(secret=secret)
    with pytest.raises(NotPossible):
        links.make_link(user=user)


def test_a_link_is_for_its_user_alone(client):
    ada, eve = make_user(email="a@example.org"), make_user(email="e@example.org")
    secrets = {user.pk: links.make_link(user=user)[1] for user in (ada, eve)}
    client.get(_address(secrets[eve.pk]))
    assert client.session["_auth_user_id"] == str(eve.pk)
