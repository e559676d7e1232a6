"""What a client sent: its headers, its address, its key, its body up to the limit."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast

from runtime.dispatch.transport import Headers
from runtime.serve.client import Receive, Scope
from runtime.serve.keys import ANYONE, Key, bearer
from runtime.serve.router import Router
from runtime.serve.settings import Settings
from runtime.wire import keep_alive as wire_keep_alive
from runtime.wire.errors import Problem, bad_request, forbidden, problem, too_large, unauthorized
from runtime.wire.keep_alive import KeepAlive

GIVEN_UP = "pointsman.given_up"
"""Where in the scope a server leaves the problem for which it will read no more of a body."""


@dataclass(frozen=True, slots=True)
class Unread:
    """What is wrong with a request whose body is still coming, and not wanted any more."""

    problem: Problem


class ClientLeftError(Exception):
    """The client left before its request was complete; there is nobody to answer."""


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the request's headers by lower-case name; values of a repeated one are joined by commas."""
    found: dict[str, str] = {}
    for raw_name, raw_value in cast("Iterable[tuple[bytes, bytes]]", scope["headers"]):
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def client_ip(scope: Scope, headers: Mapping[str, str], settings: Settings) -> str | None:
    """Return who asks: the peer, or the address that a trusted proxy wrote into the header the operator named.

    Of a list the last entry counts, the only one that the nearest proxy wrote itself.
    """
    if settings.client_ip_header is not None and (said := headers.get(settings.client_ip_header)):
        return said.rpartition(",")[2].strip()
    return _peer(scope)


async def admit(router: Router, scope: Scope, headers: Mapping[str, str], now_unix_s: float) -> Key | Problem:
    """Return the caller's key, `ANYONE` for an anonymous caller, or why this client may not ask.

    Without keys only this machine is answered, unless the operator opened the router to everyone.
    """
    settings, keyring = router.settings, router.keyring
    if not settings.needs_key:
        if settings.anonymous or is_own_machine(scope, headers):
            return ANYONE
        return unauthorized("this router answers only its own machine: its operator has set no api keys")
    text = bearer(headers.get("authorization")) or headers.get("x-api-key")
    if not text:
        return unauthorized("an api key is needed: send `Authorization: Bearer KEY`")
    if keyring.is_due(now_unix_s):
        await keyring.look(now_unix_s)
    key = keyring.keys.find(text)
    if key is None:
        return unauthorized("the api key is not known here")
    if key.revoked:
        return unauthorized("the api key was revoked")
    return unauthorized("the api key has expired") if key.is_expired(now_unix_s) else key


def is_own_machine(scope: Scope, headers: Mapping[str, str]) -> bool:
    """Whether a request comes from this machine, and not from a web page of somewhere else that is looked at here."""
    return _is_local(_peer(scope)) and _is_local_page(headers.get("origin"))


def barred(router: Router, key: Key, policy: str, models: Sequence[str]) -> Problem | None:
    """Return why a key may not ask this policy for these models, None when it may.

    What the policy makes of the request is the policy's business.
    """
    if key.policies is not None and policy not in key.policies:
        return forbidden(f"the api key may not ask the policy `{policy}`")
    if key.models is None or all(_is_allowed(router, key.models, model) for model in models):
        return None
    return replace(forbidden("the api key may not ask for this model"), param="model")


def _is_allowed(router: Router, allowed: Collection[str], model: str) -> bool:
    if model in allowed or model.startswith("@"):
        return True
    asked = router.book.named(model)
    return bool(asked) and any(router.book.named(name) == asked for name in allowed)


async def body_of(
    scope: Scope,
    headers: Mapping[str, str],
    receive: Receive,
    limit_bytes: int,
    take: Callable[[], bytes | None] = lambda: None,
) -> bytes | Problem | Unread:
    """Return the request's body, or what is wrong with it.

    Args:
        scope: Of the request.
        headers: Likewise.
        receive: Gives the body, piece by piece.
        limit_bytes: The most that is read.
        take: Gives all of it at once, if it is there.

    Raises:
        ClientLeftError: The client left before the end of the body.
    """
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        return problem(415, "request bodies are read only without a `content-encoding`")
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > limit_bytes:
        return Unread(too_large(limit_bytes))
    whole = take()
    if whole is not None:
        return whole if len(whole) <= limit_bytes else too_large(limit_bytes)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        chunk = cast("bytes", message.get("body", b""))
        size += len(chunk)
        is_whole = not message.get("more_body", False)
        if size > limit_bytes:
            return too_large(limit_bytes) if is_whole else Unread(too_large(limit_bytes))
        chunks.append(chunk)
        if is_whole:
            return b"".join(chunks) if len(chunks) > 1 else chunk
        if GIVEN_UP in scope:
            return Unread(cast("Problem", scope[GIVEN_UP]))


def keep_alive(headers: Mapping[str, str], key: Mapping[str, str], settings: Settings) -> KeepAlive | Problem | None:
    """Return the signs of life that a stream is to have: the request's header, its key or the operator says.

    Args:
        headers: Of the request; `x-pointsman-keep-alive` goes first.
        key: Attributes of the caller's key; `keep-alive` goes next, where it can be read.
        settings: The operator's, for all others.
    """
    said = headers.get("x-pointsman-keep-alive")
    if said is None and "keep-alive" not in key:
        return settings.stream_keep_alive
    try:
        return wire_keep_alive.parse(key["keep-alive"] if said is None else said)
    except ValueError as error:
        return settings.stream_keep_alive if said is None else bad_request(f"`x-pointsman-keep-alive`: {error}")


def closing(scope: Scope) -> Headers:
    """Return the header that ends a connection with its answer, where this version of HTTP has one."""
    return ((b"connection", b"close"),) if str(scope.get("http_version", "1.1")).startswith("1") else ()


def _peer(scope: Scope) -> str | None:
    peer = cast("tuple[str, int] | None", scope.get("client"))
    return peer[0] if peer else None


def _is_local_page(origin: str | None) -> bool:
    """Whether a browser's request comes from a page of this machine; other clients say no origin.

    Without a key any web page that somebody here looks at could otherwise spend the providers' money.
    """
    if origin is None:
        return True
    host = origin.partition("://")[2].rpartition(":")[0] or origin.partition("://")[2]
    return host in ("localhost", "127.0.0.1", "[::1]")


@lru_cache(4096)
def _is_local(peer: str | None) -> bool:
    """Whether a peer is on this machine; one without an address (a socket file, a test client) is."""
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return True
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
