"""The client's side of a request over ASGI: the answer goes out, its leaving is noticed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Protocol, cast

from runtime.dispatch.transport import Headers
from runtime.serve.visit import Visit

Message = MutableMapping[str, object]
Scope = MutableMapping[str, object]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SERVER = "pointsman.server"
"""Where in the scope a server leaves what it can do beyond ASGI: a `Server`."""


class Server(Protocol):
    """What costs a task or a turn of the loop over ASGI, and next to nothing in the server itself."""

    def watch(self, left: Callable[[], None]) -> Callable[[], object]:
        """Have `left` called once when the client has left, not before this returns; return what ends the watch."""
        ...

    def take_body(self) -> bytes | None:
        """Return the body of the request if all of it is here and none was taken before, else None."""
        ...

    def begin(self, status: int, headers: Headers, lines: bytes) -> None:
        """Have an answer begin with these headers, and these lines of a head that are known to be sound.

        Nothing is sent before the first bytes of its body.
        """
        ...

    def offer(self, data: bytes, *, last: bool = False) -> bool:
        """Send more of a body that has begun, if the client is not behind; else False, and nothing is done."""
        ...


CODE = "pointsman.code"
"""Where in the scope a page leaves the code of its error for the log."""

# A client that is still sending must stop before the connection is closed, or the close resets it and, with some
# systems, takes the answer along. For so long in all, and for so long without a byte, we wait for that.
LINGER_S = 5.0
LINGER_QUIET_S = 0.5


class AsgiClient:
    """Who waits for an answer; implements `runtime.dispatch.record.Client`."""

    def __init__(self, visit: Visit, scope: Scope, receive: Receive, send: Send) -> None:
        self._visit = visit
        self._server = cast("Server | None", scope.pop(SERVER, None))
        self._receive = receive
        self._send = send

    async def start(self, status: int, headers: Headers, endpoint: str, attempts: int, waited_s: float = 0.0) -> None:
        """Send the head of a provider's answer, with the headers that say why it is this one.

        Raises:
            OSError: The client is gone.
        """
        visit = self._visit
        visit.endpoint, visit.attempts, visit.waited_s = endpoint or None, attempts, waited_s
        await self._head(status, headers)

    async def send(self, data: bytes, *, last: bool) -> None:
        """Relay bytes; waits while the client is slow. `last` ends the answer properly.

        Raises:
            OSError: The client is gone.
        """
        self._visit.is_answered = last
        if self._server is None or not self._server.offer(data, last=last):
            await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    def offer(self, data: bytes) -> bool:
        """Relay bytes behind those sent before, if the server takes them without waiting; else False."""
        return self._server is not None and self._server.offer(data)

    def take_body(self) -> bytes | None:
        """Return the body of the request if the server has all of it, else None: then it is to be received."""
        return None if self._server is None else self._server.take_body()

    def watch(self, left: Callable[[], None]) -> Callable[[], object]:
        """Have `left` called once when the client has left, not before this returns; return what ends the watch."""
        if self._server is not None:
            return self._server.watch(left)
        return asyncio.get_running_loop().create_task(self._until_left(left)).cancel

    async def _until_left(self, left: Callable[[], None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        left()

    async def answer(self, status: int, headers: Headers, body: bytes, rest_bytes: int = 0) -> None:
        """Send an answer of our own, whole.

        Args:
            status: HTTP status.
            headers: All but `content-length`.
            body: All of it.
            rest_bytes: Of a request that is still being sent, how much more is taken and thrown away, at most.
        """
        await self._head(status, (*headers, (b"content-length", str(len(body)).encode("ascii"))))
        if rest_bytes:
            await self.send(body, last=False)
            await self._discard(rest_bytes)
            body = b""
        await self.send(body, last=True)

    async def _discard(self, most_bytes: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while most_bytes > 0:
                    async with asyncio.timeout(LINGER_QUIET_S):
                        message = await self._receive()
                    most_bytes -= len(cast("bytes", message.get("body", b"")))
                    if not message.get("more_body", False):  # a client that left sends no more, either
                        return

    async def _head(self, status: int, headers: Headers) -> None:
        told = self._visit.head(status)
        if self._server is not None:
            self._server.begin(status, headers, b"".join([b"%b: %b\r\n" % field for field in told]))
        else:
            await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *told]})
