"""What docker-compose.yml runs, run here: every command, health check and secret of it, with real PostgreSQL, Redis and nginx."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.deployment import OURS, SERVICES, Container, made_secrets
from tests.process.fleet import Nginx
from tests.servers import free_port

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("scaled")]
PATIENCE = 90.0
STAYING = [name for name in OURS if name != "release"]


@pytest.fixture
def ports():
    return {name: free_port() for name in ("nginx", "web-1", "web-2", "generations")}


@pytest.fixture
def containers(tmp_path, ports, own_postgres, own_redis):
    secrets = made_secrets(tmp_path)
    database = f"deployed_{ports['nginx']}"
    own_postgres.query(f"CREATE DATABASE {database}")
    (secrets / "database_url").unlink()
    (secrets / "database_url").write_text(own_postgres.url(database))
    changes = {"HOST": "127.0.0.1", "SITE_URL": f"http://localhost:{ports['nginx']}", "TRUSTED_PROXIES": "127.0.0.1"}
    changes["BOUGH_DATA_DIR"] = str(tmp_path / "data")
    places = {"/run/secrets": str(secrets), "redis://redis:6379/0": own_redis.url}
    places |= {"9100": str(ports["generations"]), "0.0.0.0": "127.0.0.1"}
    (tmp_path / "data").mkdir()
    made = {}
    for name in OURS:
        port = str(ports.get(name, 8000))
        made[name] = Container(name, tmp_path, {**changes, "PORT": port}, {**places, ":8000": f":{port}"})
    yield made
    for container in made.values():
        container.kill()


@pytest.fixture
def nginx(tmp_path, ports):
    nginx = Nginx(tmp_path / "data", port=ports["nginx"], webs=[ports["web-1"], ports["web-2"]])
    yield nginx
    nginx.stop()


def until_healthy(container):
    until = time.monotonic() + PATIENCE
    while not container.is_healthy():
        assert time.monotonic() < until, container.log()
        time.sleep(0.2)


def fetch(url, *, token="", body=None, **headers):
    headers |= {"Authorization": f"Bearer {token}", "Content-Type": "application/json"} if token else {}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=PATIENCE) as response:
        return response.status, response.headers, response.read()


def test_every_command_and_health_check_of_the_compose_file_does_its_work(containers, nginx, ports, tmp_path):
    containers["release"].run_command()
    for name in STAYING:
        containers[name].start()
    with ThreadPoolExecutor() as pool:
        list(pool.map(until_healthy, [containers[name] for name in STAYING if "healthcheck" in SERVICES[name]]))
    nginx.start()
    site = f"http://localhost:{ports['nginx']}"
    containers["web-1"].run("python", "manage.py", "create_user", "ada@example.org")
    token = containers["web-1"].run("python", "manage.py", "create_token", "ada@example.org")
    chat = json.loads(fetch(f"{site}/api/chats", token=token, body={})[2])["id"]
    _, _, events = fetch(f"{site}/api/chats/{chat}/messages", token=token, body={"content": "hello", "stream": True})
    assert b'"status":"complete"' in events
    _, _, page = fetch(f"{site}/accounts/login/")
    static = re.search(rb'href="(/static/[^"]+\.css)"', page)[1].decode()
    _, headers, sheet = fetch(f"{site}{static}", **{"Accept-Encoding": "gzip"})
    assert (headers["Content-Type"], "immutable" in headers["Cache-Control"]) == ("text/css; charset=utf-8", True)
    # From the folder, as it was compressed there: by nginx, then.
    assert sheet == (tmp_path / "data" / f"{static[1:]}.gz").read_bytes()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(f"{site}/metrics")
    for name in STAYING:
        containers[name].ask_to_end()
    statuses = {name: containers[name].ended(40) for name in STAYING}
    assert statuses == dict.fromkeys(STAYING, 0)
    for name in STAYING:
        assert "Traceback" not in containers[name].log(), containers[name].log()
