import re
import time
from urllib.parse import urlsplit

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.contrib.sessions.models import Session
from django.core import mail
from django.test import Client

from apps.accounts.adapters import MFAAdapter
from apps.accounts.models import User
from apps.accounts.services import users

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
LOGIN = "/accounts/login/"


@pytest.fixture
def ada():
    return users.create_user(email="ada@example.org", password=PASSWORD)


def _sign_in(client, name="ada@example.org", password=PASSWORD, **more):
    return client.post(LOGIN, {"login": name, "password": password, **more})


def _is_signed_in(client):
    return "_auth_user_id" in client.session


class TestWithPassword:
    @pytest.mark.parametrize("name", ["ada@example.org", "ADA@Example.org", " ada@example.org ", "ada", "ADA"])
    def test_by_address_or_name_in_any_letters(self, client, ada, name):
        response = _sign_in(client, name)
        assert (response.status_code, response["Location"]) == (302, "/")
        assert client.session["_auth_user_id"] == str(ada.pk)

    def test_nothing_is_said_of_it_afterwards(self, client, ada):
        _sign_in(client)
        assert "signed in as" not in client.get("/settings/profile/").content.decode()

    @pytest.mark.parametrize(
        ("name", "password"),
        [("ada@example.org", "wrong"), ("ada", "wrong"), ("nobody@example.org", PASSWORD), ("nobody", PASSWORD)],
    )
    def test_what_is_wrong_is_not_told(self, client, ada, name, password):
        body = _sign_in(client, name, password).content.decode()
        assert "That name and password don&#x27;t fit together." in body
        assert not _is_signed_in(client)

    def test_a_user_that_is_switched_off_looks_like_a_wrong_password(self, client, ada):
        User.objects.update(is_active=False)
        assert "fit together" in _sign_in(client).content.decode()

    @pytest.mark.parametrize(
        "fields", [{}, {"login": "ada"}, {"login": "ada", "password": ""}, {"login": "", "password": "x"}]
    )
    def test_empty_fields_never_sign_in(self, client, ada, fields):
        assert client.post(LOGIN, fields).status_code == 200
        assert not _is_signed_in(client)

    def test_an_empty_password_never_fits_a_user_without_one(self, client):
        users.create_user(email="ada@example.org")
        for password in ("", " ", "!", "None"):
            _sign_in(client, password=password)
        assert not _is_signed_in(client)

    def test_known_and_unknown_names_cost_one_hash_each(self, client, ada, monkeypatch):
        hashed = []
        hasher = __import__("django.contrib.auth.hashers", fromlist=["x"]).MD5PasswordHasher
        encode = hasher.encode
        monkeypatch.setattr(hasher, "encode", lambda self, *given: hashed.append(1) or encode(self, *given))
        counts = []
        for name in ("ada@example.org", "ada", "nobody@example.org", "nobody"):
            hashed.clear()
            _sign_in(client, name, "wrong password")
            counts.append(len(hashed))
        assert counts == [1, 1, 1, 1]

    def test_the_session_is_a_new_one(self, client, ada):
        client.get(LOGIN)
        session = client.session
        session["planted"] = True
        session.save()
        before = session.session_key
        _sign_in(client)
        assert client.session.session_key != before

    def test_cookies_are_out_of_reach_of_scripts_and_other_sites(self, client, ada):
        response = _sign_in(client)
        cookie = response.cookies["sessionid"]
        assert cookie["httponly"]
        assert cookie["samesite"] == "Lax"

    def test_after_five_wrong_ones_the_right_one_waits_too(self, client, ada):
        for _ in range(5):
            _sign_in(client, password="wrong")
        assert "Too many attempts" in _sign_in(client).content.decode()
        assert not _is_signed_in(client)

    def test_thirty_attempts_a_minute_are_enough_from_one_address(self, client):
        answers = [_sign_in(client, f"nobody{i}", "x").status_code for i in range(31)]
        assert answers[-1] == 429
        assert "Wait a moment" in _sign_in(client, "nobody", "x").content.decode()


