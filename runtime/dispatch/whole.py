"""One exchange with an answer that is wanted whole: small, bounded, read to its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runtime.dispatch.transport import Outgoing, Transport, TransportError


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer; header names are lower case, of a repeated one the last counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def exchange(
    transport: Transport, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, most_bytes: int
) -> Whole:
    """Send a request and return its answer.

    Args:
        transport: Carries it.
        method: In capitals.
        url: Absolute.
        headers: Names in lower case.
        body: All of it.
        most_bytes: Of the answer's body; more is an error, however little of it has come.

    Raises:
        TransportError: There is no answer, or it is longer than that.
    """
    sent = tuple((name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items())
    response = await transport.send(Outgoing(method, url, sent, body))
    try:
        parts: list[bytes] = []
        size = 0
        while data := await response.read():
            parts.append(data)
            size += len(data)
            if size > most_bytes:
                raise TransportError("protocol", f"the answer is longer than {most_bytes:,} bytes", sent=True)
    finally:
        await response.aclose()
    found = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
    return Whole(response.status, found, b"".join(parts))
