import re
from urllib.parse import urlsplit

import pytest
from allauth.account.models import EmailAddress
from django.core import mail

from apps.accounts.services import users
from tests.factories import make_user

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
PAGE = "/accounts/email/"


@pytest.fixture
def ada(client):
    user = users.create_user(email="ada@example.org", password=PASSWORD)
    _enter(client, user)
    return user


def _enter(client, user):
    client.force_login(user)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})


def _ask_for(client, email):
    return client.post(PAGE, {"email": email, "action_add": ""})


def _open_link(client):
    link = urlsplit(re.search(r"http://\S+/confirm-email/\S+", mail.outbox[-1].body)[0]).path
    assert "yours?" in client.get(link).content.decode()
    return client.post(link)


def test_a_new_address_counts_once_it_is_confirmed(client, ada):
    _ask_for(client, "New@example.org")
    ada.refresh_from_db()
    assert ada.email == "ada@example.org"
    assert "new@example.org waits to be confirmed" in client.get(PAGE).content.decode()
    _open_link(client)
    ada.refresh_from_db()
    assert ada.email == "new@example.org"
    assert [address.email for address in EmailAddress.objects.filter(user=ada)] == ["new@example.org"]


def test_the_password_is_asked_for_first(client):
    client.force_login(users.create_user(email="ada@example.org", password=PASSWORD))
    assert _ask_for(client, "new@example.org")["Location"].startswith("/accounts/reauthenticate/")
    assert "Is it you?" in client.get("/accounts/reauthenticate/").content.decode()
    assert not EmailAddress.objects.filter(email="new@example.org").exists()


def test_a_user_whose_address_was_never_confirmed_is_not_left_without_one(client):
    user = make_user(email="typo@example.org", password=PASSWORD)
    _enter(client, user)
    _ask_for(client, "right@example.org")
    user.refresh_from_db()
    assert user.email == "right@example.org"


def test_a_new_address_that_is_anothers_is_not_signed_in_with_before_it_is_confirmed(client, ada):
    user = make_user(email="typo@example.org", password=PASSWORD)
    _enter(client, user)
    _ask_for(client, "ada@example.org")
    user.refresh_from_db()
    assert user.email == ""
    assert users.find_user(name="ada@example.org") == ada


def test_nobody_takes_the_address_of_another_user(client, ada):
    other = make_user(email="eve@example.org")
    _ask_for(client, "eve@example.org")
    if mail.outbox:
        response = _open_link(client)
        assert response.status_code == 302
    ada.refresh_from_db()
    other.refresh_from_db()
    assert (ada.email, other.email) == ("ada@example.org", "eve@example.org")


@pytest.mark.parametrize("email", ["", "x", "a\x00@example.org", "x" * 250 + "@example.org", "ada@example.org"])
def test_what_does_not_fit_changes_nothing(client, ada, email):
    assert _ask_for(client, email).status_code in (200, 302)
    assert [address.email for address in EmailAddress.objects.all()] == ["ada@example.org"]


def test_a_stale_link_says_so(client, ada):
    assert "has run out" in client.get("/accounts/confirm-email/nonsense/").content.decode()
