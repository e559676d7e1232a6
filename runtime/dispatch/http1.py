"""One HTTP/1.1 connection to a provider, and the answer that is coming over it.

An answer owns its connection until its last byte, then the connection goes back to its pool at once, whether or not
the answer has been read. Whatever is doubtful (bytes nobody asked for, an unfinished answer, a request not wholly
taken) ends the connection instead.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Literal, cast

import httptools

from runtime.dispatch.http1_head import passed_on
from runtime.dispatch.transport import Headers, TransportError

# Servers give up at 8 to 16 KiB themselves; the longest heads of providers (CDN cookies, rate limits) are 4 KiB. The
# same bound holds for everything else that is not body: interim answers, chunk extensions, trailers.
MOST_HEAD_BYTES = 64 * 1024
MOST_HEADERS = 200

# Unread bytes of an answer at which the provider is made to wait; what a socket buffer holds comes on top.
HIGH_WATER_BYTES = 64 * 1024

# Up to here one copy and one system call beat two calls.
ONE_WRITE_BYTES = 64 * 1024

_KEEP_ALIVE_TIMEOUT = re.compile(rb"timeout\s*=\s*(\d{1,9})")

Ended = Callable[["Connection"], None]


class Http1Response:
    """An answer whose head has arrived or is awaited; also what the parser tells about it."""

    __slots__ = (
        "_bug", "_chunks", "_connection", "_error", "_fields", "_is_head_request", "_is_interim",
        "_loop", "_size", "_waiter", "begun", "headers", "is_complete", "is_paused", "keep_s", "keeps_connection",
        "quiet_bytes", "refused", "status", "take", "until_close",
    )  # fmt: skip

    def __init__(self, connection: Connection, *, is_head_request: bool, loop: asyncio.AbstractEventLoop) -> None:
        self.status = 0
        self.headers: Headers = ()
        self.begun = 0
        self.is_complete = False
        self.is_paused = False
        self.keeps_connection = False
        self.quiet_bytes = 0
        self.until_close = False
        self.keep_s: float | None = None
        self.refused: str | None = None
        self._connection: Connection | None = connection
        self._is_head_request = is_head_request
        self._loop = loop
        self._fields: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []
        self._size = 0
        self._is_interim = False
        self._error: TransportError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._bug: Exception | None = None
        self.take: Callable[[bytes], bool] | None = None

    async def head(self) -> None:
        """Return once `status` and `headers` are there; the connection is dropped when they are not awaited or fail.

        Raises:
            TransportError: No head came.
        """
        try:
            while not self.status:
                if self._error is not None:
                    raise self._error
                await self._wait()
        except BaseException:
            if self._connection is not None:
                self._connection.drop()
            raise

    async def read(self) -> bytes:
        """Return the next bytes of the body as they come; `b""` is the body's proper end.

        Raises:
            TransportError: The connection broke before the end.
        """
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self.is_complete:
                return b""
            await self._wait()
        data = self._arrived()
        self._forget()
        return data

    async def forward(self, take: Callable[[bytes], bool]) -> None:
        """Give every next piece of the body to `take`, until it returns False or there are no more.

        The piece that was not taken and the body's end, or how it broke, are left for `read` to tell.
        """
        if self._chunks or self.is_complete or self._error is not None:
            return
        self.take = take
        try:
            await self._wait()
        finally:
            self.take = None
        if self._bug is not None:
            raise self._bug

    async def aclose(self) -> None:
        """Drop the connection when the body is unfinished; a finished one was given back already. Idempotent."""
        if self._connection is not None:
            self._connection.drop()

    def hand_on(self) -> None:
        """Give what has just arrived to `take`; the connection's to call, once for all that one read brought."""
        if not self._chunks or self.take is None:
            return
        data = self._arrived()
        try:
            is_taken = self.take(data)
        except Exception as error:  # noqa: BLE001 — a bug must reach who forwards, not the loop's log
            is_taken, self._bug = False, error
        if is_taken:
            self._forget()
        else:
            self._chunks = [data]
            self.take = None
            self._wake()

    def _arrived(self) -> bytes:
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def _forget(self) -> None:
        """Make room: what has arrived is taken."""
        self._chunks = []
        self._size = 0
        if self.is_paused:
            self.is_paused = False
            if self._connection is not None:
                self._connection.resume()

    # --- told by the parser -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Another message begins: the first, the one after an interim one, or one that nobody asked for."""
        self.begun += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which is ignored."""
        if not self.status:
            self._fields.append((name, value))  # the connection bounds the bytes of a head

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self.is_complete or self.refused is not None:
            return
        assert self._connection is not None
        status = self._connection.parser_status()
        self._is_interim = 100 <= status < 200
        if self._is_interim:
            return
        if len(self._fields) > MOST_HEADERS or (
            # Counts a body that came along with the head; only then is the head worth an exact count.
            self.quiet_bytes > MOST_HEAD_BYTES
            and sum(len(name) + len(value) for name, value in self._fields) > MOST_HEAD_BYTES
        ):
            self.refused = "the head of the answer is too long"
            return
        connection, codings, is_sized = b"", b"", False
        fields = [(name.lower(), value.rstrip(b" \t")) for name, value in self._fields]
        for name, value in fields:
            if name == b"connection":
                connection += b"," + value
            elif name == b"transfer-encoding":
                codings += b"," + value
            elif name == b"content-length":
                is_sized = True
            elif name == b"keep-alive" and (said := _KEEP_ALIVE_TIMEOUT.search(value)) is not None:
                self.keep_s = float(said[1])
        if codings and codings.lower().strip(b", \t") != b"chunked":
            self.refused = "the answer has a transfer coding that was not asked for"
            return
        self.headers = passed_on(fields, connection)
        self.status = status
        if self._is_head_request:
            self.is_complete = True
        self.until_close = not (is_sized or codings or self.is_complete)
        self._wake()

    def on_body(self, data: bytes) -> None:
        """Bytes of the body."""
        self.quiet_bytes = 0
        if self.is_complete:
            self.begun += 1  # a body after the answer to HEAD
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER_BYTES and not self.is_paused and self._connection is not None:
            self.is_paused = True
            self._connection.pause()
        if self.take is None:
            self._wake()

    def on_message_complete(self) -> None:
        """The message is over; after an interim one the real one follows."""
        if self._is_interim:
            self._is_interim = False
            self.begun = 0
            self._fields.clear()
        elif self.refused is None and not self.is_complete:
            assert self._connection is not None
            self.keeps_connection = self._connection.parser_keeps_alive()
            self.is_complete = True
            self._wake()

    # --- told by the connection -------------------------------------------------------------------

    def detach(self) -> None:
        """The connection is no longer its own."""
        self._connection = None

    def end(self) -> None:
        """The connection closed in order, which is how this body ends."""
        self.is_complete = True
        self._wake()

    def fail(self, kind: Literal["lost", "protocol"], detail: str) -> None:
        """The answer ends here, unfinished."""
        self._error = TransportError(kind, detail, sent=True)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


class Connection(asyncio.Protocol):
    """A connection that carries one exchange at a time.

    Attributes:
        exchanges: How many requests were begun on it.
        is_heard: Whether any byte of the present answer arrived.
        idle_until_s: When it should no longer be used, in the loop's time; set by its pool.
    """

    __slots__ = (
        "_ended", "_free", "_loop", "_parser", "_response", "_transport", "exchanges", "idle_until_s", "is_heard",
    )  # fmt: skip

    def __init__(
        self, loop: asyncio.AbstractEventLoop, free: Callable[[Connection, float | None], None], ended: Ended
    ) -> None:
        """Connect the protocol to its pool.

        Args:
            loop: The running loop.
            free: Told when an exchange ended well, with the seconds the provider keeps idle connections, if it said so.
            ended: Told once when the connection is gone.
        """
        self._loop = loop
        self._free = free
        self._ended = ended
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._response: Http1Response | None = None
        self.exchanges = 0
        self.is_heard = False
        self.idle_until_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def begin(self, head: bytes, body: bytes, *, is_head_request: bool = False) -> Http1Response:
        """Send a request and return the answer, whose head is to be awaited; the connection must be idle and open."""
        assert self._response is None
        assert self._transport is not None
        self.exchanges += 1
        self.is_heard = False
        response = Http1Response(self, is_head_request=is_head_request, loop=self._loop)
        self._response = response
        self._parser = httptools.HttpResponseParser(response)
        if len(body) <= ONE_WRITE_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        return response

    def drop(self) -> None:
        """Close at once; an answer that is under way is lost."""
        if self._response is not None:
            response = self._response
            self._release(response)
            response.fail("lost", "the connection was given up")
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Read no more for now."""
        if self.is_open:
            assert self._transport is not None
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self.is_open:
            assert self._transport is not None
            self._transport.resume_reading()

    def parser_status(self) -> int:
        """Return the status of the head just parsed."""
        assert self._parser is not None
        return int(self._parser.get_status_code())

    def parser_keeps_alive(self) -> bool:
        """Return whether the message just parsed leaves the connection open."""
        assert self._parser is not None
        return bool(self._parser.should_keep_alive())

    # --- told by the loop -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open. Both loops set TCP_NODELAY on their own."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Bytes came; those that nobody waits for end the connection."""
        response, parser = self._response, self._parser
        if response is None or parser is None:
            self.drop()
            return
        self.is_heard = True
        response.quiet_bytes += len(data)
        sound = True
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            response.refused = "the provider switched protocols"
        except httptools.HttpParserError as error:
            sound = False
            if not response.is_complete:
                response.refused = f"not http: {error}"
        if response.take is not None:
            response.hand_on()
        if response.quiet_bytes > MOST_HEAD_BYTES and not response.is_complete:
            response.refused = "the head of the answer is too long"
        if response.refused is not None:
            self._fail("protocol", response.refused)
        elif response.is_complete:
            self._finish(response, sound and response.begun == 1 and response.keeps_connection)

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        response = self._response
        if response is not None:
            if error is None and response.until_close and response.status:
                self._release(response)
                response.end()
            else:
                detail = str(error) if error is not None else "the provider closed the connection"
                self._fail("lost", detail or type(error).__name__)
        self._transport = None
        self._ended(self)

    def _finish(self, response: Http1Response, reusable: bool) -> None:
        assert self._transport is not None
        # A provider that answers before it took the whole request may go on reading, or not.
        reusable = reusable and not self._transport.get_write_buffer_size()
        self._release(response)
        if reusable and self.is_open:
            if response.is_paused:
                self._transport.resume_reading()
            self._free(self, response.keep_s)
        else:
            self.drop()

    def _fail(self, kind: Literal["lost", "protocol"], detail: str) -> None:
        if self._response is not None:
            response = self._response
            self._release(response)
            response.fail(kind, detail)
        self.drop()

    def _release(self, response: Http1Response) -> None:
        response.detach()
        self._response = None
        self._parser = None
