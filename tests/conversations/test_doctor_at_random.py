"""Random acts leave a healthy database, and random damage is repaired without losing a word."""

import contextlib
import random
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.conversations.models import Conversation, Generation, Message, Run
from apps.conversations.services import (
    branches,
    conversations,
    forks,
    generations,
    invariants,
    leases,
    messages,
    purge,
    repairs,
)
from apps.core.errors import DomainError
from apps.core.ids import new_id
from tests.conversations.answers import end_all

pytestmark = pytest.mark.django_db


class Person:
    """Somebody who does whatever there is to do, in an order that a seed decides."""

    def __init__(self, user, seed):
        self.user, self.rng = user, random.Random(seed)

    def act(self):
        """Do one thing; what is refused is fine."""
        acts = [*[self.send] * 5, self.regenerate, self.go_on, self.edit, self.select, self.delete, self.restore]
        acts += [
            self.fork,
            self.delete_conversation,
            self.restore_conversation,
            self.stop,
            end_all,
            end_all,
            self.die,
            self.age,
        ]
        with contextlib.suppress(DomainError):
            self.rng.choice(acts)()

    def any(self, rows):
        found = list(rows.order_by("pk"))
        return self.rng.choice(found) if found else None

    def on(self, function, message, **more):
        if message is not None:
            pks = {"conversation_id": message.conversation_id, "message_id": message.pk}
            function(user=self.user, **pks, **more)

    def message(self, **fields):
        return self.any(Message.objects.filter(owner=self.user, **fields))

    def conversation(self, **fields):
        return self.any(Conversation.objects.filter(owner=self.user, **fields))

    def send(self):
        conversation = self.conversation(deleted_at=None)
        if conversation is None or self.rng.random() < 0.2:
            messages.send(user=self.user, conversation_id=None, content="Hello")
            return
        below = self.any(Message.objects.standing().filter(conversation=conversation))
        parent = below.pk if below is not None and self.rng.random() < 0.5 else None
        messages.send(user=self.user, conversation_id=conversation.pk, content="And?", parent_id=parent)

    def regenerate(self):
        self.on(messages.regenerate, self.message(role="assistant"))

    def go_on(self):
        self.on(messages.continue_answer, self.message(role="assistant"))

    def edit(self):
        self.on(messages.edit, self.message(), content="Edited", mode=self.rng.choice(["branch", "save"]))

    def select(self):
        self.on(branches.select, self.message(deletion=None))

    def delete(self):
        self.on(branches.delete_message, self.message(deletion=None))

    def restore(self):
        self.on(branches.restore_message, self.message(deletion__isnull=False))

    def fork(self):
        self.on(forks.fork, self.message(deletion=None))

    def delete_conversation(self):
        if found := self.conversation(deleted_at=None):
            what = self.rng.choice([None, "delete", "detach"])
            conversations.delete(user=self.user, conversation_id=found.pk, forks=what)

    def restore_conversation(self):
        if found := self.conversation(deleted_at__isnull=False):
            conversations.restore(user=self.user, conversation_id=found.pk)

    def stop(self):
        if found := self.conversation(deleted_at=None):
            generations.stop(user=self.user, conversation_id=found.pk)

    def die(self):
        """A runner begins something and is gone."""
        leases.claim(owner="gone:1:a", limit=1)
        Generation.objects.filter(lease_owner="gone:1:a").update(lease_until=timezone.now() - timedelta(hours=1))
        generations.sweep()

    def age(self):
        """Some of what was deleted was so a month ago, and goes."""
        if found := self.conversation(deleted_at__isnull=False):
            long_ago = timezone.now() - timedelta(days=31)
            Conversation.objects.filter(deleted_at=found.deleted_at).update(deleted_at=long_ago)
        if message := self.message(deletion__isnull=False):
            inside = Message.objects.filter(conversation=message.conversation_id, deletion__lte=message.deletion)
            for deletion in inside.values_list("deletion", flat=True).distinct():
                older = type(deletion)(int=deletion.int - (31 * 86_400_000 << 80))
                Message.objects.filter(deletion=deletion).update(deletion=older)
        purge.purge()


@pytest.mark.parametrize("seed", range(8))
def test_whatever_people_do_keeps_all_rules(user, seed):
    person = Person(user, seed)
    for _ in range(40):
        person.act()
    assert invariants.find_problems() == []
    assert Message.objects.exists()


def test_conversations_made_for_demonstrations_keep_all_rules(user):
    call_command("create_demo_data", user.email, conversations=4, messages=60, deep=300, verbosity=0)
    assert invariants.find_problems() == []


def damage(rng):
    """Write nonsense somewhere; False if the database refuses it."""
    message, other = rng.sample(list(Message.objects.order_by("pk")), 2)
    conversation, another = rng.sample(list(Conversation.objects.order_by("pk")), 2)
    # What is another's stays so: where else would a message be at home?
    home = rng.choice(list(Conversation.objects.filter(owner=message.owner_id).order_by("pk")))
    nonsense = [
        (message, {"parent": other}),
        (message, {"depth": rng.randint(1, 9)}),
        (message, {"run": other.run_id}),
        (message, {"conversation": home}),
        (message, {"owner": another.owner_id}),
        (message, {"last_leaf": rng.choice([other.pk, new_id()])}),
        (message, {"copied_from": new_id()}),
        (message, {"deletion": rng.choice([None, new_id()])}),
        (message, {"status": rng.choice(["streaming", "failed"])}),
        (rng.choice(list(Run.objects.order_by("pk"))), {"parent": other.run_id, "parent_depth": rng.randint(0, 9)}),
        (conversation, {"active_leaf": rng.choice([None, message.pk, new_id()])}),
        (conversation, {"parent_conversation": rng.choice([None, another.pk])}),
        (conversation, {"root_conversation": another.pk}),
        (conversation, {"branch_id": rng.choice([None, another.branch_id])}),
        (conversation, {"branch_from_message": rng.choice([None, message.pk])}),
    ]
    row, fields = rng.choice(nonsense)
    try:
        with transaction.atomic():
            type(row).objects.filter(pk=row.pk).update(**fields)
    except IntegrityError:
        return


@pytest.mark.parametrize("seed", range(16))
def test_whatever_is_damaged_is_repaired_and_no_word_is_lost(user, stranger, seed):
    rng = random.Random(seed)
    people = [Person(user, seed), Person(stranger, seed + 1000)]
    for person in people:
        person.send()
    for _ in range(20):
        for person in people:
            person.act()
            person.act()
            end_all()
    texts = dict(Message.objects.values_list("pk", "text"))
    readers = dict(Message.objects.values_list("pk", "conversation__owner"))
    for _ in range(6):
        damage(rng)
    assert repairs.repair_problems().left == []
    assert dict(Message.objects.values_list("pk", "text")) == texts
    assert dict(Message.objects.values_list("pk", "conversation__owner")) == readers
