import hashlib
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.accounts.models import ApiToken
from apps.accounts.services import tokens
from apps.core.errors import InvalidField, NotFound

pytestmark = pytest.mark.django_db


def test_a_token_is_readable_once_and_stored_as_a_hash(user):
    row, plain = tokens.make_token(user=user, name=" Notes ", scopes=["write", "read"])
    assert plain.startswith("bough_")
    assert len(plain) >= 6 + 43
    stored = ApiToken.objects.get(pk=row.pk)
    assert stored.digest == hashlib.sha256(plain.encode()).hexdigest()
    assert plain not in str(stored.__dict__)
    assert (stored.name, stored.hint, stored.scopes) == ("Notes", plain[:12], ["read", "write"])


def test_no_two_tokens_are_alike(user):
    assert len({tokens.make_token(user=user)[1] for _ in range(20)}) == 20


def test_a_token_is_found_with_its_user_in_one_query(user, django_assert_num_queries):
    row, plain = tokens.make_token(user=user)
    tokens.authenticate(bearer=plain)
    with django_assert_num_queries(1):
        found = tokens.authenticate(bearer=plain)
        assert found.pk == row.pk
        assert found.user.email == "ada@example.org"


def test_use_is_noted_once_a_minute(user):
    row, plain = tokens.make_token(user=user)
    first = tokens.authenticate(bearer=plain).last_used_at
    assert timezone.now() - first < timedelta(seconds=5)
    assert tokens.authenticate(bearer=plain).last_used_at == first
    ApiToken.objects.filter(pk=row.pk).update(last_used_at=first - timedelta(seconds=61))
    assert tokens.authenticate(bearer=plain).last_used_at > first - timedelta(seconds=1)


def test_of_many_uses_at_once_one_is_noted(user):
    row, plain = tokens.make_token(user=user)
    noted = tokens.authenticate(bearer=plain).last_used_at
    # As another request saw it, before the use above was noted.
    tokens._note_use(row)
    assert row.last_used_at is None
    assert ApiToken.objects.get().last_used_at == noted


@pytest.mark.parametrize(
    "bearer", ["", "bough_", "bough_x", "x", "bough_" + "é" * 43, "bough_\x00", "bough_" + "a" * 10_000, "\ud800"]
)
def test_what_is_no_token_opens_nothing(user, bearer):
    tokens.make_token(user=user)
    assert tokens.authenticate(bearer=bearer) is None


def test_a_token_opens_nothing_in_other_letters(user):
    _row, plain = tokens.make_token(user=user)
    assert tokens.authenticate(bearer=plain.swapcase()) is None
    assert tokens.authenticate(bearer=plain[:-1]) is None
    assert tokens.authenticate(bearer=plain + "a") is None


def test_a_revoked_token_opens_nothing_at_once(user):
    row, plain = tokens.make_token(user=user)
    revoked = tokens.revoke_token(user=user, token_id=row.pk)
    assert revoked.revoked_at
    assert tokens.authenticate(bearer=plain) is None
    assert tokens.list_tokens(user=user) == []
    assert tokens.revoke_token(user=user, token_id=str(row.pk)).revoked_at == revoked.revoked_at


def test_the_token_of_a_user_that_is_switched_off_opens_nothing(user):
    _row, plain = tokens.make_token(user=user)
    user.is_active = False
    user.save()
    assert tokens.authenticate(bearer=plain) is None


def test_a_stranger_can_neither_see_nor_revoke(user, stranger):
    row, plain = tokens.make_token(user=user)
    assert tokens.list_tokens(user=stranger) == []
    with pytest.raises(NotFound):
        tokens.revoke_token(user=stranger, token_id=row.pk)
    with pytest.raises(NotFound):
        tokens.revoke_token(user=user, token_id="no-id")
    assert tokens.authenticate(bearer=plain)


@pytest.mark.parametrize("scopes", [[], [""], ["admin"], ["read", "admin"]])
def test_scopes_are_read_and_write_and_at_least_one(user, scopes):
    with pytest.raises(InvalidField):
        tokens.make_token(user=user, scopes=scopes)
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("name", ["x" * 201, "a\x00b"])
def test_a_name_must_be_storable(user, name):
    with pytest.raises(InvalidField):
        tokens.make_token(user=user, name=name)


def test_the_newest_token_is_first(user):
    made = [tokens.make_token(user=user, name=str(i))[0] for i in range(3)]
    assert [token.pk for token in tokens.list_tokens(user=user)] == [row.pk for row in reversed(made)]
