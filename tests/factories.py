"""Plain functions that make rows; keyword-only, saved, through services where the path matters."""

from datetime import timedelta

from django.utils import timezone

from apps.accounts.models import User
from apps.conversations.models import Conversation, Message, Role
from apps.conversations.services import conversations, nodes


def make_user(*, email="user@example.org", password="correct horse battery", **fields):
    return User.objects.create_user(username=email, email=email, password=password, **fields)


def make_conversation(*, owner, title="", **fields):
    """Make an empty conversation; fields are set as they are, past the rules of services."""
    conversation = conversations.create(user=owner, title=title)
    if fields:
        Conversation.objects.filter(pk=conversation.pk).update(**fields)
        conversation.refresh_from_db()
    return conversation


def make_message(*, conversation, parent=None, role=None, text="Some text.", now=None, stand=True, **fields):
    """Add a message below a parent (none: a first message) and stand on it, unless `stand` is false.

    The role alternates if none is given. No time given: later than the parent, in the order of making.
    """
    role = role or (Role.ASSISTANT if parent is not None and parent.role == Role.USER else Role.USER)
    message = nodes.add_message(
        conversation=conversation,
        parent=parent,
        role=role,
        parts=fields.pop("parts", None) or nodes.text_parts(text),
        now=now or timezone.now(),
        **fields,
    )
    if stand:
        conversation.active_leaf = message
        conversation.save(update_fields=["active_leaf"])
    return message


def make_path(*, conversation, length, parent=None, text="Message", now=None, stand=True):
    """Add a chain of messages below a parent, one second apart if a time is given; the topmost first."""
    path = []
    for number in range(length):
        at = now + timedelta(seconds=number) if now else None
        parent = make_message(conversation=conversation, parent=parent, text=f"{text} {number}", now=at, stand=False)
        path.append(parent)
    if stand and path:
        conversation.active_leaf = path[-1]
        conversation.save(update_fields=["active_leaf"])
    return path


def reload(row):
    """Read a row anew."""
    return type(row)._default_manager.get(pk=row.pk)


def standing_ids(conversation):
    return set(Message.objects.standing().filter(conversation=conversation).values_list("pk", flat=True))
