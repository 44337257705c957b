"""What operators are given to deploy agrees with the program: commands, variables, ports and limits exist and fit together."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.deployment import COMPOSE, OURS, ROOT, SERVICES, in_words, made_secrets, procfile
from tests.process.fleet import Nginx

NGINX = (ROOT / "deploy" / "nginx.conf").read_text()
CADDY = (ROOT / "deploy" / "Caddyfile").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
DRAINS = ("web-1", "web-2", "generations")


def known_variables():
    return set(re.findall(r"^#([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))


def seconds(text):
    return int(text.removesuffix("s"))


def test_nginx_takes_our_configuration(tmp_path):
    try:
        said = Nginx(tmp_path, port=8080, webs=[8001, 8002]).check()
    except subprocess.CalledProcessError as error:
        pytest.fail(error.stderr)
    assert "syntax is ok" in said
    assert "[warn]" not in said


def test_each_process_of_the_procfile_is_a_service_with_its_command():
    known = procfile()
    assert known.keys() == {"release", "web", "generations", "worker", "beat"}
    for name in OURS:
        command = in_words(name)[2:] if in_words(name)[0] == "sh" else [" ".join(in_words(name))]
        assert command[0].startswith(known[name.split("-")[0]]), name
    assert {name.split("-")[0] for name in OURS} == known.keys()


@pytest.mark.parametrize("name", OURS)
def test_a_service_sets_only_variables_that_there_are(name):
    names = {variable.removesuffix("_FILE") for variable in SERVICES[name]["environment"]}
    assert names <= known_variables()
    secrets = set(SERVICES[name]["secrets"])
    files = {value for key, value in SERVICES[name]["environment"].items() if key.endswith("_FILE")}
    assert files == {f"/run/secrets/{secret}" for secret in secrets}
    assert secrets <= COMPOSE["secrets"].keys()


def test_services_start_in_order_and_have_time_to_end():
    from django.conf import settings

    for name in OURS:
        waits = SERVICES[name]["depends_on"]
        if name == "release":
            assert waits == {"postgres": {"condition": "service_healthy"}}
            assert SERVICES[name]["restart"] == "no"
        else:
            assert waits["release"] == {"condition": "service_completed_successfully"}
            assert SERVICES[name]["restart"] == "unless-stopped"
    for name in DRAINS:
        assert seconds(SERVICES[name]["stop_grace_period"]) >= settings.GENERATION["drain_seconds"] + 20
    for name in SERVICES.keys() - {"release", "beat"}:
        assert SERVICES[name]["healthcheck"]["test"], name


def test_images_have_plain_names_and_only_the_proxy_is_reached_from_outside():
    for service in SERVICES.values():
        assert re.fullmatch(r"[a-z]+(:[\w.-]+)?", service["image"])
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"nginx"}


def test_connections_fit_into_postgresql():
    from apps.core.db import EXECUTOR_THREADS, REQUEST_THREADS
    from config.settings import pooled

    (limit,) = re.findall(r"max_connections=(\d+)", SERVICES["postgres"]["command"])
    pool = pooled({})["OPTIONS"]["pool"]["max_size"]
    assert pool == EXECUTOR_THREADS + REQUEST_THREADS
    # A lock of upkeep has a connection beside its pool; ten are for people and backups.
    assert 2 * pool + 8 + 5 + 1 + 10 <= int(limit)


def test_redis_throws_nothing_out():
    assert "--maxmemory-policy noeviction" in SERVICES["redis"]["command"]


def test_the_proxies_know_the_web_processes_and_their_pace():
    webs = {name for name in SERVICES if name.startswith("web-")}
    assert set(re.findall(r"server (web-\d):8000", NGINX)) == webs
    assert set(re.findall(r"(web-\d):8000", CADDY)) == webs
    (port,) = re.findall(r"listen (\d+);", NGINX)
    assert SERVICES["nginx"]["ports"] == [f"{port}:{port}"]
    from apps.conversations.api.streams import COMMENT_SECONDS

    (patience,) = re.findall(r"proxy_read_timeout (\d+)s", NGINX)
    (pings,) = re.findall(r"PING_EVERY = ([\d_]+)", (ROOT / "static/js/socket.js").read_text())
    assert int(patience) > 2 * COMMENT_SECONDS
    assert int(patience) > 2 * int(pings) / 1000


def test_the_image_holds_what_runs_and_runs_as_nobody_special():
    for source in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE):
        for name in source.split():
            assert (ROOT / name).exists(), name
    (version,) = re.findall(r"^FROM python:3\.(\d+)-slim$", DOCKERFILE, re.MULTILINE)
    assert int(version) >= 11
    assert re.search(r"^USER bough$", DOCKERFILE, re.MULTILINE)
    assert "--require-hashes" in DOCKERFILE
    assert {"PORT=8000", "BOUGH_DATA_DIR=/data"} <= set(re.findall(r"[A-Z_]+=\S+", DOCKERFILE))


def test_secrets_are_made_once_and_kept(tmp_path):
    folder = made_secrets(tmp_path)
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert made.keys() == {path["file"].rpartition("/")[2] for path in COMPOSE["secrets"].values()}
    assert len(set(made.values())) == len(made)
    assert all(len(text) > 50 for text in made.values())
    assert made["postgres_password"] in made["database_url"]
    assert folder.stat().st_mode & 0o077 == 0
    again = made_secrets(tmp_path)
    assert {path.name: path.read_text() for path in again.iterdir()} == made
