import io
import json
import sys

import pytest
from django.core.management import CommandError, call_command

from apps.accounts.models import ApiToken, SignInLink, User
from apps.accounts.services import tokens, users

pytestmark = pytest.mark.django_db

EMAIL = "ada@example.org"


def _run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    call_command(*arguments, stdout=out, stderr=err)
    return out.getvalue().strip(), err.getvalue()


@pytest.fixture
def type_in(monkeypatch):
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


class TestCreateUser:
    def test_prints_the_id_alone(self):
        out, err = _run("create_user", EMAIL)
        user = User.objects.get()
        assert out == str(user.pk)
        assert "sign_in_link" in err
        assert not user.has_usable_password()

    def test_takes_password_and_rights(self, type_in):
        type_in("correct horse battery\n")
        _out, err = _run("create_user", EMAIL, "--password-stdin", "--superuser")
        user = User.objects.get()
        assert user.check_password("correct horse battery")
        assert user.is_staff
        assert user.is_superuser
        assert err == ""

    def test_a_weak_password_is_the_operators_choice(self, type_in):
        type_in("secret")
        _out, err = _run("create_user", EMAIL, "--password-stdin")
        assert err.startswith("Careful: ")
        assert User.objects.get().check_password("secret")

    def test_no_password_where_one_was_promised_is_a_mistake(self, type_in):
        type_in("\n")
        with pytest.raises(CommandError) as raised:
            _run("create_user", EMAIL, "--password-stdin")
        assert raised.value.returncode == 2
        assert not User.objects.exists()

    def test_somebody_is_there_already(self):
        users.create_user(email=EMAIL)
        with pytest.raises(CommandError, match="already") as raised:
            _run("create_user", EMAIL.upper())
        assert raised.value.returncode == 1
        assert User.objects.count() == 1

    def test_no_address_is_no_user(self):
        with pytest.raises(CommandError):
            _run("create_user", "ada")

    def test_json_and_dry_run(self):
        out, err = _run("create_user", EMAIL, "--json", "--dry-run", "--staff")
        assert json.loads(out)["email"] == EMAIL
        assert "Dry run" in err
        assert not User.objects.exists()


class TestCreateToken:
    def test_prints_the_token_alone(self):
        user = users.create_user(email=EMAIL)
        out, err = _run("create_token", EMAIL)
        token = tokens.authenticate(bearer=out)
        assert token.user == user
        assert token.scopes == ["read", "write"]
        assert err == ""

    def test_takes_scopes_and_a_name(self):
        users.create_user(email=EMAIL)
        out, _err = _run("create_token", EMAIL.upper(), "--scopes", "read", "--name", "Notes", "--json")
        token = tokens.authenticate(bearer=json.loads(out)["token"])
        assert (token.scopes, token.name) == (["read"], "Notes")

    @pytest.mark.parametrize("arguments", [["--scopes", "admin"], ["--scopes", ""], ["--name", "x" * 201]])
    def test_what_does_not_fit_is_a_mistake(self, arguments):
        users.create_user(email=EMAIL)
        with pytest.raises(CommandError) as raised:
            _run("create_token", EMAIL, *arguments)
        assert raised.value.returncode == 2
        assert not ApiToken.objects.exists()

    def test_nobody_gets_none(self):
        with pytest.raises(CommandError) as raised:
            _run("create_token", "nobody@example.org")
        assert raised.value.returncode == 1

    def test_a_dry_run_makes_none(self):
        users.create_user(email=EMAIL)
        assert _run("create_token", EMAIL, "--dry-run")[0] == ""
        assert not ApiToken.objects.exists()


class TestSignInLink:
    def test_prints_a_link_that_signs_in(self, client):
        user = users.create_user(email=EMAIL)
        out, err = _run("sign_in_link", EMAIL)
        assert out.startswith("http://localhost:8000/sign-in/")
        assert err == ""
        client.get(out.removeprefix("http://localhost:8000"))
        assert client.session["_auth_user_id"] == str(user.pk)

    def test_as_json(self):
        users.create_user(email=EMAIL)
        out, _err = _run("sign_in_link", EMAIL, "--json")
        assert set(json.loads(out)) == {"link", "expiresAt"}

    def test_nobody_gets_none(self):
        with pytest.raises(CommandError):
            _run("sign_in_link", "nobody@example.org")
        User.objects.create_user(username="off", email="off@example.org", is_active=False)
        with pytest.raises(CommandError):
            _run("sign_in_link", "off@example.org")
        assert not SignInLink.objects.exists()
