import re

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator

from apps.accounts.models import ApiToken, User
from apps.accounts.services import preferences, tokens, users

pytestmark = pytest.mark.django_db

PAGES = ["/settings/profile/", "/settings/tokens/", "/settings/appearance/"]


@pytest.mark.parametrize("page", PAGES)
def test_settings_are_for_who_is_signed_in(client, page):
    for method in (client.get, client.post):
        response = method(page)
        assert response.status_code == 302
        assert response["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize("page", PAGES)
def test_settings_answer_pages_and_no_other_method(signed_in, page):
    assert signed_in.get(page).status_code == 200
    assert signed_in.put(page).status_code == 405
    assert signed_in.delete(page).status_code == 405


@pytest.mark.parametrize(
    "page", [*PAGES, "/accounts/password/change/", "/accounts/email/", "/accounts/2fa/", "/accounts/logout/"]
)
def test_pages_carry_no_inline_script_or_style_and_one_heading(signed_in, page):
    response = signed_in.get(page, follow=True)
    body = response.content.decode()
    assert "<script" not in body
    assert " style=" not in body
    assert " onclick" not in body
    assert body.count("<h1") == 1
    assert "unsafe" not in response["Content-Security-Policy"]


def test_settings_lead_to_the_profile(signed_in):
    assert signed_in.get("/settings/")["Location"] == "/settings/profile/"


def test_a_page_of_settings_costs_no_query_for_theme_and_name(signed_in, user, django_assert_num_queries):
    preferences.set_theme(user=user, theme="dark")
    # Session, and the user with the preferences.
    with django_assert_num_queries(2):
        body = signed_in.get("/settings/profile/").content.decode()
    assert 'data-theme="dark"' in body


class TestProfile:
    def test_the_name_is_saved(self, signed_in, user):
        response = signed_in.post("/settings/profile/", {"first_name": "Ada"}, follow=True)
        assert "Saved." in response.content.decode()
        user.refresh_from_db()
        assert user.first_name == "Ada"

    @pytest.mark.parametrize("name", ["x" * 151, "a\x00b"])
    def test_a_name_that_does_not_fit_changes_nothing(self, signed_in, user, name):
        assert signed_in.post("/settings/profile/", {"first_name": name}).status_code == 422
        user.refresh_from_db()
        assert user.first_name == ""


class TestAppearance:
    def test_a_theme_is_kept_by_account_and_browser(self, signed_in, client, user):
        response = signed_in.post("/settings/appearance/", {"theme": "dark"})
        assert response["Location"] == "/settings/appearance/"
        assert response.cookies["bough_theme"].value == "dark"
        assert 'data-theme="dark"' in signed_in.get("/settings/profile/").content.decode()
        client.logout()
        client.cookies["bough_theme"] = "dark"
        assert 'data-theme="dark"' in client.get("/accounts/login/").content.decode()
        assert 'data-theme="dark"' in client.get("/accounts/nothing-here/").content.decode()

    def test_a_script_gets_no_page(self, signed_in, user):
        response = signed_in.post("/settings/appearance/", {"theme": "light"}, headers={"HX-Request": "true"})
        assert (response.status_code, response.content) == (204, b"")
        assert preferences.preferences_of(user=user).theme == "light"

    @pytest.mark.parametrize("theme", ["", "neon", "a\x00"])
    def test_another_theme_changes_nothing(self, signed_in, user, theme):
        assert signed_in.post("/settings/appearance/", {"theme": theme}).status_code == 422
        assert preferences.preferences_of(user=user).theme == "system"


class TestTokens:
    def _make(self, client, **fields):
        return client.post("/settings/tokens/", {"name": "Notes", "scopes": ["read"]} | fields)

    def test_a_token_is_shown_once(self, signed_in, user):
        response = self._make(signed_in)
        assert response.status_code == 201
        plain = re.search(r"bough_[\w-]{43}", response.content.decode())[0]
        assert tokens.authenticate(bearer=plain).user == user
        page = signed_in.get("/settings/tokens/").content.decode()
        assert plain not in page
        assert plain[:12] in page
        assert "Notes" in page

    @pytest.mark.parametrize("fields", [{"name": ""}, {"name": "x" * 201}, {"scopes": []}, {"scopes": ["admin"]}])
    def test_what_does_not_fit_makes_none(self, signed_in, fields):
        assert self._make(signed_in, **fields).status_code == 422
        assert not ApiToken.objects.exists()

    def test_names_are_text(self, signed_in):
        self._make(signed_in, name="<b>x</b>")
        page = signed_in.get("/settings/tokens/").content.decode()
        assert "<b>x</b>" not in page
        assert "&lt;b&gt;x&lt;/b&gt;" in page

    def test_its_owner_revokes_it(self, signed_in, user):
        row, plain = tokens.make_token(user=user, name="Notes")
        response = signed_in.post(f"/settings/tokens/{row.pk}/revoke/", follow=True)
        assert "“Notes” is revoked." in response.content.decode()
        assert tokens.authenticate(bearer=plain) is None

    def test_a_stranger_finds_nothing_to_revoke(self, client, user, stranger):
        row, plain = tokens.make_token(user=user)
        client.force_login(stranger)
        theirs = client.post(f"/settings/tokens/{row.pk}/revoke/")
        nobodys = client.post(f"/settings/tokens/{stranger.pk}/revoke/")
        malformed = client.post("/settings/tokens/x/revoke/")
        assert theirs.status_code == nobodys.status_code == malformed.status_code == 404
        assert theirs.content == nobodys.content
        assert tokens.authenticate(bearer=plain)

    def test_revoking_is_a_form(self, client, signed_in, user):
        row, _plain = tokens.make_token(user=user)
        assert signed_in.get(f"/settings/tokens/{row.pk}/revoke/").status_code == 405
        client.logout()
        assert client.post(f"/settings/tokens/{row.pk}/revoke/").status_code == 302


class TestAdministration:
    def test_strangers_sign_in_where_everybody_does(self, client):
        response = client.get("/admin/", follow=True)
        assert response.request["PATH_INFO"] == "/accounts/login/"
        assert client.post("/admin/login/", {"username": "x", "password": "y"}).status_code == 302

    def test_users_without_the_right_are_refused(self, signed_in):
        response = signed_in.get("/admin/", follow=True)
        assert response.status_code == 403

    def test_staff_see_users_and_tokens_but_no_secret(self, admin_client, admin_user):
        row, plain = tokens.make_token(user=admin_user)
        assert admin_client.get("/admin/").status_code == 200
        assert admin_client.get("/admin/accounts/user/").status_code == 200
        for page in ("/admin/accounts/apitoken/", f"/admin/accounts/apitoken/{row.pk}/change/"):
            body = admin_client.get(page).content.decode()
            assert row.digest not in body
            assert plain not in body
            assert row.hint in body
        assert admin_client.get("/admin/accounts/apitoken/add/").status_code == 403

    def test_second_factors_can_be_taken_away_but_neither_read_nor_made(self, admin_client, user):
        factor = Authenticator.objects.create(user=user, type="totp", data={"secret": "stored-secret"})
        page = f"/admin/mfa/authenticator/{factor.pk}/"
        assert "stored-secret" not in admin_client.get(page + "change/").content.decode()
        assert admin_client.get("/admin/mfa/authenticator/add/").status_code == 403
        admin_client.post(page + "delete/", {"post": "yes"})
        assert not Authenticator.objects.exists()

    def test_an_address_typed_by_staff_counts_as_confirmed(self, admin_client):
        fields = {"username": "grace", "email": "Grace@example.org", "usable_password": "false"}
        assert admin_client.post("/admin/accounts/user/add/", fields).status_code == 302
        grace = User.objects.get(username="grace")
        assert [(one.email, one.verified, one.primary) for one in EmailAddress.objects.filter(user=grace)] == [
            ("grace@example.org", True, True)
        ]
        grace.email = "hopper@example.org"
        users.vouch_for(user=grace)
        assert [one.email for one in EmailAddress.objects.filter(user=grace)] == ["hopper@example.org"]

    def test_an_address_taken_is_an_error_of_the_form(self, admin_client, user):
        fields = {"username": "grace", "email": "ADA@example.org", "usable_password": "false"}
        assert admin_client.post("/admin/accounts/user/add/", fields).status_code == 200
        assert not User.objects.filter(username="grace").exists()
