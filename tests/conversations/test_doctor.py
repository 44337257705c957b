"""Each rule of the database broken by hand, found, repaired; and healthy databases found healthy."""

import pytest

from apps.conversations.models import Message
from apps.conversations.services import invariants
from tests.factories import make_conversation, make_path

pytestmark = pytest.mark.django_db


def broken():
    """Name the rules that don't hold, with the rows that break them."""
    return {problem.rule.name: set(problem.ids) for problem in invariants.find_problems()}


@pytest.fixture
def tree(user):
    """A conversation with a path of five messages and a second branch of two below its second."""
    conversation = make_conversation(owner=user)
    path = make_path(conversation=conversation, length=5)
    make_path(conversation=conversation, parent=path[1], length=2, text="Branch")
    return conversation


def by_text(conversation, text):
    return Message.objects.get(conversation=conversation, text=text)


class TestHealthy:
    def test_an_empty_database_is(self, db):
        assert broken() == {}

    def test_a_tree_is(self, tree):
        assert broken() == {}
