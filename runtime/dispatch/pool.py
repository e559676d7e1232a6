"""The transport of the hot path: HTTP/1.1 over connections that are kept, newest first, bounded in every way."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque

from runtime.dispatch.http1 import Connection, Http1Response
from runtime.dispatch.http1_head import Origin, address, head, head_lines
from runtime.dispatch.tls import trusting_context
from runtime.dispatch.transport import Headers, Outgoing, TransportError

# 10 s: the SDKs give a connection 5 s; a cold TLS handshake across an ocean with one lost SYN takes 4 s.
CONNECT_TIMEOUT_S = 10.0

# To one origin. Two file descriptors a stream leave room for three such origins under the usual limit of 8,192.
MOST_CONNECTIONS = 1000
MOST_IDLE = 100

# 30 s: shorter than the 60 s after which common load balancers close an idle connection under our feet.
KEEPALIVE_S = 30.0

# Policies name dozens of addresses, each with headers of its own; whoever asks for more pays 10 µs for each request.
MOST_HEADS = 1024


class Pool:
    """The connections to one origin."""

    def __init__(self, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        self._origin = origin
        self.is_tls = origin.tls
        self._loop = loop
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._connecting = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] | None = None

    def idle(self) -> Connection | None:
        """Return the connection that was used last, if one is idle and still good."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and self._loop.time() < connection.idle_until_s:
                return connection
            connection.drop()
        return None

    async def connect(self, context: ssl.SSLContext | None) -> Connection:
        """Return a new connection.

        Raises:
            TransportError: `connect`.
        """
        at = self._origin
        self._connecting += 1
        try:
            _, connection = await self._loop.create_connection(
                lambda: Connection(self._loop, self._free, self._ended),
                at.host,
                at.port,
                ssl=context,
                server_hostname=at.host if context is not None else None,
            )
        except (OSError, UnicodeError, ssl.SSLError) as error:
            self._invite()
            raise TransportError("connect", str(error) or type(error).__name__, sent=False) from error
        except BaseException:
            self._invite()
            raise
        finally:
            self._connecting -= 1
        if self._closed is not None or not connection.is_open:
            connection.drop()
            raise TransportError("connect", "the connection was closed as soon as it was open", sent=False)
        self._open.add(connection)
        return connection

    async def room(self) -> Connection | None:
        """Wait until a connection may be opened, or return an idle one that came back in the meantime."""
        line_up = self._waiting.append
        while len(self._open) + self._connecting >= MOST_CONNECTIONS:
            turn: asyncio.Future[None] = self._loop.create_future()
            line_up(turn)
            line_up = self._waiting.appendleft  # somebody was quicker: not back to the end of the line
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._invite()  # it was our turn, and now it is the next one's
                raise
            finally:
                if turn in self._waiting:
                    self._waiting.remove(turn)
            if (connection := self.idle()) is not None:
                return connection
        return None

    def drop_idle(self) -> None:
        """Close what lies idle."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.drop()

    async def aclose(self) -> None:
        """Close every connection and wait until they are gone."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._closed = self._loop.create_future()
        for connection in list(self._open):
            connection.drop()
        if self._open:
            await self._closed

    def _free(self, connection: Connection, keep_s: float | None) -> None:
        """Take back a connection whose exchange ended well."""
        # A second early: the provider's clock started when it sent its last byte.
        keep_s = KEEPALIVE_S if keep_s is None else min(KEEPALIVE_S, keep_s - 1.0)
        if self._closed is not None or keep_s <= 0.0:
            connection.drop()
            return
        connection.idle_until_s = self._loop.time() + keep_s
        self._idle.append(connection)
        if len(self._idle) > MOST_IDLE:
            self._idle.pop(0).drop()
        if self._sweep is None:
            self._sweep = self._loop.call_later(KEEPALIVE_S, self._expire)
        self._invite()

    def _expire(self) -> None:
        """Close what lay idle for too long; the only timer, and only while something is idle."""
        now_s = self._loop.time()
        kept = [connection for connection in self._idle if connection.is_open and now_s < connection.idle_until_s]
        for connection in set(self._idle).difference(kept):
            connection.drop()
        self._idle = kept
        self._sweep = self._loop.call_later(KEEPALIVE_S, self._expire) if kept else None

    def _ended(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._invite()
        if self._closed is not None and not self._open and not self._closed.done():
            self._closed.set_result(None)

    def _invite(self) -> None:
        """Let the longest waiting one look again."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return


class Http1Transport:
    """Carries requests over our own HTTP/1.1; no proxies, no redirects, no HTTP/2, no content codings.

    Args:
        verify: TLS settings for `https` providers; the system's authorities when None, loaded on first use.
    """

    def __init__(self, verify: ssl.SSLContext | None = None) -> None:
        self._verify = verify
        self._pools: dict[Origin, Pool] = {}
        self._heads: dict[tuple[str, str, Headers], tuple[Pool, bytes]] = {}

    async def send(self, request: Outgoing) -> Http1Response:
        """Send a request and return when the head of the answer has arrived.

        A connection that the provider closed while it lay idle is found out only by using it: when a reused
        connection breaks before any byte of the answer, the request is sent once more on a fresh one.

        Raises:
            TransportError: No head came.
        """
        pool, lines = self._prepared(request)
        connection = pool.idle()
        if connection is None:
            connection = await self._connect(pool)
        is_head_request = request.method == "HEAD"
        response = connection.begin(head(lines, request), request.body, is_head_request=is_head_request)
        try:
            await response.head()
            return response
        except TransportError as error:
            if error.kind != "lost" or connection.exchanges == 1 or connection.is_heard:
                raise
        # It takes the place of one that is gone, so it need not wait for room.
        fresh = await self._connect(pool, wait=False)
        response = fresh.begin(head(lines, request), request.body, is_head_request=is_head_request)
        await response.head()
        return response

    def drop_idle(self) -> None:
        """Close the connections that nobody uses."""
        for pool in self._pools.values():
            pool.drop_idle()

    async def aclose(self) -> None:
        """Close every connection."""
        pools, self._pools = list(self._pools.values()), {}
        self._heads.clear()
        for pool in pools:
            await pool.aclose()

    async def _connect(self, pool: Pool, *, wait: bool = True) -> Connection:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                if wait and (connection := await pool.room()) is not None:
                    return connection
                return await pool.connect(self._context() if pool.is_tls else None)
        except TimeoutError as error:
            raise TransportError("connect", f"no connection within {CONNECT_TIMEOUT_S:g} s", sent=False) from error

    def _context(self) -> ssl.SSLContext:
        if self._verify is None:
            self._verify = trusting_context()
        return self._verify

    def _prepared(self, request: Outgoing) -> tuple[Pool, bytes]:
        """Return the pool that a request is sent from and what of its head does not depend on the body."""
        key = (request.method, request.url, request.headers)
        known = self._heads.get(key)
        if known is None:
            at = address(request.url)
            lines = head_lines(request.method, request.headers, at)
            pool = self._pools.get(at.origin)
            if pool is None:
                pool = self._pools[at.origin] = Pool(at.origin, asyncio.get_running_loop())
            if len(self._heads) >= MOST_HEADS:
                self._heads.clear()
            known = self._heads[key] = (pool, lines)
        return known