class TestWhereItLeads:
    def test_back_to_the_page_that_asked(self, client, ada):
        assert _sign_in(client, next="/settings/tokens/")["Location"] == "/settings/tokens/"

    @pytest.mark.parametrize(
        "target",
        [
            "https://evil.example/",
            "//evil.example/",
            "/\\evil.example/",
            "\\\\evil.example/",
            "javascript:alert(1)",
            "http:evil.example",
            "http://localhost/",
            "http://127.0.0.1:8000/",
            "https:///evil.example",
            "%2f%2fevil.example",
        ],
    )
    def test_never_to_another_site(self, client, ada, target):
        location = _sign_in(client, next=target)["Location"]
        assert urlsplit(location).netloc == ""
        assert not location.startswith(("//", "/\\"))

    def test_who_is_signed_in_goes_home(self, client, ada):
        client.force_login(ada)
        assert client.get(LOGIN)["Location"] == "/"


class TestSigningOut:
    def test_takes_a_form(self, client, ada):
        client.force_login(ada)
        assert "Sign out" in client.get("/accounts/logout/").content.decode()
        assert _is_signed_in(client)
        response = client.post("/accounts/logout/")
        assert response["Location"] == LOGIN
        assert response["Clear-Site-Data"] == '"storage"'
        assert not _is_signed_in(client)
        assert not Session.objects.exists()


class TestSignUp:
    def test_is_closed(self, client):
        body = client.get("/accounts/signup/").content.decode()
        assert "Ask yours for one." in body
        client.post("/accounts/signup/", _new_account())
        assert not User.objects.exists()
        assert "Ask your administrator" in client.get(LOGIN).content.decode()

    def test_by_invitation_means_by_the_administrator(self, client, settings):
        settings.SIGNUP = "invite"
        client.post("/accounts/signup/", _new_account())
        assert not User.objects.exists()

    def test_open_makes_a_user_and_signs_in(self, client, settings):
        settings.SIGNUP = "open"
        assert "/accounts/signup/" in client.get(LOGIN).content.decode()
        response = client.post("/accounts/signup/", _new_account())
        assert response.status_code == 302
        assert _is_signed_in(client)
        assert User.objects.get().email == "new@example.org"
        assert not User.objects.get().is_staff
        assert len(mail.outbox) == 1

    def test_a_taken_address_is_not_told(self, client, settings, ada):
        settings.SIGNUP = "open"
        client.post("/accounts/signup/", _new_account(email="ADA@example.org"))
        assert User.objects.count() == 1

    @pytest.mark.parametrize("password", ["short", "password1234", "12345678901"])
    def test_a_weak_password_is_refused(self, client, settings, password):
        settings.SIGNUP = "open"
        client.post("/accounts/signup/", _new_account(password1=password, password2=password))
        assert not User.objects.exists()


def _new_account(**fields):
    return {"email": "new@example.org", "username": "", "password1": PASSWORD, "password2": PASSWORD} | fields


class TestPasswords:
    NEW = "another good password"

    def test_a_change_ends_every_other_session_and_keeps_this_one(self, client, ada):
        other = Client()
        for browser in (client, other):
            _sign_in(browser)
        response = client.post(
            "/accounts/password/change/", {"oldpassword": PASSWORD, "password1": self.NEW, "password2": self.NEW}
        )
        assert response["Location"] == "/settings/profile/"
        assert client.get("/settings/profile/").status_code == 200
        assert other.get("/settings/profile/").status_code == 302

    def test_a_change_needs_the_old_one(self, client, ada):
        client.force_login(ada)
        client.post("/accounts/password/change/", {"oldpassword": "x", "password1": self.NEW, "password2": self.NEW})
        ada.refresh_from_db()
        assert ada.check_password(PASSWORD)

    def test_a_user_without_one_can_set_one(self, client):
        user = users.create_user(email="link@example.org")
        client.force_login(user)
        assert "Set a password" in client.get("/settings/profile/").content.decode()
        client.post("/accounts/password/set/", {"password1": self.NEW, "password2": self.NEW})
        user.refresh_from_db()
        assert user.check_password(self.NEW)
        assert client.get("/settings/profile/").status_code == 200

    def test_a_forgotten_one_is_set_by_mail_once(self, client, ada):
        client.post("/accounts/password/reset/", {"email": "ada@example.org"})
        link = urlsplit(re.search(r"http://\S+", mail.outbox[0].body)[0]).path
        form = client.get(link, follow=True).redirect_chain[-1][0]
        client.post(form, {"password1": self.NEW, "password2": self.NEW})
        ada.refresh_from_db()
        assert ada.check_password(self.NEW)
        assert "has run out" in Client().get(link, follow=True).content.decode()

    def test_asking_for_a_mail_tells_nobody_who_is_there(self, client, ada):
        known = client.post("/accounts/password/reset/", {"email": "ada@example.org"})
        unknown = client.post("/accounts/password/reset/", {"email": "nobody@example.org"})
        assert known["Location"] == unknown["Location"]
        assert "nobody@example.org" not in client.get(unknown["Location"]).content.decode()

    def test_a_like_looking_address_gets_nothing_of_it(self, client, ada):
        client.post("/accounts/password/reset/", {"email": "ada@exampłe.org"})
        assert not any("/password/reset/key/" in one.body for one in mail.outbox)

    def test_a_mail_server_that_is_away_is_said_in_words(self, client, ada, settings):
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
        response = client.post("/accounts/password/reset/", {"email": "ada@example.org"})
        assert response.status_code == 503
        assert "Mail can&#x27;t be sent right now." in response.content.decode()


