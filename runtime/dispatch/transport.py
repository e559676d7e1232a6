"""The seam below dispatch: one HTTP exchange with a provider, whoever carries it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, runtime_checkable

import msgspec

Headers = tuple[tuple[bytes, bytes], ...]


class Outgoing(msgspec.Struct, frozen=True):
    """A request to a provider; header names are lower case, the body is complete."""

    method: str
    url: str
    headers: Headers
    body: bytes


class TransportError(Exception):
    """An exchange that failed below HTTP; mapped here once from whatever the carrier raises.

    Attributes:
        kind: `connect` (no connection: nothing was sent), `lost` (reset or closed before the body's end) or
            `protocol` (the peer does not speak HTTP).
        sent: Whether any byte of the request may have reached the peer.
    """

    def __init__(self, kind: Literal["connect", "lost", "protocol"], detail: str, *, sent: bool) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.sent = sent


class Response(Protocol):
    """A provider's answer whose head has arrived; header names are lower case."""

    status: int
    headers: Headers

    @property
    def is_complete(self) -> bool:
        """Whether the body's end is known to have arrived: what is left to read is here."""
        ...

    async def read(self) -> bytes:
        """Return the next bytes of the body as they come; `b""` is the body's proper end.

        Raises:
            TransportError: The connection broke before the end.
        """
        ...

    async def aclose(self) -> None:
        """Give the connection back, or drop it when the body is unfinished. Idempotent."""
        ...


@runtime_checkable
class Forwarding(Protocol):
    """An answer that can hand on its body as it comes, without a turn of the loop for each piece."""

    async def forward(self, take: Callable[[bytes], bool]) -> None:
        """Give every next piece of the body to `take`, until it returns False or there are no more.

        The piece that was not taken and the body's end, or how it broke, are left for `read` to tell.
        """
        ...


class Transport(Protocol):
    """Carries requests to providers; owns its connections. Deadlines are the caller's: cancel the call."""

    async def send(self, request: Outgoing) -> Response:
        """Send a request and return when the head of the answer has arrived.

        Raises:
            TransportError: No head came.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


@runtime_checkable
class Pooling(Protocol):
    """A transport that keeps connections between requests."""

    def drop_idle(self) -> None:
        """Close the connections that nobody uses: after a long freeze the other side may be gone without a word."""
        ...
