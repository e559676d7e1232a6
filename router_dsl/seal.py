"""Signatures around an artefact: put on by `build`, checked before anything inside is read.

A sealed plan is a small frame with the signature, and the plan behind it, untouched. HMAC-SHA256 needs one secret on
both sides; Ed25519 lets servers check what they could not have signed, and needs the extra `pointsman[signing]`.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from router_dsl.plan import Plan, PlanError, decode

_MAGIC = b"\x89POINTSEAL\r\n"
"""First byte above 127 and a line end of each kind, as a plan has it."""

_FRAME = struct.Struct(">12sB64s")
"""Magic, kind of signature, signature (HMAC-SHA256: padded with zeros)."""

_CONTEXT = b"pointsman plan\x00"
"""What is signed begins so: a signature made with the same key for anything else is none for a plan."""

_KINDS = {"hmac": 1, "ed25519": 2}

# 32 characters: what `openssl rand -hex 16` prints, 128 bits. The message that refuses less proposes twice as many.
LEAST_SECRET_CHARS = 32

_PEM = "-----BEGIN"


class KeyTextError(ValueError):
    """A key that cannot be used; the message says why and never shows it."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that signs or verifies plans.

    Attributes:
        kind: Kind of the signatures.
        text: The secret of HMAC, or a PEM block: of the private key to sign, of either to verify.
    """

    kind: Literal["hmac", "ed25519"]
    text: str

    def __repr__(self) -> str:
        return f"Key({self.kind})"


def read_keys(text: str) -> tuple[Key, ...]:
    """Return the keys in a setting: separated by commas, an Ed25519 key as PEM, anything else a secret for HMAC.

    Raises:
        KeyTextError: One of them is unusable.
    """
    return tuple(_read_key(part.strip()) for part in text.split(",") if part.strip())


def _read_key(text: str) -> Key:
    if text.startswith(_PEM):
        # Some environments carry no line ends; a PEM block needs them.
        return Key("ed25519", text.replace("\\n", "\n"))
    if len(text) < LEAST_SECRET_CHARS:
        raise KeyTextError(
            f"a secret of {len(text)} characters can be guessed: take {LEAST_SECRET_CHARS} or more, "
            "such as `openssl rand -hex 32` prints"
        )
    return Key("hmac", text)


def seal(data: bytes, key: Key) -> bytes:
    """Return an encoded plan with a signature in front.

    Raises:
        KeyTextError: The key is no private Ed25519 key, or the extra that Ed25519 needs is not installed.
    """
    made = _hmac(data, key) if key.kind == "hmac" else _sign(data, key)
    return _FRAME.pack(_MAGIC, _KINDS[key.kind], made) + data


def unseal(data: bytes, keys: Sequence[Key]) -> bytes:
    """Return the encoded plan that one of the keys has signed; without keys, signed or not.

    Raises:
        PlanError: There are keys, and none of them has signed this.
        KeyTextError: A key cannot be used.
    """
    if data[: len(_MAGIC)] != _MAGIC:
        if keys:
            raise PlanError("plan is not signed, and POINTSMAN_PLAN_KEY is set: build it with `pointsman build --sign`")
        return data
    if len(data) < _FRAME.size:
        raise PlanError(f"plan is cut short: {len(data)} bytes, not even its signature")
    _, kind, signature = _FRAME.unpack_from(data)
    inner = data[_FRAME.size :]
    if not keys or any(_KINDS[key.kind] == kind and _is_by(inner, signature, key) for key in keys):
        return inner
    raise PlanError(
        "plan is signed, but not by a key of POINTSMAN_PLAN_KEY: sign it with the key that belongs to one of them, "
        "or name the key that signed it"
    )


def open_plan(data: bytes, keys: Sequence[Key] = ()) -> Plan:
    """Return the plan in a file or an object, sealed or bare, its signature checked first where there are keys.

    Raises:
        PlanError: It is no usable plan, or none that a key vouches for.
        KeyTextError: A key cannot be used.
    """
    return decode(unseal(data, keys))


def _is_by(data: bytes, signature: bytes, key: Key) -> bool:
    if key.kind == "hmac":
        return hmac.compare_digest(_hmac(data, key), signature)
    return _verifies(data, signature, key)


def _hmac(data: bytes, key: Key) -> bytes:
    return hmac.digest(key.text.encode(), _CONTEXT + data, "sha256").ljust(64, b"\x00")


# --- Ed25519: `cryptography` costs a start 40 ms and 15 MB, which who uses HMAC does not pay -------


def _sign(data: bytes, key: Key) -> bytes:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise KeyTextError("Ed25519 needs the extra: install `pointsman[signing]`") from error
    try:
        private = load_pem_private_key(key.text.encode(), None)
    except (ValueError, TypeError) as error:
        raise KeyTextError("the PEM block is no private key without a pass phrase") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyTextError("the PEM block is a private key, but not of Ed25519")
    return private.sign(_CONTEXT + data)


def _verifies(data: bytes, signature: bytes, key: Key) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError as error:
        raise KeyTextError("Ed25519 needs the extra: install `pointsman[signing]`") from error
    try:
        public = load_pem_public_key(key.text.encode())
    except ValueError as error:
        raise KeyTextError(
            "the PEM block is no public key; `openssl pkey -pubout` makes it of the private one"
        ) from error
    if not isinstance(public, Ed25519PublicKey):
        raise KeyTextError("the PEM block is a public key, but not of Ed25519")
    try:
        public.verify(signature, _CONTEXT + data)
    except InvalidSignature:
        return False
    return True
