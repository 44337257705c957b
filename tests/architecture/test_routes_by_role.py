"""Every address of the whole site, asked by everybody: what each policy promises, and none without a policy."""

import re

import pytest
from django.conf import settings
from django.shortcuts import resolve_url
from django.test import Client
from django.urls import get_resolver

from apps.accounts.models import ApiToken
from apps.accounts.services import tokens
from apps.conversations.models import Conversation, Generation, Message
from tests.architecture.policies import POLICIES, Policy, policy_of
from tests.factories import make_conversation, make_path

PAGE_METHODS = ("GET", "POST")
API_METHODS = ("GET", "POST", "PATCH", "DELETE")
NOWHERE = "01a1fbb7-4903-7411-9093-0c05fec09170"
# Addresses with patterns that nothing can be filled into.
SAMPLES = {
    r"accounts/^confirm-email/(?P<key>[-:\w]+)/$": "accounts/confirm-email/nonsense/",
    r"accounts/^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$": "accounts/password/reset/key/1-nonsense/",
    r"api/^.+$": "api/nothing/here",
}

# Addresses that serve scripts of ours alone, or need a query.
SCRIPTS = {"sidebar/row/<str:conversation_id>/"}
QUERIES = {"c/<str:conversation_id>/live/": "?m={message_id}"}


def routes_of(resolver, prefix=""):
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from routes_of(pattern, route)
        else:
            yield route


ROUTES = sorted(set(routes_of(get_resolver())))


def is_api(route):
    return route.startswith("api/")


def fill(route, ids):
    """Put ids into a route's parameters."""
    if route in SAMPLES:
        return f"/{SAMPLES[route]}"
    path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: str(ids.get(match[1], "1")), route)
    return "/" + re.sub(r"\(\?P<?(\w+)>?[^)]*\)", "nothing", path).replace("^", "").replace("$", "")


class World:
    """An owner with a conversation, its messages and a token; a stranger who has the same of their own."""

    def __init__(self, user, stranger):
        self.user, self.stranger = user, stranger
        self.ids = self._rows_of(user)
        self._rows_of(stranger)
        _, self.reading = tokens.make_token(user=user, scopes=["read"])

    def _rows_of(self, user):
        conversation = make_conversation(owner=user, title="Trees")
        path = make_path(conversation=conversation, length=4)
        token, _ = tokens.make_token(user=user)
        return {
            "conversation_id": conversation.pk,
            "chat_id": conversation.pk,
            "message_id": path[1].pk,
            "token_id": token.pk,
        }

    def nowhere(self):
        return dict.fromkeys(self.ids, NOWHERE)

    def ask(self, route, method, *, user=None, token=None, ids=None):
        """Send one request with a body that most addresses take."""
        client = Client(raise_request_exception=False)
        if user is not None:
            client.force_login(user)
        ids = self.ids if ids is None else ids
        headers = {"X-Request-Id": "the-same"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if route in SCRIPTS:
            headers["HX-Request"] = "true"
        options = {"content_type": "application/json"} if is_api(route) and method != "GET" else {}
        data = None if method == "GET" else self.body(route)
        call = getattr(client, method.lower())
        return call(fill(route, ids) + QUERIES.get(route, "").format(**ids), data, headers=headers, **options)

    def body(self, route):
        """Give a body that the address takes."""
        body = {"content": "Hello", "messageId": str(self.ids["message_id"]), "title": "Taken", "favourite": True}
        return {**body, "mode": "branch"} if "edit" in route else body


@pytest.fixture
def world(user, stranger):
    return World(user, stranger)


def rows():
    return [list(model.objects.order_by("pk").values()) for model in (Conversation, Message, Generation, ApiToken)]


def methods(route):
    return API_METHODS if is_api(route) else PAGE_METHODS


def asks_for_sign_in(response):
    if response.status_code == 401:
        return True
    logins = (resolve_url(settings.LOGIN_URL), "/admin/login/")
    return response.status_code == 302 and response["Location"].startswith(logins)


def test_every_route_has_a_policy_and_every_policy_a_route():
    assert [route for route in ROUTES if policy_of(route) is None] == []
    assert set(POLICIES) - set(ROUTES) == set()
    assert len(ROUTES) > 80


@pytest.mark.django_db
@pytest.mark.parametrize("route", ROUTES)
def test_a_route_keeps_what_its_policy_promises(route, world):
    match policy_of(route):
        case Policy.PUBLIC:
            check_public(route, world)
        case Policy.SIGNED_IN:
            check_outsiders(route, world)
            check_signed_in(route, world)
        case Policy.OWNED:
            check_outsiders(route, world)
            check_stranger(route, world)
            check_owner(route, world)
        case Policy.STAFF:
            check_staff_only(route, world)


def check_public(route, world):
    for method in methods(route):
        response = world.ask(route, method)
        assert response.status_code < 500, method
        assert response.status_code not in (401, 403), method


def check_outsiders(route, world):
    """Nobody signed in, and a token: it opens the API alone, and there only what its scope names."""
    before = rows()
    for method in methods(route):
        response = world.ask(route, method)
        assert asks_for_sign_in(response), (method, response.status_code)
        assert not is_api(route) or response.status_code == 401
        by_token = world.ask(route, method, token=world.reading)
        if not is_api(route):
            assert asks_for_sign_in(by_token), (method, by_token.status_code)
        elif method == "GET":
            assert by_token.status_code in (200, 204, 404, 405), by_token.status_code
        else:
            assert (by_token.status_code, by_token.json()["error"]) == (403, "scope_missing"), method
    # What a token did is to be used: nothing else changed.
    assert rows()[:3] == before[:3]


def check_signed_in(route, world):
    for user in (world.user, world.stranger):
        for method in methods(route):
            response = world.ask(route, method, user=user)
            assert response.status_code < 500, method
            assert response.status_code not in (401, 403), method


def check_stranger(route, world):
    """Another's row and no row are the same answer, and asking changes nothing."""
    before = rows()
    statuses = set()
    for method in methods(route):
        foreign = world.ask(route, method, user=world.stranger)
        nowhere = world.ask(route, method, user=world.stranger, ids=world.nowhere())
        assert foreign.status_code == nowhere.status_code, method
        assert foreign.content == nowhere.content, method
        statuses.add(foreign.status_code)
    assert statuses <= {404, 405}
    assert 404 in statuses
    assert rows() == before


def check_owner(route, world):
    statuses = {method: world.ask(route, method, user=world.user).status_code for method in methods(route)}
    assert any(status < 400 or status in (409, 422) for status in statuses.values()), statuses
    assert not {401, 403} & set(statuses.values()), statuses
    assert max(statuses.values()) < 500, statuses


def check_staff_only(route, world):
    for user in (None, world.user):
        for method in methods(route):
            response = world.ask(route, method, user=user)
            lets_sign_in = fill(route, {}) in ("/admin/login/", "/admin/logout/", "/admin/jsi18n/")
            assert asks_for_sign_in(response) or response.status_code in (403, 404, 405) or lets_sign_in, method
