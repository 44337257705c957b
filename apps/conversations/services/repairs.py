"""Repairing what breaks the rules of the database. No text is ever removed: rows are hung, numbered and marked anew.

Which repair belongs to which rule is said here; a rule without one comes with advice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from apps.conversations.models import Message
from apps.conversations.services import answer_repairs, family_repairs, generations, tree_repairs
from apps.conversations.services.invariants import Problem, Progress, find_problems

# One repair may bring another to light: a message that is hung anew needs a new depth.
ROUNDS = 6

Repair = Callable[[UUID, Sequence[UUID]], int]


def _forget(field: str) -> Repair:
    def forget(conversation_id: UUID, rows: Sequence[UUID]) -> int:
        return Message.objects.filter(pk__in=rows).update(**{field: None})

    return forget


REPAIRS: dict[str, Repair] = {
    "conversation_leaf": family_repairs.stand_on_newest,
    "family_cycle": family_repairs.open_ring,
    "family_owner": family_repairs.make_root,
    "family_root": family_repairs.settle_family,
    "family_branch_id": family_repairs.settle_family,
    "family_branch_from": family_repairs.name_origin,
    "message_parent": tree_repairs.hang_anew,
    "message_cycle": tree_repairs.open_rings,
    "message_depth": tree_repairs.number_anew,
    "message_run": tree_repairs.place_anew,
    "message_deleted_above": tree_repairs.raise_above,
    "message_owner": answer_repairs.own_messages,
    "message_copied_from": _forget("copied_from"),
    "message_last_leaf": _forget("last_leaf"),
    "message_text": answer_repairs.derive_texts,
    "message_streaming": answer_repairs.settle_messages,
    "message_status": answer_repairs.settle_messages,
    "run_empty": tree_repairs.remove_empty_runs,
    "generation_place": answer_repairs.place_generations,
    "generation_lease": answer_repairs.let_leases_lapse,
    "generation_batch": answer_repairs.stop_second_batches,
}


@dataclass
class Repaired:
    """What was found and put right in all rounds, and what was still wrong in the last."""

    repaired: dict[str, int] = field(default_factory=dict)
    left: list[Problem] = field(default_factory=list)


def repair_problems(*, progress: Progress | None = None) -> Repaired:
    """Repair what can be, and look again until nothing is found, or nothing more can be done.

    Effects: a short transaction for each conversation, under its lock; leases that ran out are swept.
    """
    done = Repaired()
    for _ in range(ROUNDS):
        dead: set[UUID] = set()

        def act(rule: str, conversation_id: UUID, rows: list[UUID], dead: set[UUID] = dead) -> int:
            if rule == "generation_lease":
                dead.add(conversation_id)
            return _repair(rule, conversation_id, rows)

        done.left = find_problems(act=act, progress=progress)
        for conversation_id in dead:
            generations.sweep(conversation_id=conversation_id)
        for problem in done.left:
            name = problem.rule.name
            done.repaired[name] = done.repaired.get(name, 0) + problem.repaired
        if not any(problem.repaired for problem in done.left):
            return done
    done.left = find_problems(progress=progress)
    return done


def _repair(rule: str, conversation_id: UUID, rows: list[UUID]) -> int:
    repair = REPAIRS.get(rule)
    return repair(conversation_id, rows) if repair is not None else 0
