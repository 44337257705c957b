"""Figures for Prometheus: who may see them, how they read, that names can't fill the memory."""

from urllib.request import urlopen

import pytest
from django.db import OperationalError
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from apps.core import metrics

pytestmark = pytest.mark.django_db
TOKEN = "a-token-of-prometheus"


def families(text):
    return {family.name: family for family in text_string_to_metric_families(text)}


def ask(client, peer="127.0.0.1", method="get", path="/metrics", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return getattr(client, method)(path, headers=named, REMOTE_ADDR=peer)


def test_figures_are_text_that_prometheus_reads(client):
    response = ask(client)
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "no-store" in response["Cache-Control"]
    found = families(response.content.decode())
    assert found["process_resident_memory_bytes"].samples[0].value > 1_000_000
    assert {"process_cpu_seconds", "process_open_fds"} <= set(found)
    assert {"bough_requests", "bough_sockets", "bough_frames", "bough_resyncs", "bough_bus_errors"} <= set(found)
    assert {"bough_generations_queued", "bough_generations_running"} <= set(found)


def test_they_come_as_openmetrics_where_that_is_asked_for(client):
    response = ask(client, accept="application/openmetrics-text; version=1.0.0")
    assert response["Content-Type"].startswith("application/openmetrics-text")
    assert "bough_requests" in {family.name for family in openmetrics_families(response.content.decode())}


def test_requests_are_counted_by_the_class_of_their_status(client):
    def count(status):
        return metrics.REGISTRY.get_sample_value("bough_requests_total", {"status": status})

    before = count("2xx"), count("4xx")
    client.get("/health/live")
    client.get("/nowhere/")
    client.get("/nowhere/")
    assert (count("2xx"), count("4xx")) == (before[0] + 1, before[1] + 2)


# --- who may see them --------------------------------------------------------------------------------------------

NEAR = ["127.0.0.1", "::1", "10.1.2.3", "172.20.0.5", "192.168.1.9", "fd00::1", "fe80::1%eth0", "::ffff:10.0.0.1"]
FAR = ["203.0.113.7", "2001:db8::1", "::ffff:8.8.8.8", "100.64.0.1", "0.0.0.0", "172.32.0.1", "", "unix:"]


@pytest.mark.parametrize("peer", NEAR)
def test_without_a_token_private_addresses_see_them(client, peer):
    assert ask(client, peer).status_code == 200


@pytest.mark.parametrize("peer", FAR)
def test_for_all_others_nothing_is_there(client, peer):
    hidden = ask(client, peer, X_Request_Id="same")
    nothing = ask(client, peer, path="/metricz", X_Request_Id="same")
    assert hidden.status_code == nothing.status_code == 404
    assert hidden.content.replace(b"/metrics", b"") == nothing.content.replace(b"/metricz", b"")
    assert hidden.headers == nothing.headers


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "Via", "X-Real-IP", "CF-Connecting-IP"]
)
def test_what_a_proxy_passed_on_is_refused_where_no_proxy_is_trusted(client, name):
    assert ask(client, **{name: "10.0.0.1"}).status_code == 404


@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("10.0.0.2", {"X-Forwarded-For": "10.0.0.77"}, 200),
        ("10.0.0.2", {"X-Forwarded-For": "203.0.113.7"}, 404),
        ("10.0.0.2", {"X-Forwarded-For": "10.0.0.77, 203.0.113.7"}, 404),
        # The proxy names nobody: everybody comes from it.
        ("10.0.0.2", {"X-Forwarded-Proto": "https"}, 404),
        ("10.0.0.2", {"X-Forwarded-For": "nonsense"}, 404),
        # Not the proxy.
        ("10.0.0.3", {"X-Forwarded-For": "10.0.0.77"}, 404),
        ("10.0.0.3", {}, 200),
        ("10.0.0.2", {}, 200),
    ],
)
def test_trusted_proxies_say_who_asks(client, settings, peer, headers, status):
    settings.TRUSTED_PROXIES = ["10.0.0.2"]
    assert ask(client, peer, **headers).status_code == status


@pytest.mark.parametrize(
    ("given", "status"),
    [(f"Bearer {TOKEN}", 200), (f"bearer {TOKEN}", 200), ("Bearer wrong", 404), (f"Basic {TOKEN}", 404), ("", 404)],
)
@pytest.mark.parametrize("peer", ["127.0.0.1", "203.0.113.7"])
def test_where_there_is_a_token_it_alone_opens(client, settings, peer, given, status):
    settings.METRICS_TOKEN = TOKEN
    assert ask(client, peer, Authorization=given, X_Forwarded_For="203.0.113.9").status_code == status


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_figures_are_only_read(client, method):
    assert ask(client, method=method).status_code == 405
    assert ask(client, "203.0.113.7", method=method).status_code == 404


@pytest.mark.parametrize(
    ("host", "token", "status"),
    [
        ("10.0.0.5:8000", "", 200),
        ("[::1]:8000", "", 200),
        # A site of somebody else's whose name leads here.
        ("evil.example", "", 400),
        ("bough-web:8000", "", 400),
        ("bough-web:8000", TOKEN, 200),
    ],
)
def test_addresses_are_hosts_enough_and_with_a_token_any_name(client, settings, host, token, status):
    settings.METRICS_TOKEN = token
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    assert ask(client, Host=host, **headers).status_code == status


def test_a_plain_request_is_not_sent_to_https(client, settings):
    settings.SECURE_SSL_REDIRECT = True
    assert ask(client).status_code == 200


# --- the rest ----------------------------------------------------------------------------------------------------


@pytest.fixture
def shared():
    """A place for one more collector, gone after the test."""
    made = []

    def add(collect):
        class Made(Collector):
            def collect(self):
                return collect()

        made.append(Made())
        metrics.SHARED.register(made[0])

    yield add
    metrics.SHARED.unregister(made[0])


def test_without_the_database_the_process_tells_its_own(client, shared, caplog):
    def away():
        raise OperationalError("the connection was cut")

    shared(away)
    found = families(ask(client).content.decode())
    assert "bough_requests" in found
    assert "bough_generations_queued" not in found
    assert "shared-figures-failed" in caplog.messages


def test_names_beyond_the_bound_are_one():
    few = metrics.Few(2)
    assert [few(name) for name in "abcab"] == ["a", "b", "other", "a", "b"]


def test_a_process_without_pages_serves_its_figures_beside():
    with metrics.served("127.0.0.1", 0) as port:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
            found = families(reply.read().decode())
        with pytest.raises(OSError, match="in use"), metrics.served("127.0.0.1", port):
            raise AssertionError("served twice")
    assert "bough_requests" in found
    assert "bough_generations_queued" not in found
