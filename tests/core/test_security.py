import pytest

from apps.core.errors import Unavailable
from apps.core.security import client_address, decrypt, digest_of, encrypt, reencrypt


def test_what_is_encrypted_can_be_read_back_and_not_seen():
    stored = encrypt("geheim ü", purpose="test")
    assert "geheim" not in stored
    assert stored.isascii()
    assert decrypt(stored, purpose="test") == "geheim ü"
    assert encrypt("geheim ü", purpose="test") != stored


@pytest.mark.parametrize(
    "key", ["x", "a key with spaces", "ключ", "0" * 500, "HhzydaRKbhLK1mKKG4r-EC905w1j7ichPMXyZevrH_k="]
)
def test_any_string_may_be_a_key(settings, key):
    settings.FIELD_KEYS = [key]
    assert decrypt(encrypt("a", purpose="test"), purpose="test") == "a"


def test_one_purpose_cannot_read_for_another():
    with pytest.raises(Unavailable):
        decrypt(encrypt("a", purpose="mfa"), purpose="provider")


def test_an_old_key_still_reads_and_the_first_one_writes(settings):
    settings.FIELD_KEYS = ["old"]
    stored = encrypt("a", purpose="test")
    settings.FIELD_KEYS = ["new", "old"]
    assert decrypt(stored, purpose="test") == "a"
    rotated = reencrypt(stored, purpose="test")
    settings.FIELD_KEYS = ["new"]
    assert decrypt(rotated, purpose="test") == "a"
    with pytest.raises(Unavailable, match="FIELD_KEY"):
        decrypt(stored, purpose="test")


@pytest.mark.parametrize("stored", ["", "x", "gAAAAA", "é"])
def test_what_was_never_encrypted_is_refused(stored):
    with pytest.raises(Unavailable):
        decrypt(stored, purpose="test")


def test_any_text_has_a_digest():
    assert len(digest_of("a")) == len(digest_of("\ud800")) == len(digest_of("")) == 64


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "expected"),
    [
        ("1.2.3.4", "", [], "1.2.3.4"),
        ("1.2.3.4", "6.6.6.6", [], "1.2.3.4"),
        ("1.2.3.4", "6.6.6.6", ["127.0.0.1"], "1.2.3.4"),
        ("127.0.0.1", "6.6.6.6, 1.2.3.4", ["127.0.0.1"], "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.9", ["10.0.0.0/8"], "1.2.3.4"),
        ("127.0.0.1", "", ["127.0.0.1"], "127.0.0.1"),
        ("::1", "2001:db8::1", ["::1"], "2001:db8::1"),
        ("", "1.2.3.4", ["127.0.0.1"], "1.2.3.4"),
        ("", "1.2.3.4", [], ""),
        ("127.0.0.1", "nonsense", ["127.0.0.1"], "nonsense"),
        ("127.0.0.1", "1.2.3.4", ["proxy.internal"], "127.0.0.1"),
    ],
)
def test_a_client_is_who_the_nearest_trusted_proxy_saw(peer, forwarded, trusted, expected):
    assert client_address(peer=peer, forwarded_for=forwarded, trusted=trusted) == expected
