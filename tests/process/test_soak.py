"""A soak of seconds in each shape; `make soak` does the same for an hour."""

import pytest

from tests.soak.memory import Life
from tests.soak.soak import Plan, soak
from tests.soak.users import difference, wrong_text

WORDS = "canary-u1n1 3 pieces of 20 ms"
SAID = "canary-u1n1 0 canary-u1n1 1 canary-u1n1 2 "


@pytest.mark.slow
async def test_people_notice_nothing_but_announced_outages_while_everything_breaks(installation, provider):
    report = await soak(installation, provider, Plan(seconds=11, users=6, gap=(0.3, 1.2), think=0.6))
    assert report.problems == [], str(report)
    assert sum(report.ledger.faults.values()) >= 2, str(report)
    assert sum(report.ledger.answers.values()) >= 10, str(report)


def test_a_soak_would_notice_what_is_wrong_with_a_text():
    assert wrong_text(SAID, "complete", WORDS) == ""
    assert wrong_text(SAID[:5], "interrupted", WORDS) == ""
    assert "complete with 5 of 42" in wrong_text(SAID[:5], "complete", WORDS)
    assert "that nobody said" in wrong_text("canary-u2n1 0 ", "stopped", WORDS)


def test_a_soak_would_notice_a_reader_who_saw_something_else():
    from tests.process.people import Person, PollReader, Sent, StreamReader

    row = {"status": "complete", "content": SAID, "parts": [{"type": "text", "text": SAID}]}
    person = Person("http://localhost", token="", session="")
    reader = StreamReader(person, Sent("c", "m", "g"), status="complete", parts={0: SAID})
    assert difference(reader, row, WORDS) == ""
    reader.parts = {0: SAID[:-1]}
    assert "otherwise than the row" in difference(reader, row, WORDS)
    reader.status = "stopped"
    assert "ended otherwise" in difference(reader, row, WORDS)
    tab = PollReader(person, Sent("c", "m", "g"), status="complete", parts={0: "<p>canary-u1n1 0</p>\n"})
    assert "of" in difference(tab, row, WORDS)


def test_a_line_is_fitted_through_memory_once_a_process_is_warm():
    life = Life("web", [(float(second), 100 + second / 60) for second in range(0, 120, 2)])
    assert life.slope() == pytest.approx(60)
    assert Life("web", life.samples[:5]).slope() is None
