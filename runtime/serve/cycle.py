"""One request and its answer on uvicorn: head and first bytes leave in one write, a client's leaving is called out.

uvicorn writes head and body apart, which costs a system call and a packet, and tells of a client that left only to
who has a task waiting in `receive`, which costs more than the rest of its work for a request.
"""

from __future__ import annotations

import asyncio
import logging
import re
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from runtime.dispatch.transport import Headers
from runtime.serve.client import SERVER

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent, HTTPScope
    from uvicorn.protocols.http.flow_control import FlowControl

# Up to here one copy and one system call beat two calls.
ONE_WRITE_BYTES = 64 * 1024

# RFC 9110 §5.6.2, in lower case as ASGI has it: a second `Content-Length` must not slip by.
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_BAD_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NO_BODY = (204, 304)

_LOGGER = logging.getLogger("uvicorn.error")


class Cycle(RequestResponseCycle):
    """A request being answered; made by `GuardedProtocol`."""

    def __init__(
        self,
        scope: HTTPScope,
        transport: asyncio.Transport,
        flow: FlowControl,
        default_headers: list[tuple[bytes, bytes]],
        expect_100_continue: bool,
        keep_alive: bool,
        on_response: Callable[[], None],
    ) -> None:
        super().__init__(
            scope, transport, flow, _LOGGER, _LOGGER, False, default_headers, asyncio.Event(), expect_100_continue,
            keep_alive, on_response,
        )  # fmt: skip
        self._head = b""
        self._left: Callable[[], None] | None = None
        cast("dict[str, object]", scope)[SERVER] = self

    def watch(self, left: Callable[[], None]) -> Callable[[], object]:
        """Have `left` called once when the client has left, not before this returns; return what ends the watch."""
        self._left = left
        if self.disconnected:
            asyncio.get_running_loop().call_soon(self._tell)
        return self._end_watch

    def take_body(self) -> bytes | None:
        """Return the body of the request if all of it is here and none was taken before, else None."""
        if self.more_body or self.disconnected or self.response_complete:
            return None
        self.flow.resume_reading()  # or a client that leaves would not be noticed
        data, self.body = bytes(self.body), bytearray()
        self.message_event.clear()
        return data

    def begin(self, status: int, headers: Headers, lines: bytes) -> None:
        """Have an answer begin with these headers, and these lines of a head that are known to be sound.

        Nothing is sent before the first bytes of its body.
        """
        if not self.disconnected:
            assert not self.response_started
            self._begin(status, headers, lines)

    def offer(self, data: bytes, *, last: bool = False) -> bool:
        """Send more of a body that has begun, if the client is not behind; else False, and nothing is done."""
        if self.flow.write_paused or self.disconnected or not self.response_started or self.response_complete:
            return False
        self._body(data, is_last=last)
        return True

    def leave(self) -> None:
        """Note that the client has left."""
        self.disconnected = True
        self.message_event.set()
        self._tell()

    def _tell(self) -> None:
        left, self._left = self._left, None
        if left is not None:
            left()

    def _end_watch(self) -> None:
        self._left = None

    async def send(self, message: ASGISendEvent) -> None:
        """Send what the application has: the head is kept until the first bytes of the body, as ASGI has it."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.body" and self.response_started and not self.response_complete:
            told = cast("Mapping[str, object]", message)
            self._body(cast("bytes", told.get("body", b"")), is_last=not told.get("more_body", False))
        elif kind == "http.response.start" and not self.response_started:
            told = cast("Mapping[str, object]", message)
            self._begin(cast("int", told["status"]), cast("list[tuple[bytes, bytes]]", told.get("headers", ())))
        else:
            raise RuntimeError(f"`{kind}` does not belong here")

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]], ready: bytes = b"") -> None:
        lines = [STATUS_LINE[status]]
        closes = False
        for name, value in (*self.default_headers, *headers):
            if not is_header(name) or _BAD_IN_VALUE.search(value):
                raise RuntimeError("a header that http cannot carry")
            match name:
                case b"content-length" if self.chunked_encoding is None:
                    self.expected_content_length = int(value)
                    self.chunked_encoding = False
                case b"transfer-encoding":
                    raise RuntimeError("framing is the server's")
                case b"connection":
                    closes = b"close" in value.lower()
            lines.append(b"%b: %b\r\n" % (name, value))
        if closes:
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close\r\n")
        if self.chunked_encoding is None and status not in _NO_BODY and self.scope["method"] != "HEAD":
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines += (ready, b"\r\n")
        self._head = b"".join(lines)
        self.response_started = True
        self.waiting_for_100_continue = False

    def _body(self, data: bytes, *, is_last: bool) -> None:
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            data = b""
        elif self.chunked_encoding:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            if is_last:
                data += b"0\r\n\r\n"
        else:
            self.expected_content_length -= len(data)
            if self.expected_content_length < 0 or (is_last and self.expected_content_length):
                raise RuntimeError("the body is not as long as its `content-length` says")
        head, self._head = self._head, b""
        if len(data) > ONE_WRITE_BYTES:
            if head:
                self.transport.write(head)
            self.transport.write(data)
        elif head or data:
            self.transport.write(head + data)
        if is_last:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()


@lru_cache(1024)
def is_header(name: bytes) -> bool:
    """Whether a name can be that of a header."""
    return _NAME.fullmatch(name) is not None


@lru_cache(256)
def address(url: bytes) -> tuple[str, bytes, bytes]:
    """Return the path of a request's address, the same as sent, and its query.

    Raises:
        httptools.HttpParserInvalidURLError: It is none.
    """
    parts = httptools.parse_url(url)
    raw = parts.path
    path = raw.decode("ascii")
    return urllib.parse.unquote(path) if "%" in path else path, raw, parts.query or b""
