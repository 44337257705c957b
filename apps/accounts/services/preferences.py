"""What a user likes: the theme, for now. A user without a row likes the defaults."""

from __future__ import annotations

from apps.accounts.models import Preferences, Theme, User
from apps.core.errors import InvalidField


def preferences_of(*, user: User) -> Preferences:
    """Give a user's preferences; the defaults, unsaved, where nothing was set yet."""
    return Preferences.objects.filter(user=user).first() or Preferences(user=user)


def set_theme(*, user: User, theme: str) -> Preferences:
    """Set the theme: system, light or dark.

    Raises: InvalidField for any other.
    """
    if theme not in Theme.values:
        raise InvalidField("A theme is system, light or dark.", field="theme")
    row, _ = Preferences.objects.update_or_create(user=user, defaults={"theme": theme})
    return row
