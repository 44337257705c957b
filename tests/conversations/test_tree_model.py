"""Random sequences of sending, editing, choosing, forking, deleting and undoing, beside a tree kept in plain Python."""

from dataclasses import dataclass, field
from itertools import pairwise
from uuid import UUID

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from apps.conversations.models import Message, Run
from apps.conversations.services import branches, forks, invariants, paths
from apps.conversations.services.lineage import move_leaf
from apps.core.errors import Conflict, NotFound
from apps.core.ids import new_id
from tests.factories import make_conversation, make_message, make_user, reload


@dataclass
class Node:
    """What a message should be; children in the order of making, which is that of siblings."""

    parent: "Node | None"
    text: str
    pk: UUID | None = None
    children: "list[Node]" = field(default_factory=list)
    deletion: object = None
    last: "Node | None" = None

    def up(self):
        node = self
        while node is not None:
            yield node
            node = node.parent

    def below(self):
        yield self
        for child in self.children:
            yield from child.below()

    def stands(self):
        return self.deletion is None


class Reference:
    """One conversation as the rules say it should be."""

    def __init__(self):
        self.nodes = []
        self.leaf = None
        self.moved = {}  # act of deleting → where the owner stood

    def add(self, parent, text):
        node = Node(parent, text)
        self.nodes.append(node)
        if parent is not None:
            parent.children.append(node)
        return node

    def siblings(self, node):
        found = node.parent.children if node.parent else [n for n in self.nodes if n.parent is None]
        return [sibling for sibling in found if sibling.stands()]

    def newest_leaf(self, node):
        leaves = [n for n in node.below() if n.stands() and not any(c.stands() for c in n.children)]
        return max(leaves, key=self.nodes.index)

    def leaf_below(self, node):
        return self.newest_leaf(node.last if node.last is not None and node.last.stands() else node)

    def stand_on(self, leaf):
        old = self.leaf
        if old is not None and leaf is not None:
            shared = set(map(id, leaf.up()))
            left = [node for node in old.up() if id(node) not in shared]
            if left and left[-1] is not old:
                left[-1].last = old
        self.leaf = leaf

    def select(self, node):
        if self.leaf is None or node not in list(self.leaf.up()):
            self.stand_on(self.leaf_below(node))
        return self.leaf

    def delete(self, node, act):
        gone = [n for n in node.below() if n.stands()]
        for n in gone:
            n.deletion = act
        if self.leaf is not None and node in list(self.leaf.up()):
            self.moved[act] = self.leaf
            node.last = self.leaf.last = self.leaf
            others = self.siblings(node)
            self.leaf = self.leaf_below(others[-1]) if others else node.parent
        return len(gone)

    def restore(self, node):
        act = node.deletion
        back = [n for n in self.nodes if n.deletion == act]
        for n in back:
            n.deletion = None
        if act in self.moved:
            leaf = self.moved.pop(act)
            leaf.last = None
            self.stand_on(leaf)
        elif self.leaf is None:
            self.leaf = self.newest_leaf(back[0])
        return len(back)


