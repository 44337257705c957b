"""Finding and making users. Signing in and changing passwords is allauth's."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from allauth.utils import generate_unique_username
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models.functions import Lower

from apps.accounts.models import User
from apps.core.errors import AlreadyThere, InvalidField

# What the column holds.
EMAIL_LENGTH = 254


def find_user(*, name: str) -> User | None:
    """Find who signs in under an e-mail address or a name, whatever the case of the letters.

    An address wins over a name that looks like one, so nobody can take a name to stand in for somebody's address.
    Effects: one query, or two for a name.
    """
    if not name or "\x00" in name:
        return None
    by_email = User.objects.alias(lower=Lower("email")).filter(lower=name.lower()).first() if "@" in name else None
    return by_email or User.objects.alias(lower=Lower("username")).filter(lower=name.lower()).order_by("pk").first()


def find_by_email(*, email: str) -> User | None:
    """Find the user of an e-mail address, whatever the case of the letters."""
    return User.objects.alias(lower=Lower("email")).filter(lower=email.strip().lower()).exclude(email="").first()


def create_user(*, email: str, password: str | None = None, staff: bool = False, superuser: bool = False) -> User:
    """Make a user by hand; the address counts as confirmed, for whoever may do this vouches for it.

    Without a password the user signs in by a link. The name is made from the address.
    Raises: InvalidField if the address is none; AlreadyThere if somebody has it.
    """
    address = email.strip().lower()
    try:
        validate_email(address)
        if len(address) > EMAIL_LENGTH:
            raise ValidationError("too long")
    except ValidationError:
        raise InvalidField(f"{email!r} is not an e-mail address.", field="email") from None
    if find_by_email(email=address):
        raise AlreadyThere(f"There is a user with the address {address} already.")
    try:
        return _write(address, password, staff=staff or superuser, superuser=superuser)
    except IntegrityError:
        raise AlreadyThere(f"There is a user with the address {address} already.") from None


def rename(*, user: User, first_name: str) -> User:
    """Change how a user is greeted.

    Raises: InvalidField if it is longer than 150 characters or holds what can't be stored.
    """
    first_name = first_name.strip()
    if len(first_name) > 150 or "\x00" in first_name:
        raise InvalidField("A name has 150 characters at most.", field="first_name")
    User.objects.filter(pk=user.pk).update(first_name=first_name)
    user.first_name = first_name
    return user


def keep_an_address(*, user: User, email: str) -> None:
    """Give a user that is left without an address this one, though nobody confirmed it yet.

    Effects: nothing where the user has an address, or somebody else has this one.
    """
    address = email.lower()
    if not User.objects.filter(pk=user.pk, email="").exists() or find_by_email(email=address):
        return
    User.objects.filter(pk=user.pk, email="").update(email=address)
    user.email = address


@transaction.atomic
def vouch_for(*, user: User) -> None:
    """Make the address of a user the one that is confirmed, as staff typed it; earlier ones are forgotten."""
    EmailAddress.objects.filter(user=user).exclude(email=user.email.lower()).delete()
    if user.email:
        EmailAddress.objects.update_or_create(
            user=user, email=user.email.lower(), defaults={"verified": True, "primary": True}
        )


@transaction.atomic
def _write(address: str, password: str | None, *, staff: bool, superuser: bool) -> User:
    user = User.objects.create_user(
        username=generate_unique_username([address]),
        email=address,
        password=password,
        is_staff=staff,
        is_superuser=superuser,
    )
    EmailAddress.objects.create(user=user, email=address, verified=True, primary=True)
    return user
