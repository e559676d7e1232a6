"""Where a request goes and what its head looks like on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from runtime.dispatch.transport import Headers, Outgoing, TransportError

# What frames a message is said by whoever writes it; a second opinion would be request smuggling.
FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"upgrade", b"te"})

# Left alone by `quote`: everything RFC 3986 allows in a path and a query, and escapes that are already there.
AS_IT_IS = "/?:@!$&'()*+,;=-._~%[]"


@dataclass(frozen=True, slots=True)
class Origin:
    """A place connections lead to; `host` is what certificates are checked against."""

    tls: bool
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Address:
    """A URL, taken apart: the origin, and the two things the head says about it."""

    origin: Origin
    host_header: bytes
    target: bytes


def address(url: str) -> Address:
    """Return what a URL means.

    Raises:
        TransportError: `connect`: it leads nowhere over HTTP.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("ascii" if ":" in (parts.hostname or "") else "idna").decode("ascii")
    except ValueError as error:  # a bad port, or a host that no name server could know
        raise TransportError("connect", f"`{url}` is no http address: {error}", sent=False) from error
    tls = parts.scheme == "https"
    if not (tls or parts.scheme == "http") or not host or "@" in parts.netloc or not host.isprintable() or " " in host:
        raise TransportError("connect", f"`{url}` is no http address", sent=False)
    usual = 443 if tls else 80
    shown = f"[{host}]" if ":" in host else host
    host_header = shown if port in (None, usual) else f"{shown}:{port}"
    target = quote(parts.path or "/", safe=AS_IT_IS) + (f"?{quote(parts.query, safe=AS_IT_IS)}" if parts.query else "")
    return Address(
        Origin(tls, host, usual if port is None else port), host_header.encode("ascii"), target.encode("ascii")
    )


def head_lines(method: str, headers: Headers, at: Address) -> bytes:
    """Return the request line and the headers that do not depend on the body, each with its line end.

    Raises:
        TransportError: `connect`: a header or the method would break out of its line.
    """
    name = method.encode("latin-1", "replace")
    lines = [b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (name, at.target, at.host_header)]
    lines += [b"%b: %b\r\n" % field for field in headers if field[0] not in FRAMING]
    found = b"".join(lines)
    # One line end for each line, and one more inside the first: any other came from a header's value.
    if not found.count(b"\n") == found.count(b"\r") == len(lines) + 1 or b"\0" in found or not name.isalpha():
        raise TransportError("connect", "a header holds a line end or a zero byte", sent=False)
    return found


def head(lines: bytes, request: Outgoing) -> bytes:
    """Return the whole head, with the empty line, from its `head_lines`."""
    if request.body or request.method not in ("GET", "HEAD"):
        return b"%bcontent-length: %d\r\n\r\n" % (lines, len(request.body))
    return lines + b"\r\n"


def passed_on(fields: list[tuple[bytes, bytes]], connection: bytes) -> Headers:
    """Return a response's headers without those that are about the connection.

    Args:
        fields: Names in lower case.
        connection: All values of `connection`, joined by commas: the names it lists stay behind too.

    Source: RFC 9110, section 7.6.1.
    """
    kept = [field for field in fields if field[0] not in HOP_BY_HOP]
    if connection:
        listed = {name.strip().lower() for name in connection.split(b",")}
        kept = [field for field in kept if field[0] not in listed]
    return tuple(kept)


HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
        b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip
