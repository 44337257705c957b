import pytest
from allauth.account.models import EmailAddress

from apps.accounts.authentication import Backend
from apps.accounts.models import User
from apps.accounts.services import links, preferences, tokens, users
from apps.core.errors import AlreadyThere, InvalidField

pytestmark = pytest.mark.django_db


def test_a_user_has_a_name_made_from_the_address_and_a_confirmed_address():
    user = users.create_user(email=" Ada.Lovelace@Example.org ", password="correct horse battery")
    assert user.email == "ada.lovelace@example.org"
    assert user.username
    assert user.check_password("correct horse battery")
    assert EmailAddress.objects.get(user=user, verified=True, primary=True).email == user.email
    assert not user.is_staff


def test_names_from_like_addresses_differ():
    first = users.create_user(email="ada@example.org")
    second = users.create_user(email="ada@example.com")
    assert first.username != second.username


def test_without_a_password_none_fits():
    user = users.create_user(email="ada@example.org")
    assert not user.has_usable_password()


def test_a_superuser_is_staff():
    user = users.create_user(email="root@example.org", superuser=True)
    assert user.is_staff
    assert user.is_superuser


@pytest.mark.parametrize(
    "email", ["", "ada", "ada@", "a b@example.org", "a\x00@example.org", "x" * 300 + "@example.org"]
)
def test_what_is_no_address_is_refused(email):
    with pytest.raises(InvalidField):
        users.create_user(email=email)
    assert not User.objects.exists()


def test_an_address_has_one_user_whatever_its_letters():
    users.create_user(email="ada@example.org")
    with pytest.raises(AlreadyThere):
        users.create_user(email="ADA@example.ORG")
    assert User.objects.count() == 1


def test_an_address_that_another_user_confirmed_is_taken_too():
    ada = users.create_user(email="ada@example.org")
    EmailAddress.objects.create(user=ada, email="lovelace@example.org", verified=True)
    with pytest.raises(AlreadyThere):
        users.create_user(email="lovelace@example.org")
    assert User.objects.count() == 1


def test_staff_may_leave_a_user_without_an_address():
    ada = users.create_user(email="ada@example.org")
    ada.email = ""
    users.vouch_for(user=ada)
    assert not EmailAddress.objects.exists()


def test_rows_name_themselves_without_telling_addresses():
    ada = users.create_user(email="ada@example.org")
    row, plain = tokens.make_token(user=ada)
    link, secret = links.make_link(user=ada)
    for one in (ada, row, link, preferences.preferences_of(user=ada)):
        assert "@" not in str(one)
        assert plain not in str(one)
        assert secret not in str(one)


def test_users_are_found_by_address_or_name():
    ada = users.create_user(email="ada@example.org")
    assert users.find_user(name="ADA@example.org") == ada
    assert users.find_user(name=ada.username.upper()) == ada
    assert users.find_by_email(email=" Ada@Example.org") == ada
    for name in ("", "nobody", "a@b.c", "a\x00b"):
        assert users.find_user(name=name) is None
    assert users.find_by_email(email="") is None


def test_an_address_wins_over_a_name_that_looks_like_it():
    ada = users.create_user(email="ada@example.org")
    User.objects.create_user(username="ada@example.org", email="mallory@example.org", password="x")
    assert users.find_user(name="ada@example.org") == ada


def test_a_name_is_changed_or_refused():
    ada = users.create_user(email="ada@example.org")
    assert users.rename(user=ada, first_name=" Ada ").first_name == "Ada"
    for bad in ("x" * 151, "a\x00"):
        with pytest.raises(InvalidField):
            users.rename(user=ada, first_name=bad)
    ada.refresh_from_db()
    assert ada.first_name == "Ada"


def test_preferences_begin_with_defaults_and_are_kept():
    ada = users.create_user(email="ada@example.org")
    assert preferences.preferences_of(user=ada).theme == "system"
    assert preferences.preferences_of(user=ada).pk is None
    preferences.set_theme(user=ada, theme="dark")
    preferences.set_theme(user=ada, theme="light")
    assert preferences.preferences_of(user=ada).theme == "light"
    with pytest.raises(InvalidField):
        preferences.set_theme(user=ada, theme="neon")


@pytest.mark.parametrize(
    "given", [{}, {"username": "ada"}, {"password": "x"}, {"email": "ada@example.org", "password": ""}]
)
def test_half_of_what_is_needed_signs_nobody_in(given):
    users.create_user(email="ada@example.org")
    assert Backend().authenticate(None, **given) is None