class TestTwoSteps:
    @pytest.fixture
    def secret(self, client, ada):
        _sign_in(client)
        client.post("/accounts/reauthenticate/", {"password": PASSWORD})
        page = client.get("/accounts/2fa/totp/activate/").content.decode()
        secret = re.search(r'<code class="secret"[^>]*>(\w+)</code>', page)[1]
        response = client.post("/accounts/2fa/totp/activate/", {"code": _code(secret)})
        assert response.status_code == 302
        client.post("/accounts/logout/")
        return secret

    def test_the_secret_is_stored_encrypted(self, secret):
        stored = Authenticator.objects.get(type="totp").data["secret"]
        assert secret not in stored
        assert MFAAdapter().decrypt(stored) == secret

    def test_a_password_alone_is_not_enough(self, client, secret):
        assert _sign_in(client)["Location"].startswith("/accounts/2fa/authenticate/")
        assert not _is_signed_in(client)
        assert "One more step" in client.get("/accounts/2fa/authenticate/").content.decode()
        client.post("/accounts/2fa/authenticate/", {"code": "000000"})
        assert not _is_signed_in(client)

    def test_a_recovery_code_works_once(self, client, ada, secret):
        codes = Authenticator.objects.get(user=ada, type="recovery_codes").wrap().get_unused_codes()
        for expected in (True, False):
            browser = Client()
            _sign_in(browser)
            browser.post("/accounts/2fa/authenticate/", {"code": codes[0]})
            assert _is_signed_in(browser) is expected

    def test_a_lost_key_is_no_open_door(self, client, secret, settings):
        settings.FIELD_KEYS = ["an entirely different key"]
        _sign_in(client)
        response = client.post("/accounts/2fa/authenticate/", {"code": "123456"})
        assert response.status_code == 503
        assert not _is_signed_in(client)

    def test_its_pages_stand(self, client, ada, secret):
        client.force_login(ada)
        _sign_in(client)
        for page, words in {
            "/accounts/2fa/": "It is on",
            "/accounts/2fa/recovery-codes/": "codes are left",
            "/accounts/2fa/recovery-codes/generate/": "Make new recovery codes",
            "/accounts/2fa/totp/deactivate/": "Switch two-step sign-in off",
        }.items():
            response = client.get(page, follow=True)
            if "reauthenticate" in response.request["PATH_INFO"]:
                client.post("/accounts/reauthenticate/", {"password": PASSWORD})
                response = client.get(page)
            assert words in response.content.decode(), page


def _code(secret):
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30))


class TestForgedForms:
    def test_signing_in_needs_the_token_of_the_page(self, ada):
        client = Client(enforce_csrf_checks=True)
        response = _sign_in(client)
        assert response.status_code == 403
        assert "This page was open too long. Reload to go on." in response.content.decode()
        assert not _is_signed_in(client)

    def test_a_page_from_another_address_is_told_which_is_ours(self, ada):
        client = Client(enforce_csrf_checks=True)
        response = client.post(LOGIN, {}, headers={"Origin": "http://other.example:8000"})
        body = response.content.decode()
        assert response.status_code == 403
        assert "http://other.example:8000" in body
        assert "http://localhost:8000" in body

    def test_a_fresh_token_can_be_had(self, ada):
        client = Client(enforce_csrf_checks=True)
        client.force_login(ada)
        token = client.get("/csrf/").json()["token"]
        response = client.post("/settings/appearance/", {"theme": "dark"}, headers={"X-CSRFToken": token})
        assert response.status_code == 302
        assert Client().get("/csrf/").status_code == 302
