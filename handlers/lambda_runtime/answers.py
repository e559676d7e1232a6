"""The two ways an answer goes back: streamed as it comes, or as one JSON document at the end."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import MutableMapping
from typing import cast

import msgspec

from handlers.lambda_runtime.api import PRELUDE_END, Fault, Invocation, RuntimeApi, trailers
from handlers.lambda_runtime.connection import Connection, Reply, RuntimeApiError
from handlers.lambda_runtime.events import Front, HttpRequest, Pairs, headers_of

# The front frames the message; a second opinion of ours would be wrong once it has re-framed it.
FRAMING = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "upgrade"})

Message = MutableMapping[str, object]

GONE = "the runtime api takes no more of this answer"


class Streamed:
    """An answer that goes out as it comes.

    Attributes:
        gone: Set when Lambda takes no more of it. That a client has left is not seen here: Lambda does not tell.
    """

    def __init__(self, api: RuntimeApi, invocation: Invocation, request: HttpRequest) -> None:
        self._api = api
        self._invocation = invocation
        self._front = request.front
        self._is_head_request = request.scope["method"] == "HEAD"
        self._prelude: bytes | None = None
        self._out: Connection | None = None
        self.gone = asyncio.Event()
        self.is_complete = False

    @property
    def is_begun(self) -> bool:
        """Whether the client may have seen anything."""
        return self._out is not None

    async def send(self, message: Message) -> None:
        """Send what the application has; the head is kept until the first bytes of the body.

        Raises:
            OSError: Lambda takes no more.
        """
        match message["type"]:
            case "http.response.start" if self._prelude is None:
                self._prelude = prelude(cast("int", message["status"]), headers_of(message), self._front)
            case "http.response.body" if self._prelude is not None and not self.is_complete:
                data = b"" if self._is_head_request else cast("bytes", message.get("body", b""))
                await self._body(data, self._prelude, is_last=not message.get("more_body", False))
            case kind:
                raise RuntimeError(f"`{kind}` does not belong here")

    async def _body(self, data: bytes, prelude: bytes, *, is_last: bool) -> None:
        if self._out is None:
            self._out = await self._api.stream(self._invocation, prelude + data)
            self._out.watch(self.gone.set)
        else:
            if self._out.is_behind:
                await self._out.drain()
            if self._out.is_over:
                raise RuntimeApiError(GONE)
            self._out.write(data)
        if is_last:
            # Now, and not once the application has returned: it may have things to do that nobody need wait for.
            self._out.end()
            self.is_complete = True

    async def reply(self) -> Reply:
        """Return what Lambda says to an answer that is complete.

        Raises:
            RuntimeApiError: Lambda did not take it.
        """
        assert self._out is not None
        return await self._out.reply()

    async def break_off(self, fault: Fault) -> Reply:
        """Tell that an answer that has begun will not end well.

        Raises:
            RuntimeApiError: Lambda did not take it.
        """
        assert self._out is not None
        self._out.end(trailers(fault))
        return await self._out.reply()


class Whole:
    """An answer that is kept until it is complete; nothing of it can be seen before."""

    is_begun = False

    def __init__(self, api: RuntimeApi, invocation: Invocation, request: HttpRequest) -> None:
        self._api = api
        self._invocation = invocation
        self._request = request
        self._status = 0
        self._headers: Pairs = []
        self._parts: list[bytes] = []
        self.gone = asyncio.Event()
        self._reply: Reply | RuntimeApiError | None = None

    @property
    def is_complete(self) -> bool:
        """Whether it has been sent."""
        return self._reply is not None

    async def send(self, message: Message) -> None:
        """Keep what the application has, and send it with its last bytes."""
        match message["type"]:
            case "http.response.start" if not self._status:
                self._status, self._headers = cast("int", message["status"]), headers_of(message)
            case "http.response.body" if self._status and not self.is_complete:
                self._parts.append(cast("bytes", message.get("body", b"")))
                if not message.get("more_body", False):
                    await self._respond()
            case kind:
                raise RuntimeError(f"`{kind}` does not belong here")

    async def _respond(self) -> None:
        body = b"" if self._request.scope["method"] == "HEAD" else b"".join(self._parts)
        document = whole(self._status, self._headers, body, self._request)
        try:
            self._reply = await self._api.respond(self._invocation, msgspec.json.encode(document))
        except RuntimeApiError as error:
            self._reply = error

    async def reply(self) -> Reply:
        """Return what Lambda says to the answer.

        Raises:
            RuntimeApiError: Lambda did not take it.
        """
        assert self._reply is not None
        if isinstance(self._reply, RuntimeApiError):
            raise self._reply
        return self._reply

    async def break_off(self, fault: Fault) -> Reply:
        """Never called: it has not begun."""
        raise AssertionError


def prelude(status: int, headers: Pairs, front: Front) -> bytes:
    """Return the head of a streamed answer: JSON and eight zero bytes."""
    found = _joined(headers)
    told: dict[str, object] = {"statusCode": status, "headers": found}
    if cookies := [value for name, value in headers if name == "set-cookie"]:
        told |= {"multiValueHeaders": {"set-cookie": cookies}} if front == "rest-api" else {"cookies": cookies}
    return msgspec.json.encode(told) + PRELUDE_END


def whole(status: int, headers: Pairs, body: bytes, request: HttpRequest) -> dict[str, object]:
    """Return an answer as one document."""
    told: dict[str, object] = {"statusCode": status, "isBase64Encoded": False}
    cookies = [value for name, value in headers if name == "set-cookie"]
    if request.front == "http-api" or request.front == "url":
        told |= {"headers": _joined(headers)} | ({"cookies": cookies} if cookies else {})
    elif request.front == "rest-api":
        told |= {"headers": _joined(headers)} | ({"multiValueHeaders": {"set-cookie": cookies}} if cookies else {})
    elif request.many:
        # A balancer that sends lists takes nothing else, and one that does not takes no lists.
        told["multiValueHeaders"] = {name: [value] for name, value in _joined(headers).items()} | (
            {"set-cookie": cookies} if cookies else {}
        )
    else:
        told["headers"] = _joined(headers) | ({"set-cookie": cookies[-1]} if cookies else {})
    if request.front == "alb":
        told["statusDescription"] = f"{status} {_phrase(status)}"
    try:
        told["body"] = body.decode("utf-8")
    except UnicodeDecodeError:
        told |= {"body": base64.b64encode(body).decode("ascii"), "isBase64Encoded": True}
    return told


def _joined(headers: Pairs) -> dict[str, str]:
    """Return headers as single values; cookies, which cannot be joined, are told apart."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name not in FRAMING and name != "set-cookie":
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _phrase(status: int) -> str:
    from http import HTTPStatus  # only balancers want it

    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"
