import json
import re

import pytest
from django.contrib.auth.decorators import login_not_required
from django.contrib.sessions.backends.base import SessionBase
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse, HttpResponseRedirect, UnreadablePostError
from django.test import AsyncClient, RequestFactory
from django.urls import include, path

from apps.core.errors import HasForks, NotFound, TooManyRequests, Unavailable
from apps.core.logs import current_request_id
from apps.core.middleware import ApiAnswersMiddleware, ErrorMiddleware

pytestmark = pytest.mark.django_db


def _raise(error):
    def view(request):
        raise error

    return login_not_required(view)


@login_not_required
def hello(request):
    return HttpResponse(f"hello {current_request_id.get()}")


@login_not_required
async def async_hello(request):
    return HttpResponse("hello")


@login_not_required
def read_body(request):
    return HttpResponse(request.POST.get("text", ""))


@login_not_required
def public(request):
    return HttpResponse("for all", headers={"Cache-Control": "public, max-age=60"})


def secret(request):
    return HttpResponse("secret")


@login_not_required
def html_error(request):
    return HttpResponse("<h1>No</h1>", status=405, headers={"Allow": "GET"})


class SessionStore(SessionBase):
    """A session whose database is away."""

    def load(self):
        raise OperationalError("the database system is shutting down")


urlpatterns = [
    path("hello/", hello),
    path("async/", async_hello),
    path("body/", read_body),
    path("public/", public),
    path("secret/", secret),
    path("gone/", _raise(NotFound())),
    path("forks/", _raise(HasForks(forks=2))),
    path("busy/", _raise(TooManyRequests(retry_after=7))),
    path("broken/", _raise(RuntimeError("a secret of ours"))),
    path("away/", _raise(OperationalError("server closed the connection"))),
    path("cut/", _raise(InterfaceError("connection already closed"))),
    path("api/cut", _raise(InterfaceError("connection already closed"))),
    path("api/gone", _raise(NotFound())),
    path("api/forks", _raise(HasForks(forks=2))),
    path("api/away", _raise(Unavailable(retry_after=3))),
    path("api/broken", _raise(RuntimeError("a secret of ours"))),
    path("api/html", html_error),
    path("api/secret", secret),
    path("api/slashed/", hello),
    path("", include("config.urls")),
]
handler400 = "apps.core.views.bad_request"
handler403 = "apps.core.views.permission_denied"
handler404 = "apps.core.views.page_not_found"
handler500 = "apps.core.views.server_error"


@pytest.fixture(autouse=True)
def _routes(settings):
    settings.ROOT_URLCONF = __name__


@pytest.fixture
def forgiving(client):
    """A client that gets the page for 500 instead of the exception."""
    client.raise_request_exception = False
    return client


class TestRequestIds:
    def test_every_answer_has_an_id_of_its_own(self, client):
        first, second = client.get("/hello/"), client.get("/hello/")
        assert re.fullmatch("[0-9a-f]{32}", first["X-Request-Id"])
        assert first["X-Request-Id"] != second["X-Request-Id"]

    def test_a_harmless_id_of_a_proxy_is_kept(self, client):
        assert client.get("/hello/", headers={"X-Request-Id": "edge-7f.3_A"})["X-Request-Id"] == "edge-7f.3_A"

    @pytest.mark.parametrize("given", ["", "a b", "a\tb", "<script>", "ü", "x" * 65, "a\r\nSet-Cookie: b=c"])
    def test_any_other_id_is_replaced(self, client, given):
        answered = client.get("/hello/", headers={"X-Request-Id": given})["X-Request-Id"]
        assert re.fullmatch("[0-9a-f]{32}", answered)

    def test_log_lines_can_tell_the_request(self, client):
        assert client.get("/hello/", headers={"X-Request-Id": "abc"}).content == b"hello abc"

    def test_the_id_is_on_errors_too(self, client):
        for address in ("/gone/", "/nothing/", "/api/nothing"):
            assert client.get(address)["X-Request-Id"]


