"""Whole conversations made at once, for demonstrations and large tests: trees of any size from a seed.

The same user, seed and sizes give the same ids, times and texts, so that making them again finds them there.
Answers are not generated; single messages are added by `nodes`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

from django.db import transaction

from apps.accounts.models import User
from apps.conversations.models import Conversation, Message, Role, Run, TitleSource
from apps.conversations.services import nodes
from apps.conversations.services.sample_texts import sample_answer, sample_question, sample_title

BATCH = 1000
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
# Conversations are spread over this span by their number alone.
SPAN_MINUTES, STRIDE_MINUTES = 200 * 24 * 60, 7919
MESSAGE_SECONDS = 20


@dataclass
class _Chain:
    """A run to be: where it hangs, and the ids of its messages from the top."""

    run: Run
    parent_id: UUID | None
    from_depth: int
    first_number: int
    ids: list[UUID]


@dataclass
class Plan:
    """A conversation that is decided and not yet saved."""

    conversation: Conversation
    chains: list[_Chain]
    seed: str

    @property
    def size(self) -> int:
        return sum(len(chain.ids) for chain in self.chains)

    def messages(self) -> Iterator[Message]:
        """Make the messages one by one, parents first."""
        rng = random.Random(f"{self.seed}/texts")
        for chain in self.chains:
            parent_id = chain.parent_id
            for offset, pk in enumerate(chain.ids):
                yield _message(self.conversation, chain, offset, pk, parent_id, rng)
                parent_id = pk


def plan_conversation(*, user: User, messages: int, forks: int = 0, seed: int = 0, number: int = 0) -> Plan:
    """Decide a conversation's shape: its runs, ids and times.

    Shape: `messages` in all, one first message; each fork is a second child of some message with a chain below it, as
        many as there is room for. The owner stands on the newest message.
    """
    key = f"{user.pk}/{seed}/{number}/{messages}/{forks}"
    rng = random.Random(key)
    began = EPOCH + timedelta(minutes=number * STRIDE_MINUTES % SPAN_MINUTES)
    pk = _id(began, rng)
    conversation = Conversation(
        id=pk,
        owner=user,
        title=sample_title(rng),
        title_source=TitleSource.GENERATED,
        root_conversation_id=pk,
        created_at=began,
        updated_at=_time_of(began, messages - 1),
        seen_at=_time_of(began, messages - 1),
    )
    chains: list[_Chain] = []
    for length in _lengths(messages, forks, rng):
        chains.append(_chain(conversation, chains, length, rng))
    conversation.active_leaf_id = chains[-1].ids[-1]
    return Plan(conversation, chains, key)


def save_plans(plans: Iterable[Plan]) -> list[Conversation]:
    """Save planned conversations that aren't there yet, and give those that were new.

    Effects: one transaction, rows in batches of 1000; memory does not grow with the messages' texts.
    """
    plans = list(plans)
    with transaction.atomic():
        ids = [plan.conversation.pk for plan in plans]
        known = set(Conversation.objects.filter(pk__in=ids).values_list("pk", flat=True))
        plans = [plan for plan in plans if plan.conversation.pk not in known]
        Conversation.objects.bulk_create([plan.conversation for plan in plans])
        Run.objects.bulk_create([chain.run for plan in plans for chain in plan.chains], batch_size=BATCH)
        rows = (message for plan in plans for message in plan.messages())
        while batch := list(islice(rows, BATCH)):
            Message.objects.bulk_create(batch)
    return [plan.conversation for plan in plans]


def build_conversation(*, user: User, messages: int, forks: int = 0, seed: int = 0, number: int = 0) -> Conversation:
    """Plan and save one conversation; the same call again gives the same one. Effects: as `save_plans`."""
    plan = plan_conversation(user=user, messages=messages, forks=forks, seed=seed, number=number)
    save_plans([plan])
    return Conversation.objects.get(pk=plan.conversation.pk)


def _lengths(messages: int, forks: int, rng: random.Random) -> list[int]:
    """Share the messages out: the first run has at least half of them, each fork at least one."""
    messages = max(1, messages)
    forks = max(0, min(forks, messages // 2 - 1))
    if not forks:
        return [messages]
    spare = messages // 2 - forks
    cuts = sorted(rng.randint(0, spare) for _ in range(forks))
    shares = [1 + high - low for low, high in zip([0, *cuts[:-1]], cuts, strict=True)]
    return [messages - sum(shares), *shares]


def _chain(conversation: Conversation, chains: list[_Chain], length: int, rng: random.Random) -> _Chain:
    """Hang a chain on some message that has a child already; the first one begins the tree."""
    number = chains[-1].first_number + len(chains[-1].ids) if chains else 0
    run = Run(id=_id(_time_of(conversation.created_at, number), rng), conversation=conversation)
    parent_id, depth = None, 0
    if chains:
        parent = rng.choice([chain for chain in (chains[0], *chains[-8:]) if len(chain.ids) > 1])
        offset = rng.randrange(len(parent.ids) - 1)
        parent_id, depth = parent.ids[offset], parent.from_depth + offset + 1
        run.parent, run.parent_depth = parent.run, depth - 1
    ids = [_id(_time_of(conversation.created_at, number + offset), rng) for offset in range(length)]
    return _Chain(run, parent_id, depth, number, ids)


def _message(
    conversation: Conversation, chain: _Chain, offset: int, pk: UUID, parent_id: UUID | None, rng: random.Random
) -> Message:
    depth = chain.from_depth + offset
    is_answer = depth % 2 == 1
    text = sample_answer(rng) if is_answer else sample_question(rng)
    message = Message(
        id=pk,
        conversation=conversation,
        owner_id=conversation.owner_id,
        parent_id=parent_id,
        depth=depth,
        run=chain.run,
        role=Role.ASSISTANT if is_answer else Role.USER,
        parts=nodes.text_parts(text),
        text=text,
        token_estimate=nodes.estimate_tokens(text),
        created_at=_time_of(conversation.created_at, chain.first_number + offset),
    )
    if is_answer:
        message.provider, message.model_id, message.finish_reason = "demo", "demo", "stop"
        message.completion_tokens = message.token_estimate
        message.ttft_ms, message.duration_ms = rng.randint(80, 900), rng.randint(1000, 9000)
    return message


def _time_of(began: datetime, number: int) -> datetime:
    return began + timedelta(seconds=MESSAGE_SECONDS * number)


def _id(at: datetime, rng: random.Random) -> UUID:
    """Make a UUIDv7 of that time with chance from the seed."""
    milliseconds = int(at.timestamp() * 1000)
    value = (milliseconds << 80) | (0x7 << 76) | (rng.getrandbits(12) << 64) | (0b10 << 62) | rng.getrandbits(62)
    return UUID(int=value)


def missing(plans: Sequence[Plan]) -> set[UUID]:
    """Name the conversations of these plans that are not there yet, deleted ones counting as there; one query."""
    ids = {plan.conversation.pk for plan in plans}
    return ids - set(Conversation.objects.filter(pk__in=ids).values_list("pk", flat=True))
