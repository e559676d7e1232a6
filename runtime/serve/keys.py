"""Who may ask: the clients' own API keys, held and compared as SHA-256 digests."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType

PREFIX = "sha256:"

ID_CHARS = 12
"""Of a key's digest, which names one of the environment to policies and logs without giving it away."""

NOTHING: Mapping[str, str] = MappingProxyType({})


class KeyFormatError(ValueError):
    """An entry of the key list that can be neither a key nor a digest."""


class KeyFileError(ValueError):
    """A key file that cannot be used; the message says which line of which file, and never quotes a digest."""


@dataclass(frozen=True, slots=True)
class Key:
    """One client's key: what it is known by, never itself.

    Attributes:
        digest: SHA-256 of the key.
        attributes: What policies read as `key.NAME`; `id` tells it from the others.
        expires_unix_s: From when on it opens nothing, or None.
        revoked: Whether it opens nothing any more.
        policies: Names of the policies it may ask, None for all.
        models: Names or other names of the models it may ask for, None for all.
        sees_metrics: Whether it may read what all clients have used: the operator's own.
    """

    digest: bytes
    attributes: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    expires_unix_s: float | None = None
    revoked: bool = False
    policies: frozenset[str] | None = None
    models: frozenset[str] | None = None
    sees_metrics: bool = False

    def is_expired(self, now_unix_s: float) -> bool:
        """Whether its time is over."""
        return self.expires_unix_s is not None and now_unix_s >= self.expires_unix_s


ANYONE = Key(b"")
"""Stands for a client that needs no key."""

_NOBODY = Key(bytes(sha256().digest_size))


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that open this router.

    Attributes:
        by_digest: Each by the SHA-256 of it.
    """

    by_digest: Mapping[bytes, Key] = field(default_factory=dict)

    @classmethod
    def of(cls, keys: Iterable[Key]) -> Keys:
        """Return these keys; of two that are the same the later one counts."""
        return cls({key.digest: key for key in keys})

    @classmethod
    def parse(cls, text: str) -> Keys:
        """Return the keys of a comma-separated list; an entry `sha256:HEX` is the digest of one.

        Raises:
            KeyFormatError: The digest of an entry is not 64 hex digits.
        """
        entries = [entry.strip() for entry in text.split(",")]
        digests = [_digest(entry, place) for place, entry in enumerate(entries, 1) if entry]
        return cls.of(Key(digest, {"id": digest.hex()[:ID_CHARS]}, sees_metrics=True) for digest in digests)

    def __bool__(self) -> bool:
        return bool(self.by_digest)

    def __len__(self) -> int:
        return len(self.by_digest)

    def find(self, text: str) -> Key | None:
        """Return the key that a client sent, None when it is none of these.

        The time it takes does not tell how near a wrong key was. The table is asked for the SHA-256 of what was sent,
        by a hash that is keyed at random for each process; only what is the same in all 64 bits of that is compared,
        and then in constant time.
        """
        asked = sha256(text.encode("utf-8", "surrogatepass")).digest()
        found = self.by_digest.get(asked, _NOBODY)
        return found if hmac.compare_digest(found.digest, asked) else None


def bearer(authorization: str | None) -> str | None:
    """Return the token of an `Authorization: Bearer TOKEN` header; a bare token counts too."""
    if authorization is None:
        return None
    scheme, _, token = authorization.strip().partition(" ")
    if not token:
        return scheme or None
    return token.strip() if scheme.lower() == "bearer" else None


def _digest(entry: str, place: int) -> bytes:
    if not entry.startswith(PREFIX):
        return sha256(entry.encode()).digest()
    digest = digest_of(entry.removeprefix(PREFIX))
    if digest is None:
        # The entry itself stays out of the message: it may be a mistyped key.
        raise KeyFormatError(f"entry {place}: `{PREFIX}` must be followed by 64 hex digits")
    return digest


def digest_of(hexadecimal: str) -> bytes | None:
    """Return the SHA-256 that 64 hex digits write, or None when they are something else."""
    try:
        digest = bytes.fromhex(hexadecimal)
    except ValueError:
        return None
    return digest if len(digest) == sha256().digest_size and len(hexadecimal) == 2 * len(digest) else None