class TestErrors:
    def test_a_page_says_what_happened(self, client):
        response = client.get("/gone/")
        assert response.status_code == 404
        assert "It doesn&#x27;t exist or isn&#x27;t yours." in response.content.decode()
        assert response["Content-Type"].startswith("text/html")

    def test_not_there_by_rule_and_by_address_are_the_same_bytes(self, client):
        assert client.get("/gone/").content == client.get("/no/such/page/").content

    def test_htmx_gets_a_fragment_alone(self, client):
        response = client.get("/gone/", headers={"HX-Request": "true"})
        body = response.content.decode()
        assert response.status_code == 404
        assert 'role="alert"' in body
        assert "<html" not in body
        assert "HX-Retarget" not in response

    def test_htmx_shows_a_conflict_as_a_toast(self, client):
        response = client.get("/forks/", headers={"HX-Request": "true"})
        assert (response.status_code, response["HX-Retarget"], response["HX-Reswap"]) == (409, "#toasts", "beforeend")

    def test_the_api_gets_code_message_and_data(self, client):
        response = client.get("/api/forks")
        assert response.status_code == 409
        assert response.json() == {
            "error": "has_forks",
            "message": "Other conversations were forked from this one.",
            "forks": 2,
        }

    @pytest.mark.parametrize(("address", "status", "seconds"), [("/busy/", 429, "7"), ("/api/away", 503, "3")])
    def test_what_passes_says_when_to_come_again(self, client, address, status, seconds):
        response = client.get(address)
        assert (response.status_code, response["Retry-After"]) == (status, seconds)

    def test_what_is_unknown_is_our_fault_and_tells_nothing(self, forgiving, caplog):
        response = forgiving.get("/broken/", headers={"X-Request-Id": "ref-1"})
        body = response.content.decode()
        assert response.status_code == 500
        assert "Something broke on our side (ref ref-1). Nothing was lost." in body
        assert "secret of ours" not in body
        line = next(record for record in caplog.records if record.message == "request-failed")
        assert line.fields == {"request_id": "ref-1", "method": "GET", "path": "/broken/"}

    def test_the_api_breaks_in_json(self, forgiving):
        response = forgiving.get("/api/broken", headers={"X-Request-Id": "ref-2"})
        assert response.status_code == 500
        assert response.json()["error"] == "server_error"
        assert "ref-2" in response.json()["message"]

    def test_too_large_a_form_is_413(self, client):
        response = client.post("/body/", {"text": "x" * 1_100_000}, content_type="application/x-www-form-urlencoded")
        assert response.status_code == 413

    @pytest.mark.parametrize("address", ["/hello/?q=%00", "/hello/?q=a%00b", "/api/gone?cursor=%00", "/%00/"])
    def test_nul_in_an_address_is_never_our_fault(self, forgiving, address):
        assert forgiving.get(address).status_code in (400, 404)

    def test_nul_in_a_cookie_is_never_our_fault(self, forgiving):
        response = forgiving.get("/secret/", headers={"Cookie": 'sessionid="abcdefgh\\000abcdefgh"'})
        assert response.status_code == 400

    def test_a_percent_sign_before_zeros_is_no_nul(self, client):
        assert client.get("/hello/?q=100%2500").status_code == 200

    def test_a_foreign_host_is_refused_in_words(self, client):
        response = client.get("/hello/", headers={"Host": "evil.example"})
        assert response.status_code == 400
        assert "The request can&#x27;t be read." in response.content.decode()


class TestWithoutADatabase:
    @pytest.mark.parametrize("address", ["/away/", "/cut/", "/api/cut"])
    def test_every_door_says_when_to_come_again(self, client, address, caplog):
        response = client.get(address)
        assert (response.status_code, response["Retry-After"]) == (503, "2")
        assert "connection" not in response.content.decode()
        assert "database-away" in caplog.messages

    def test_so_it_is_before_any_view_is_reached(self, forgiving, settings):
        settings.SESSION_ENGINE = __name__
        forgiving.cookies["sessionid"] = "of-somebody"
        for address in ("/secret/", "/api/secret"):
            response = forgiving.get(address)
            assert (response.status_code, response["Retry-After"]) == (503, "2"), address

    def test_a_text_that_was_typed_comes_back_to_be_sent_again(self, client):
        form = {"content": "Long <b>words", "client_id": "1", "csrfmiddlewaretoken": "t", "tag": ["a", "b"]}
        page = client.post("/away/", form).content.decode()
        assert '<form method="post" action="/away/">' in page
        assert "Long &lt;b&gt;words</textarea>" in page
        for name, value in [("client_id", "1"), ("csrfmiddlewaretoken", "t"), ("tag", "a"), ("tag", "b")]:
            assert f'<input type="hidden" name="{name}" value="{value}">' in page

    @pytest.mark.parametrize("form", [{"login": "ada", "password": "secret"}, b"{", b"content=" + b"x" * 1_100_000])
    def test_other_forms_are_not_repeated(self, client, form):
        kind = {} if isinstance(form, dict) else {"content_type": "application/x-www-form-urlencoded"}
        response = client.post("/away/", form, **kind)
        assert response.status_code == 503
        assert "<form" not in response.content.decode()
        assert "secret" not in response.content.decode()

    def test_htmx_gets_a_fragment_for_its_script_kept_the_text(self, client):
        response = client.post("/away/", {"content": "Words"}, headers={"HX-Request": "true"})
        assert (response.status_code, response["Retry-After"]) == (503, "2")
        assert "<form" not in response.content.decode()


