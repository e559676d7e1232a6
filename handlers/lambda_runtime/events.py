"""What Lambda is called with → one HTTP request as ASGI knows it.

Sources: AWS, "Invoking Lambda functions using function URLs" (payload format 2.0), "Lambda proxy integrations" of HTTP
APIs (2.0 and 1.0) and REST APIs (1.0), "Using Lambda functions as targets of an Application Load Balancer".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import quote, unquote, urlencode

import msgspec

Front = Literal["url", "http-api", "rest-api", "alb"]
"""Who stands in front: a function URL, an HTTP API, a REST API (or an HTTP API that speaks its format), a balancer."""

Pairs = list[tuple[str, str]]


class NotHttpError(ValueError):
    """An event that is no HTTP request; the message says what it looks like.

    Attributes:
        is_scheduled: Whether it comes from a schedule, as calls that only keep a function warm do.
    """

    def __init__(self, message: str, *, is_scheduled: bool = False) -> None:
        super().__init__(message)
        self.is_scheduled = is_scheduled


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request, and who asked.

    Attributes:
        front: Decides how the answer has to look.
        many: Whether the front wants every header of the answer as a list.
        scope: ASGI's, of the type `http`.
        body: All of it.
    """

    front: Front
    many: bool
    scope: dict[str, object]
    body: bytes


class _Http(msgspec.Struct, rename="camel"):
    method: str
    source_ip: str | None = None
    protocol: str = "HTTP/1.1"


class _Identity(msgspec.Struct, rename="camel"):
    source_ip: str | None = None


class _Context(msgspec.Struct, rename="camel"):
    http: _Http | None = None
    identity: _Identity | None = None
    stage: str | None = None
    domain_name: str | None = None
    protocol: str | None = None
    elb: dict[str, str] | None = None
    connection_id: str | None = None


class _Event(msgspec.Struct, rename="camel"):
    version: str | None = None
    http_method: str | None = None
    path: str | None = None
    raw_path: str | None = None
    raw_query_string: str | None = None
    headers: dict[str, str | None] | None = None
    multi_value_headers: dict[str, list[str] | None] | None = None
    query_string_parameters: dict[str, str | None] | None = None
    multi_value_query_string_parameters: dict[str, list[str] | None] | None = None
    cookies: list[str] | None = None
    body: str | None = None
    is_base64_encoded: bool = False
    request_context: _Context | None = None
    source: str | None = None


_decoder = msgspec.json.Decoder(_Event)


def request_of(event: bytes, base_path: str = "") -> HttpRequest:
    """Return the request in an event.

    Args:
        event: JSON, as the Runtime API gives it.
        base_path: What a custom domain's mapping puts before the path, such as `/llm`; not part of the address.

    Raises:
        NotHttpError: There is none.
    """
    try:
        found = _decoder.decode(event)
    except msgspec.MsgspecError as error:
        raise NotHttpError("an event that is no http request") from error
    context = found.request_context
    if context is not None and context.http is not None and found.raw_path is not None:
        return _second_format(found, context, context.http, base_path)
    if context is not None and found.http_method is not None and found.path is not None:
        return _first_format(found, context, found.http_method, found.path, base_path)
    if context is not None and context.connection_id is not None:
        raise NotHttpError("a websocket event, which this function does not serve")
    if found.source == "aws.events":
        raise NotHttpError("a scheduled event", is_scheduled=True)
    raise NotHttpError(f"an event that is no http request{f' (source {found.source})' if found.source else ''}")


def _second_format(event: _Event, context: _Context, http: _Http, base_path: str) -> HttpRequest:
    """Function URLs and HTTP APIs: repeated headers joined, cookies apart, path and query as sent."""
    assert event.raw_path is not None
    headers = [(name, value) for name, value in (event.headers or {}).items() if value is not None]
    if event.cookies:
        headers.append(("cookie", "; ".join(event.cookies)))
    is_url = ".lambda-url." in (context.domain_name or "")
    stage = context.stage or "$default"
    prefix = base_path
    if stage != "$default" and _begins(event.raw_path, f"/{stage}"):
        prefix = f"/{stage}"  # an HTTP API writes its stage before the path, if it has one
    scope = _scope(http.method, event.raw_path, event.raw_query_string or "", headers, context, prefix)
    scope["client"] = (http.source_ip, 0) if http.source_ip else None
    return HttpRequest("url" if is_url else "http-api", False, scope, _body(event))


def _first_format(event: _Event, context: _Context, method: str, path: str, base_path: str) -> HttpRequest:
    """REST APIs and load balancers: headers and query once or many times, depending on settings of theirs."""
    is_alb = context.elb is not None
    many = is_alb and event.multi_value_headers is not None
    headers = _pairs(event.multi_value_headers, event.headers)
    query = _pairs(event.multi_value_query_string_parameters, event.query_string_parameters)
    # A balancer hands the query on as it was sent, a REST API decoded.
    text = "&".join(f"{name}={value}" for name, value in query) if is_alb else urlencode(query)
    scope = _scope(method, path if is_alb else quote(path, safe="/%:@!$&'()*+,;=~"), text, headers, context, base_path)
    peer = context.identity.source_ip if context.identity else None
    if is_alb:
        # The balancer writes whom it heard at the end of the list.
        peer = {name.lower(): value for name, value in headers}.get("x-forwarded-for", "").rpartition(",")[2]
    scope["client"] = (peer.strip(), 0) if peer and peer.strip() else None
    return HttpRequest("alb" if is_alb else "rest-api", many, scope, _body(event))


def _scope(
    method: str, raw_path: str, query: str, headers: Pairs, context: _Context, root_path: str
) -> dict[str, object]:
    told = {name.lower(): value for name, value in headers}
    host = told.get("host") or context.domain_name or "localhost"
    port = told.get("x-forwarded-port", "")
    protocol = context.http.protocol if context.http else context.protocol or "HTTP/1.1"
    path = unquote(raw_path) or "/"
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": protocol.rpartition("/")[2],
        "method": method.upper(),
        "scheme": told.get("x-forwarded-proto", "https"),
        "path": path,
        "raw_path": raw_path.encode("utf-8", "surrogatepass"),
        "query_string": query.encode("utf-8", "surrogatepass"),
        "root_path": root_path if _begins(path, root_path) else "",
        "headers": [(name.lower().encode("latin-1", "replace"), _bytes(value)) for name, value in headers],
        "server": (host.partition(":")[0], int(port) if port.isascii() and port.isdigit() else 443),
        "client": None,
    }


def _bytes(value: str) -> bytes:
    """Return a header's value as it was sent: bytes that JSON carries as text."""
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace")


def _begins(path: str, prefix: str) -> bool:
    return bool(prefix) and (path == prefix or path.startswith(f"{prefix}/"))


def _pairs(many: Mapping[str, list[str] | None] | None, single: Mapping[str, str | None] | None) -> Pairs:
    if many is not None:
        return [(name, value) for name, values in many.items() for value in values or ()]
    return [(name, value) for name, value in (single or {}).items() if value is not None]


def _body(event: _Event) -> bytes:
    text = event.body or ""
    if not event.is_base64_encoded:
        return text.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotHttpError("an http request whose body is not the base64 it says it is") from error


def headers_of(message: Mapping[str, object]) -> Pairs:
    """Return the headers of `http.response.start` as text, names in lower case."""
    pairs = cast("Iterable[tuple[bytes, bytes]]", message.get("headers", ()))
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in pairs]
