"""What a message's text and a client's id may be, and how a text becomes a title. No rows here."""

from __future__ import annotations

from django.conf import settings

from apps.core.errors import EmptyMessage, InvalidField, TooLarge

TITLE_EXCERPT = 37  # Source: design of titles, the first 37 characters and "…".
CLIENT_ID_CHARACTERS = 100


def clean_content(content: object) -> str:
    """Check a message's text. Raises: EmptyMessage, TooLarge, InvalidField (NUL, lone surrogates, no text)."""
    if not isinstance(content, str):
        raise InvalidField("content must be text.", field="content")
    if len(content) > settings.MESSAGE_CHARACTERS:
        raise TooLarge(
            f"The message has {len(content):,} characters; the limit is {settings.MESSAGE_CHARACTERS:,}.",
            limit=settings.MESSAGE_CHARACTERS,
        )
    check_characters(content, field="content")
    if not content.strip():
        raise EmptyMessage
    return content


def check_characters(value: str, *, field: str) -> None:
    """Refuse what no database stores. Raises: InvalidField for NUL and lone surrogates."""
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidField("The text has characters that can't be stored.", field=field)


def clean_client_id(client_id: object) -> str | None:
    """Check a client id; empty means none. Raises: InvalidField."""
    if client_id is None or client_id == "":
        return None
    if not isinstance(client_id, str) or len(client_id) > CLIENT_ID_CHARACTERS:
        raise InvalidField("clientId is at most 100 characters.", field="clientId")
    check_characters(client_id, field="clientId")
    return client_id


def excerpt(text: str) -> str:
    """Shorten a text to a title of one line."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_EXCERPT + 3 else line[:TITLE_EXCERPT].rstrip() + "…"
