"""Encryption of stored secrets, and who a client is. Which fields are encrypted is decided where they are stored."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from apps.core.errors import Unavailable


def encrypt(text: str, *, purpose: str) -> str:
    """Encrypt a secret for storing, with the first of `FIELD_KEY`.

    Shape: URL-safe ASCII; a text encrypted for one purpose can't be read back for another. A purpose has 16 letters at most.
    """
    return _cipher(tuple(settings.FIELD_KEYS), purpose).encrypt(text.encode()).decode()


def decrypt(stored: str, *, purpose: str) -> str:
    """Read a stored secret with whichever of `FIELD_KEY` fits.

    Raises: Unavailable if none fits: the key was lost, or the row was tampered with.
    """
    try:
        return _cipher(tuple(settings.FIELD_KEYS), purpose).decrypt(stored.encode()).decode()
    except InvalidToken:
        raise Unavailable("A stored secret can't be read. Ask your administrator to look at FIELD_KEY.") from None


def reencrypt(stored: str, *, purpose: str) -> str:
    """Encrypt a stored secret again with the first of `FIELD_KEY`.

    Raises: Unavailable if no key fits.
    """
    return encrypt(decrypt(stored, purpose=purpose), purpose=purpose)


def digest_of(token: str) -> str:
    """Hash a random token for looking it up; with 256 random bits there is nothing to guess, so a fast hash does."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def client_address(*, peer: str, forwarded_for: str, trusted: list[str]) -> str:
    """Give the address of the client: the peer, or what the nearest trusted proxy saw.

    `X-Forwarded-For` is read from its right end, as far as the hops are ours: what stands further left anyone can write.
    """
    hops = [hop.strip() for hop in forwarded_for.split(",") if hop.strip()]
    address = peer
    while hops and _is_trusted(address, trusted):
        address = hops.pop()
    return address


# This machine, and networks that no router of the Internet carries on.
NEAR = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1",
    "fc00::/7",
    "fe80::/10",
)


def is_near(address: str) -> bool:
    """Tell whether an address is of this machine or of a private network; False for what is no address."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return any(ip in network for network in _networks(NEAR))


def pseudonym(name: str) -> str:
    """Give 12 hex digits that stand for somebody in log lines: the same each time, and nobody can tell whose.

    Another SECRET_KEY gives others.
    """
    return _pseudonym(settings.SECRET_KEY, name)


@lru_cache(maxsize=1024)
def _pseudonym(key: str, name: str) -> str:
    return hmac.digest(f"log lines {key}".encode(), name.encode(), "sha256").hex()[:12]


@lru_cache(maxsize=32)
def _cipher(keys: tuple[str, ...], purpose: str) -> MultiFernet:
    # Any string may be a key, so each is hashed to Fernet's 32 bytes; `person` keeps the purposes apart.
    person = purpose.encode()
    digests = [hashlib.blake2b(key.encode(), digest_size=32, person=person).digest() for key in keys]
    return MultiFernet([Fernet(urlsafe_b64encode(digest)) for digest in digests])


def _is_trusted(address: str, trusted: list[str]) -> bool:
    try:
        ip = ip_address(address)
    except ValueError:
        # Behind a unix socket there is no peer address: only the proxy can be on the other side.
        return address == "" and bool(trusted)
    return any(ip in network for network in _networks(tuple(trusted)))


@lru_cache(maxsize=8)
def _networks(entries: tuple[str, ...]) -> list[IPv4Network | IPv6Network]:
    return [ip_network(entry, strict=False) for entry in entries if is_network(entry)]


def is_network(entry: str) -> bool:
    """Tell whether a text is an address or a network of them; host names are none."""
    try:
        ip_network(entry, strict=False)
    except ValueError:
        return False
    return True
