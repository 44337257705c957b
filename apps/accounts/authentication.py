"""Who is behind a name and a password, and behind a session. Tokens of the API are looked up in services.tokens."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.backends import ModelBackend

from apps.accounts.models import User
from apps.accounts.services import users


class Backend(ModelBackend):
    """Sign in by e-mail address or name.

    Whoever is or isn't there, it costs one hash: neither answer nor time tells which names exist.
    """

    def authenticate(  # type: ignore[override]
        self, request: Any, username: str = "", password: str = "", email: str = "", **credentials: Any
    ) -> User | None:
        name = email or username
        if not name or not password:
            return None
        user = users.find_user(name=name)
        if user is None:
            User().set_password(password)
            return None
        return user if user.check_password(password) and self.user_can_authenticate(user) else None

    def get_user(self, user_id: UUID) -> User | None:
        """Load the user of a session together with the preferences that every page reads: one query."""
        user = User.objects.select_related("preferences").filter(pk=user_id).first()
        return user if user is not None and self.user_can_authenticate(user) else None
