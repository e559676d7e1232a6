"""One HTTP/1.1 connection to the Runtime API: a request at a time, its body whole or in chunks with trailers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import httptools

Pairs = Mapping[str, str]


class RuntimeApiError(OSError):
    """The Runtime API cannot be reached, or broke off."""


@dataclass(slots=True)
class Reply:
    """What the Runtime API answered; header names are lower case."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Connection(asyncio.Protocol):
    """A connection that is opened when it is first needed, and again when it was closed.

    Args:
        address: `host:port`.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.partition(":")
        self._host, self._port = host, int(port.rstrip("/") or 80)
        self._line = f"host: {address}\r\nuser-agent: pointsman\r\n"
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._reply = Reply()
        self._body: list[bytes] = []
        self._answered: asyncio.Future[Reply] | None = None
        self._writable = asyncio.Event()
        self._left: Callable[[], None] | None = None

    async def request(self, method: str, path: str, headers: Pairs | None = None, body: bytes = b"") -> Reply:
        """Send a request and return the answer, however long it takes.

        Raises:
            RuntimeApiError: There is none.
        """
        waiter = await self._begin()
        self._write(self._head(method, path, {**(headers or {}), "content-length": str(len(body))}) + body)
        try:
            return await waiter
        except asyncio.CancelledError:
            self.close()  # its answer would be taken for that to the next request
            raise

    async def upload(self, path: str, headers: Pairs, data: bytes) -> None:
        """Begin a POST whose body comes in chunks, with the first of them.

        Raises:
            RuntimeApiError: The connection cannot be opened.
        """
        await self._begin()
        self._write(self._head("POST", path, {**headers, "transfer-encoding": "chunked"}) + chunk(data))

    def write(self, data: bytes) -> None:
        """Send one more chunk of the body; `b""` is none."""
        if data:
            self._write(chunk(data))

    @property
    def is_behind(self) -> bool:
        """Whether what was written before is still here."""
        return not self._writable.is_set()

    @property
    def is_over(self) -> bool:
        """Whether more of the body is pointless: the answer is there already, or the connection is gone."""
        return self._answered is None or self._answered.done()

    def watch(self, left: Callable[[], None] | None) -> None:
        """Have `left` called when the body being sent becomes pointless."""
        self._left = left

    async def drain(self) -> None:
        """Wait while what was written before is still here."""
        await self._writable.wait()

    def end(self, trailers: Pairs | None = None) -> None:
        """End the body."""
        self._left = None
        if self.is_over:
            self.close()  # answered before its end: the connection is of no use any more
            return
        tail = "".join(f"{name}: {value}\r\n" for name, value in (trailers or {}).items())
        self._write(f"0\r\n{tail}\r\n".encode("ascii"))

    async def reply(self) -> Reply:
        """Return the answer to what was uploaded.

        Raises:
            RuntimeApiError: There is none.
        """
        assert self._answered is not None
        return await self._answered

    def close(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    # --- inside -----------------------------------------------------------------------------------

    async def _begin(self) -> asyncio.Future[Reply]:
        loop = asyncio.get_running_loop()
        if self._transport is None or self._transport.is_closing():
            try:
                await loop.create_connection(lambda: self, self._host, self._port)
            except OSError as error:
                raise RuntimeApiError(f"the runtime api does not answer: {error}") from error
        self._parser = httptools.HttpResponseParser(self)
        self._reply, self._body = Reply(), []
        self._answered = loop.create_future()
        return self._answered

    def _head(self, method: str, path: str, headers: Pairs) -> bytes:
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{method} {path} HTTP/1.1\r\n{self._line}{fields}\r\n".encode("latin-1")

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _over(self) -> None:
        left, self._left = self._left, None
        if left is not None:
            left()

    # --- told by the loop -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast("asyncio.Transport", transport)
        self._writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone; whoever waits for an answer is told."""
        self._transport = None
        self._writable.set()
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(RuntimeApiError(f"the runtime api broke off: {error or 'closed'}"))
            self._answered.exception()  # whoever looks is told; nobody has to look
        self._over()

    def pause_writing(self) -> None:
        """The other side is behind."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    # --- told by the parser -----------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header of the answer."""
        self._reply.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        """Bytes of its body."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """The answer is whole; an interim one is none."""
        reply, status = self._reply, self._parser.get_status_code()
        if 100 <= status < 200:
            self._reply, self._body = Reply(), []
            return
        reply.status, reply.body = status, b"".join(self._body)
        if not self._parser.should_keep_alive():
            transport, self._transport = self._transport, None
            if transport is not None:
                transport.close()
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(reply)
        self._over()


def chunk(data: bytes) -> bytes:
    """Return some bytes of a body in chunked coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)