class TestApiAnswers:
    def test_unknown_addresses_are_json(self, client):
        response = client.get("/api/no/such/thing")
        assert response.status_code in (401, 404)
        assert response["Content-Type"].startswith("application/json")
        assert set(response.json()) == {"error", "message"}

    def test_errors_of_others_become_json_and_keep_their_headers(self, client):
        response = client.get("/api/html")
        assert response.status_code == 405
        assert response.json() == {"error": "method_not_allowed", "message": "That method isn't possible here."}
        assert response["Allow"] == "GET"
        assert int(response["Content-Length"]) == len(response.content)

    def test_a_missing_slash_is_not_there_instead_of_elsewhere(self, client):
        response = client.get("/api/slashed")
        assert response.status_code in (401, 404)
        assert "Location" not in response
        assert json.loads(response.content)["error"] in ("not_found", "not_signed_in")

    def test_plain_http_is_refused_where_the_site_is_https(self, client, settings):
        settings.SECURE_SSL_REDIRECT = True
        fresh = type(client)()
        response = fresh.get("/api/gone")
        assert response.status_code == 403
        assert "Location" not in response
        assert fresh.get("/hello/").status_code == 301

    def test_signing_in_is_asked_for_without_a_redirect(self, client):
        response = client.get("/api/secret")
        assert response.status_code == 401
        assert response.json()["error"] == "not_signed_in"


class TestSigningIn:
    def test_a_page_sends_to_signing_in_and_back(self, client):
        response = client.get("/secret/?a=b")
        assert response.status_code == 302
        assert response["Location"] == "/accounts/login/?next=/secret/%3Fa%3Db"

    def test_a_form_does_not_come_back_to_an_address_for_forms(self, client):
        assert client.post("/secret/")["Location"] == "/accounts/login/?next=/"

    def test_htmx_hears_that_the_session_ended(self, client):
        response = client.post("/secret/", headers={"HX-Request": "true"})
        assert response.status_code == 401
        assert response["HX-Trigger"] == "auth:expired"
        assert "<form" not in response.content.decode()

    def test_who_is_signed_in_passes(self, signed_in):
        assert signed_in.get("/secret/").content == b"secret"


class TestCaches:
    def test_pages_are_kept_out_of_every_cache(self, signed_in):
        for address in ("/secret/", "/gone/", "/nothing/", "/hello/"):
            response = signed_in.get(address)
            assert {part.strip() for part in response["Cache-Control"].split(",")} >= {"private", "no-store"}, address
            assert "Cookie" in response["Vary"]

    def test_a_view_may_say_public(self, client):
        assert client.get("/public/")["Cache-Control"] == "public, max-age=60"


class TestUnderAsgi:
    async def test_all_of_it_works_without_threads_of_its_own(self, db):
        client = AsyncClient()
        response = await client.get("/async/", headers={"X-Request-Id": "abc"})
        assert (response.status_code, response["X-Request-Id"]) == (200, "abc")
        assert "no-store" in response["Cache-Control"]

    async def test_errors_are_answers_there_too(self, db):
        client = AsyncClient()
        assert (await client.get("/gone/")).status_code == 404
        assert (await client.get("/api/forks")).json()["error"] == "has_forks"
        assert (await client.get("/hello/?q=%00")).status_code == 400
        assert (await client.get("/secret/", headers={"HX-Request": "true"})).status_code == 401


@pytest.mark.parametrize(
    ("location", "https", "status", "code"),
    [
        ("/accounts/login/?next=/api/x", False, 401, "not_signed_in"),
        ("/api/x/", False, 404, "not_found"),
        ("https://localhost/api/x", True, 403, "forbidden"),
    ],
)
def test_a_redirect_under_the_api_is_the_error_it_stands_for(settings, location, https, status, code):
    settings.SECURE_SSL_REDIRECT = https
    layer = ApiAnswersMiddleware(lambda request: HttpResponseRedirect(location))
    response = layer(RequestFactory().get("/api/x"))
    assert response.status_code == status
    assert json.loads(response.content)["error"] == code
    assert "Location" not in response


def test_a_client_that_goes_away_while_sending_is_no_fault_of_ours():
    layer = ErrorMiddleware(lambda request: HttpResponse())
    assert layer.process_exception(RequestFactory().get("/"), UnreadablePostError()).status_code == 400
    assert layer.process_exception(RequestFactory().get("/"), RuntimeError()) is None


def test_a_debug_page_becomes_json_under_the_api_too():
    layer = ApiAnswersMiddleware(lambda request: HttpResponse("<h1>Page not found</h1>", status=404))
    assert json.loads(layer(RequestFactory().get("/api/x")).content)["error"] == "not_found"
    assert layer(RequestFactory().get("/x")).content.startswith(b"<h1>")