class TreeMachine(RuleBasedStateMachine):
    """The services and the reference, side by side, over a few conversations."""

    trees = Bundle("trees")

    @initialize(target=trees, parents=st.lists(st.integers(0, 99), min_size=4, max_size=12))
    def begin(self, parents):
        """Grow a tree first: each message below some earlier one, 0 for a first message."""
        self.user = make_user(email=f"{new_id()}@example.org")
        self.counter = 0
        self.all = []
        number = self._tree(make_conversation(owner=self.user), Reference())
        for chance in parents:
            nodes = self.all[number][1].nodes
            self._write(number, nodes[-(chance % len(nodes)) - 1] if nodes and chance else None)
        return number

    def _tree(self, conversation, reference):
        self.all.append((conversation, reference))
        return len(self.all) - 1

    def _write(self, number, parent):
        conversation, reference = self.all[number]
        self.counter += 1
        node = reference.add(parent, f"text {self.counter}")
        row = make_message(
            conversation=reload(conversation),
            parent=Message.objects.get(pk=parent.pk) if parent else None,
            text=node.text,
            stand=False,
        )
        node.pk = row.pk
        # As sending does: the new message is where the owner stands.
        locked = reload(conversation)
        move_leaf(locked, row)
        locked.save(update_fields=["active_leaf"])
        reference.stand_on(node)

    def _pick(self, number, data, *, deleted=False):
        nodes = [node for node in self.all[number][1].nodes if node.stands() is not deleted]
        return data.draw(st.sampled_from(nodes)) if nodes else None

    def _call(self, function, number, node, **more):
        conversation, _ = self.all[number]
        return function(user=self.user, conversation_id=conversation.pk, message_id=node.pk, **more)

    @rule(number=trees, turns=st.integers(1, 3))
    def send(self, number, turns):
        for _ in range(turns):
            self._write(number, self.all[number][1].leaf)

    @rule(number=trees, data=st.data())
    def write_below_an_older_message(self, number, data):
        self._write(number, self._pick(number, data))

    @rule(number=trees, data=st.data())
    def edit_or_regenerate(self, number, data):
        node = self._pick(number, data)
        if node is not None:
            self._write(number, node.parent)

    @rule(number=trees, data=st.data())
    def select(self, number, data):
        node = self._pick(number, data)
        if node is not None:
            assert self._call(branches.select, number, node).pk == self.all[number][1].select(node).pk

    @rule(number=trees, data=st.data())
    def delete(self, number, data):
        node = self._pick(number, data)
        if node is not None:
            deleted = self._call(branches.delete_message, number, node)
            assert deleted.count == self.all[number][1].delete(node, deleted.deletion)

    @rule(number=trees, data=st.data())
    def undo(self, number, data):
        node = self._pick(number, data, deleted=True)
        if node is None:
            return
        top = next(n for n in node.up() if n.parent is None or n.parent.deletion != node.deletion)
        if top.parent is not None and not top.parent.stands():
            try:
                self._call(branches.restore_message, number, node)
            except Conflict:
                return
            raise AssertionError("it was restored below a deleted message")
        assert self._call(branches.restore_message, number, node).count == self.all[number][1].restore(node)

    @rule(number=trees, data=st.data())
    def choose_a_deleted_message(self, number, data):
        node = self._pick(number, data, deleted=True)
        if node is not None:
            try:
                self._call(branches.select, number, node)
            except NotFound:
                return
            raise AssertionError("a deleted message was chosen")

    @rule(target=trees, number=trees, data=st.data())
    def fork(self, number, data):
        node = self._pick(number, data)
        if node is None or len(self.all) > 3:
            return multiple()
        copy = self._call(forks.fork, number, node)
        reference, parent = Reference(), None
        for original in reversed(list(node.up())):
            parent = reference.add(parent, original.text)
        rows = Message.objects.filter(conversation=copy).order_by("depth")
        assert [row.copied_from_id for row in rows] == [n.pk for n in reversed(list(node.up()))]
        for row, twin in zip(rows, reference.nodes, strict=True):
            twin.pk = row.pk
        reference.leaf = parent
        return self._tree(copy, reference)

    def teardown(self):
        assert invariants.find_problems() == []

    @invariant()
    def the_rows_are_the_reference(self):
        for conversation, reference in getattr(self, "all", []):
            leaf = reload(conversation).active_leaf_id
            assert leaf == (reference.leaf.pk if reference.leaf else None)
            rows = {row.pk: row for row in Message.objects.filter(conversation=conversation)}
            assert {pk: (r.parent_id, r.text, r.deletion, r.last_leaf_id) for pk, r in rows.items()} == {
                n.pk: (n.parent and n.parent.pk, n.text, n.deletion, n.last and n.last.pk) for n in reference.nodes
            }

    @invariant()
    def what_is_read_is_the_path_with_its_siblings(self):
        for conversation, reference in getattr(self, "all", []):
            page = paths.path_page(conversation=reload(conversation), limit=50)
            expected = [] if reference.leaf is None else list(reference.leaf.up())[::-1]
            assert [message.pk for message in page.messages] == [node.pk for node in expected][-50:]
            for message, node in zip(page.messages, expected[-50:], strict=True):
                siblings = [sibling.pk for sibling in reference.siblings(node)]
                at = siblings.index(node.pk)
                assert (message.sibling_index, message.sibling_count) == (at + 1, len(siblings))
                assert message.previous_sibling_id == (siblings[at - 1] if at else None)
                assert message.next_sibling_id == (siblings[at + 1] if at + 1 < len(siblings) else None)

    @invariant()
    def runs_are_chains_and_know_every_ancestor(self):
        for conversation, reference in getattr(self, "all", []):
            rows = {row.pk: row for row in Message.objects.filter(conversation=conversation)}
            for run in Run.objects.filter(conversation=conversation):
                chain = sorted((row for row in rows.values() if row.run_id == run.pk), key=lambda row: row.depth)
                start = 0 if run.parent_depth is None else run.parent_depth + 1
                assert [row.depth for row in chain] == list(range(start, start + len(chain)))
                assert all(below.parent_id == above.pk for above, below in pairwise(chain))
            for node in reference.nodes:
                path = paths.lineage(rows[node.pk])
                assert {pk for pk, row in rows.items() if path.contains(row)} == {above.pk for above in node.up()}
                if node.stands():
                    assert paths.newest_leaf_below(rows[node.pk]).pk == reference.newest_leaf(node).pk
                    assert paths.leaf_below(rows[node.pk]).pk == reference.leaf_below(node).pk

    @invariant()
    def the_map_of_forks_is_the_reference(self):
        for conversation, reference in getattr(self, "all", []):
            found = {
                (fork.parent_id, child.id): child.size
                for fork in paths.forks_of(reload(conversation))
                for child in fork.children
            }
            assert found == {
                (node.parent and node.parent.pk, node.pk): sum(n.stands() for n in node.below())
                for node in reference.nodes
                if node.stands() and len(reference.siblings(node)) > 1
            }


def test_random_sequences_agree_with_the_reference(db):
    run_state_machine_as_test(
        TreeMachine,
        settings=settings(
            max_examples=50,
            stateful_step_count=7,
            deadline=None,
            derandomize=True,
            database=None,
            # The same every time, and no minutes of shrinking: add Phase.shrink to study a failure.
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
