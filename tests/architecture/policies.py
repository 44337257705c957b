"""Who may use which address: one line for each. An address that is not here fails the walk in test_routes_by_role.py."""

from enum import Enum, auto


class Policy(Enum):
    """What an address asks of its caller."""

    # Everybody; it shows nobody's data, or the address itself is the secret.
    PUBLIC = auto()
    # Whoever is signed in, for what is their own; the address names nothing that could be another's.
    SIGNED_IN = auto()
    # The owner of what the address names; for all others it does not exist.
    OWNED = auto()
    # Staff.
    STAFF = auto()


_PUBLIC = """
health/live
health/ready
metrics
sign-in/<str:secret>/
accounts/login/
accounts/logout/
accounts/signup/
accounts/inactive/
accounts/confirm-email/
accounts/^confirm-email/(?P<key>[-:\\w]+)/$
accounts/password/reset/
accounts/password/reset/done/
accounts/password/reset/key/done/
accounts/^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$
accounts/login/code/confirm/
accounts/2fa/authenticate/
api/openapi.json
api/docs
"""

_SIGNED_IN = """
csrf/
settings/
settings/profile/
settings/appearance/
settings/tokens/
accounts/reauthenticate/
accounts/email/
accounts/password/change/
accounts/password/set/
accounts/2fa/
accounts/2fa/reauthenticate/
accounts/2fa/totp/activate/
accounts/2fa/totp/deactivate/
accounts/2fa/recovery-codes/
accounts/2fa/recovery-codes/generate/
accounts/2fa/recovery-codes/download/
send/
archive/
sidebar/
api/chats
api/models
api/
api/^.+$
"""

_OWNED = """
settings/tokens/<str:token_id>/revoke/
sidebar/row/<str:conversation_id>/
c/<str:conversation_id>/
c/<str:conversation_id>/messages/
c/<str:conversation_id>/live/
c/<str:conversation_id>/send/
c/<str:conversation_id>/stop/
c/<str:conversation_id>/rename/
c/<str:conversation_id>/pin/
c/<str:conversation_id>/archive/
c/<str:conversation_id>/unarchive/
c/<str:conversation_id>/delete/
c/<str:conversation_id>/restore/
c/<str:conversation_id>/model/
c/<str:conversation_id>/seen/
c/<str:conversation_id>/m/<str:message_id>/
c/<str:conversation_id>/m/<str:message_id>/regenerate/
c/<str:conversation_id>/m/<str:message_id>/ask/
c/<str:conversation_id>/m/<str:message_id>/retry/
c/<str:conversation_id>/m/<str:message_id>/edit/
c/<str:conversation_id>/m/<str:message_id>/continue/
c/<str:conversation_id>/m/<str:message_id>/select/
c/<str:conversation_id>/m/<str:message_id>/delete/
c/<str:conversation_id>/m/<str:message_id>/restore/
c/<str:conversation_id>/m/<str:message_id>/favourite/
c/<str:conversation_id>/m/<str:message_id>/fork/
api/chats/<chat_id>
api/chats/<chat_id>/restore
api/chats/<chat_id>/fork
api/chats/<chat_id>/family
api/chats/<chat_id>/messages
api/chats/<chat_id>/branches
api/chats/<chat_id>/stream
api/chats/<chat_id>/stop
api/chats/<chat_id>/messages/<message_id>
api/chats/<chat_id>/messages/<message_id>/regenerate
api/chats/<chat_id>/messages/<message_id>/continue
api/chats/<chat_id>/messages/<message_id>/edit
api/chats/<chat_id>/messages/<message_id>/select
api/chats/<chat_id>/messages/<message_id>/restore
"""

POLICIES = {
    route: policy
    for policy, routes in ((Policy.PUBLIC, _PUBLIC), (Policy.SIGNED_IN, _SIGNED_IN), (Policy.OWNED, _OWNED))
    for route in routes.split()
}
# The start page.
POLICIES[""] = Policy.SIGNED_IN

# Django's administration: all of it, present and future.
STAFF_PREFIX = "admin/"


def policy_of(route: str) -> Policy | None:
    """Find the declared policy of a route; None if nobody declared one."""
    return Policy.STAFF if route.startswith(STAFF_PREFIX) else POLICIES.get(route)
