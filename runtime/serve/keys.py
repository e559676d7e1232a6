"""Who may ask: the clients' own API keys, held and compared as SHA-256 digests."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256

PREFIX = "sha256:"

ID_CHARS = 12
"""Of a key's digest, which names it to policies and logs without giving it away."""


class KeyFormatError(ValueError):
    """An entry of the key list that can be neither a key nor a digest."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that open this router; none means that anyone on this machine may ask.

    Attributes:
        digests: SHA-256 of each key.
    """

    digests: tuple[bytes, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Keys:
        """Return the keys of a comma-separated list; an entry `sha256:HEX` is the digest of one.

        Raises:
            KeyFormatError: The digest of an entry is not 64 hex digits.
        """
        entries = [entry.strip() for entry in text.split(",")]
        return cls(tuple(_digest(entry, place) for place, entry in enumerate(entries, 1) if entry))

    def __bool__(self) -> bool:
        return bool(self.digests)

    def find(self, key: str) -> str | None:
        """Return what tells `key` from the others (`key.id`), None when it is none of them.

        The time it takes does not tell how near a wrong key was, nor which one a right key is.
        """
        asked = sha256(key.encode("utf-8", "surrogatepass")).digest()
        matches = [hmac.compare_digest(asked, digest) for digest in self.digests]
        return asked.hex()[:ID_CHARS] if any(matches) else None


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
    try:
        digest = bytes.fromhex(entry.removeprefix(PREFIX))
    except ValueError:
        digest = b""
    if len(digest) != sha256().digest_size:
        # The entry itself stays out of the message: it may be a mistyped key.
        raise KeyFormatError(f"entry {place}: `{PREFIX}` must be followed by 64 hex digits")
    return digest
