"""Two thousand sockets dropped at once come back, and lose their rights in time; what an idle one costs."""

import asyncio
import re
import resource
import signal
import statistics
from pathlib import Path

import pytest

from tests.process.crowd import Crowd
from tests.process.installation import Installation

pytestmark = pytest.mark.slow
USERS, EACH = 100, 20
SOCKETS = USERS * EACH
BACK_WITHIN, LAPSED_WITHIN = 60.0, 5.0
MOST_KB, MOST_CPU = 50, 0.05


class Costs:
    """What the web process takes: processor seconds, and memory in kB."""

    def __init__(self, pid):
        self.pid = pid

    @property
    def cpu(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    @property
    def memory(self):
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())[1])


@pytest.fixture
def files():
    """As many open files as the system grants."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < SOCKETS + 500:
        pytest.skip("This system grants too few open files.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.fixture
def installation(tmp_path, files):
    installation = Installation(tmp_path)
    installation.make_database(people=USERS)
    installation.start_all()
    yield installation
    installation.stop_all(signal.SIGKILL)


async def conversation_of(installation, number):
    async with installation.person(number) as person:
        return await person.begin()


async def test_two_thousand_sockets_come_back_and_lose_their_rights_in_time(installation):
    sessions = [person["session"] for person in installation.people]
    conversations = [await conversation_of(installation, number) for number in range(USERS)]
    crowd = Crowd(installation.url)
    costs = Costs(installation.processes()["web"])
    cpu, memory, began = costs.cpu, costs.memory, crowd.now()
    await crowd.open(sessions, conversations, EACH)
    await asyncio.sleep(1)  # until what they watch is read
    each = (costs.memory - memory) / SOCKETS
    print(
        f"\n{SOCKETS} sockets opened in {crowd.now() - began:.1f} s, {1000 * (costs.cpu - cpu) / SOCKETS:.1f} ms CPU each"
    )
    cpu, began = costs.cpu, crowd.now()
    await asyncio.sleep(6)  # two looks of the guard
    idle = (costs.cpu - cpu) / (crowd.now() - began)
    print(f"idle: {each:.0f} kB each, {100 * idle:.1f} % of a core for all")

    began = crowd.now()
    installation.stop(signal.SIGKILL)
    await crowd.until(lambda: not crowd.live)
    await asyncio.to_thread(installation.start)
    up = crowd.now()
    costs = Costs(installation.processes()["web"])
    cpu = costs.cpu
    await crowd.until(lambda: crowd.live == SOCKETS, BACK_WITHIN)
    back = sorted(tab.greeted_at - began for tab in crowd.tabs)
    quantiles = statistics.quantiles(back, n=20)
    print(
        f"killed; serving after {up - began:.1f} s; back after {quantiles[9]:.1f} s (half), {quantiles[18]:.1f} s (95 %), "
        f"{back[-1]:.1f} s (all); {costs.cpu - cpu:.1f} s CPU; {dict(crowd.seen)}"
    )

    async with installation.person(7) as person:
        await person.post("/accounts/logout/", {})
    began = crowd.now()
    await crowd.until(lambda: crowd.seen["closed 4401"] >= EACH)
    lapsed = crowd.now() - began
    print(f"signed out: {EACH} sockets closed after {lapsed:.1f} s")
    await crowd.leave()

    assert back[-1] < BACK_WITHIN
    assert lapsed < LAPSED_WITHIN
    assert each < MOST_KB
    assert idle < MOST_CPU
