"""Upkeep: everything that runs out is ended or removed, and counted; twice is once."""

import asyncio
import io
import json
import threading
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.accounts.models import ApiToken, SignInLink
from apps.accounts.services import links, tokens
from apps.conversations import tasks
from apps.conversations.models import Conversation, Generation, Message, RunnerProcess
from apps.conversations.runner.housekeeping import Housekeeper
from apps.conversations.services import conversations, leases, messages, upkeep
from apps.core.db import in_db
from apps.core.locks import Locked, only_one
from tests.conversations.answers import end_all
from tests.factories import make_conversation, make_message, make_path, reload

pytestmark = pytest.mark.django_db

KINDS = [
    "generations",
    "unfinished_messages",
    "runners",
    "sessions",
    "sign_in_links",
    "tokens",
    "conversations",
    "messages",
]
LONG_AGO = timedelta(days=31)


def expired_session():
    Session.objects.create(session_key="old", session_data="", expire_date=timezone.now() - timedelta(days=1))


def run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    call_command(*arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def litter(user):
    """One of everything that upkeep removes, and one of everything that it must leave alone."""
    now = timezone.now()
    for number, expires in enumerate((now - timedelta(minutes=1), now + timedelta(days=1))):
        Session.objects.create(session_key=f"key{number}", session_data="", expire_date=expires)
    for age in (timedelta(hours=1), timedelta(0)):
        link, _ = links.make_link(user=user)
        SignInLink.objects.filter(pk=link.pk).update(expires_at=link.expires_at - age)
    for revoked in (now - LONG_AGO, now - timedelta(days=1), None):
        token, _ = tokens.make_token(user=user)
        ApiToken.objects.filter(pk=token.pk).update(revoked_at=revoked)
    messages.send(user=user, conversation_id=None, content="Who is there?")
    leases.claim(owner="gone:1:a", limit=1)
    Generation.objects.filter(state="running").update(lease_until=now - timedelta(hours=1), first_delta_at=now)
    ended = messages.send(user=user, conversation_id=None, content="Hello")
    end_all()
    end_all()
    Message.objects.filter(pk=ended.answers[0].pk).update(status="streaming")
    gone = make_conversation(owner=user)
    make_path(conversation=gone, length=3)
    conversations.delete(user=user, conversation_id=gone.pk)
    Conversation.objects.filter(pk=gone.pk).update(deleted_at=now - LONG_AGO)
    for name, age in (("gone:1:a", timedelta(days=2)), ("here:1:a", timedelta(0))):
        RunnerProcess.objects.create(name=name, started_at=now - age, seen_at=now - age, concurrency=9)
    return [1, 1, 1, 1, 1, 1, 1, 3]


def test_everything_is_counted_removed_and_gone_the_second_time(litter):
    dry = upkeep.run(dry_run=True)
    assert dry == upkeep.run(dry_run=True) == dict(zip(KINDS, litter, strict=True))
    assert upkeep.run() == dry
    assert upkeep.run() == dict.fromkeys(KINDS, 0)
    assert (Session.objects.count(), SignInLink.objects.count(), ApiToken.objects.count()) == (1, 1, 2)
    assert set(Message.objects.values_list("status", flat=True)) == {"complete", "interrupted"}


def test_what_is_being_written_is_left_alone(user):
    sent = messages.send(user=user, conversation_id=None, content="Hello")
    assert upkeep.run() == dict.fromkeys(KINDS, 0)
    leases.claim(owner="test:1:a", limit=1)
    assert upkeep.run() == dict.fromkeys(KINDS, 0)
    assert reload(sent.answers[0]).status == "streaming"


def test_a_continued_answer_is_not_unfinished(user):
    sent = messages.send(user=user, conversation_id=None, content="Hello")
    end_all()
    end_all()
    messages.continue_answer(user=user, conversation_id=sent.conversation.pk, message_id=sent.answers[0].pk)
    assert upkeep.run()["unfinished_messages"] == 0


def test_a_time_that_is_up_leaves_the_rest_for_the_next_time(litter):
    counts = upkeep.run(over=lambda: True)
    assert counts["generations"] == 1
    assert counts["sessions"] == counts["messages"] == 0
    assert upkeep.run(seconds=0)["messages"] == 0
    assert upkeep.run(seconds=60)["messages"] == 3


def test_only_one_at_a_time(user):
    with only_one("sweep"):
        with pytest.raises(Locked):
            upkeep.run()
        with pytest.raises(CommandError, match="running") as raised:
            run("sweep")
        assert raised.value.returncode == 75
    upkeep.run()


def test_removing_costs_the_same_queries_at_any_number(user, django_assert_max_num_queries):
    now = timezone.now()
    Session.objects.bulk_create(
        Session(session_key=f"key{number}", session_data="", expire_date=now - timedelta(days=1))
        for number in range(2500)
    )
    with django_assert_max_num_queries(30):
        assert upkeep.run()["sessions"] == 2500


def _hold(held, let_go):
    """Be another process that sweeps, until told to end."""
    with only_one("sweep"):
        held.set()
        assert let_go.wait(10)


class TestScheduled:
    def test_the_scheduler_does_the_whole_now_and_then_and_the_dead_every_minute(self, litter):
        tasks.sweep()
        assert Session.objects.count() == 2
        assert not Generation.objects.filter(state="running").exists()
        with only_one("sweep"):
            tasks.sweep(whole=True)
        assert Session.objects.count() == 2
        tasks.sweep(whole=True)
        assert Session.objects.count() == 1

    @pytest.mark.django_db(transaction=True)
    async def test_a_web_process_without_a_scheduler_does_it_by_itself(self):
        await in_db(expired_session)
        keeper = Housekeeper(first_seconds=0, every_seconds=0.01)
        held, let_go = threading.Event(), threading.Event()
        holding = asyncio.ensure_future(in_db(_hold, held, let_go))
        assert await asyncio.to_thread(held.wait, 10)
        keeper.start()
        await asyncio.sleep(0)
        let_go.set()
        await holding
        async with asyncio.timeout(10):
            while await in_db(Session.objects.exists):
                await asyncio.sleep(0.01)
        await keeper.stop()

    async def test_it_ends_at_once_while_it_waits(self):
        keeper = Housekeeper()
        keeper.start()
        async with asyncio.timeout(1):
            await keeper.stop()
        await Housekeeper().stop()


class TestSweep:
    def test_prints_aligned_counts(self, litter):
        out, err = run("sweep", "--dry-run")
        lines = out.splitlines()
        assert [line.split() for line in lines][1] == ["unfinished", "messages", "1"]
        assert len({len(line) for line in lines}) == 1
        assert err == "Dry run: nothing was changed.\n"

    def test_prints_json(self, litter):
        out, err = run("sweep", "--json", "--no-input")
        assert list(json.loads(out).items()) == list(zip(KINDS, litter, strict=True))
        assert err == ""


class TestDoctor:
    @pytest.fixture
    def broken(self, user):
        path = make_path(conversation=make_conversation(owner=user), length=30)
        Message.objects.update(text="Something else.")
        return path

    def test_a_healthy_database(self, user):
        out, err = run("doctor")
        assert out.startswith("All ")
        assert out.endswith(" rules hold.\n")
        assert err == ""

    def test_problems_are_told_with_their_rows_and_exit_3(self, broken):
        out = io.StringIO()
        with pytest.raises(CommandError, match="breaks 1 of its rules") as raised:
            call_command("doctor", stdout=out)
        assert raised.value.returncode == 3
        lines = out.getvalue().splitlines()
        assert lines[0] == "message_text: 30  (A message's text is that of its text parts.)"
        assert len(lines) == 22
        assert lines[-1] == "    … and 10 more"

    def test_what_is_repaired_is_told_and_all_is_well(self, broken):
        out, _ = run("doctor", "--fix")
        assert out.splitlines()[0] == "repaired  message_text: 30"
        assert "rules hold" in out
        assert run("doctor")[0].startswith("All ")

    def test_what_can_not_be_repaired_comes_with_advice_and_exit_3(self, user):
        message = make_message(conversation=make_conversation(owner=user))
        Message.objects.filter(pk=message.pk).update(parts=[7])
        out = io.StringIO()
        with pytest.raises(CommandError, match="left") as raised:
            call_command("doctor", "--fix", stdout=out)
        assert raised.value.returncode == 3
        assert "backup" in out.getvalue()

    def test_json(self, broken):
        out = io.StringIO()
        with pytest.raises(CommandError):
            call_command("doctor", "--json", stdout=out)
        found = json.loads(out.getvalue())
        assert (found["ok"], found["repaired"]) == (False, {})
        (problem,) = found["problems"]
        assert (problem["rule"], problem["count"], len(problem["ids"])) == ("message_text", 30, 20)
        assert json.loads(run("doctor", "--fix", "--json")[0]) == {
            "ok": True,
            "rules": found["rules"],
            "repaired": {"message_text": 30},
            "problems": [],
        }

    def test_two_at_once(self, user):
        with only_one("doctor"), pytest.raises(CommandError) as raised:
            run("doctor")
        assert raised.value.returncode == 75
