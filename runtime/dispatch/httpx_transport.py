"""The transport over stock httpx: HTTP/1.1 or HTTP/2, no proxies from the environment, one pool for every provider."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from functools import partial
from typing import cast

import h11
import httpcore
import httpx

from runtime.dispatch.transport import Headers, Outgoing, TransportError

# 10 s: the SDKs give a connection 5 s; a cold TLS handshake across an ocean with one lost SYN takes 4 s.
CONNECT_TIMEOUT_S = 10.0
MAX_CONNECTIONS = 1000
KEEPALIVE_CONNECTIONS = 100
# 30 s: shorter than the 60 s after which common load balancers close an idle connection under our feet.
KEEPALIVE_S = 30.0

LAST_PORT = 65535


class _Trace:
    """What httpcore tells while it carries one request."""

    def __init__(self) -> None:
        self.reused = True
        self.sent = False

    async def __call__(self, name: str, info: Mapping[str, object]) -> None:
        if name == "connection.connect_tcp.started":
            self.reused = False
        elif name in ("http11.send_request_headers.started", "http2.send_request_headers.started"):
            self.sent = True


class HttpxResponse:
    """An answer over httpx; its body is read raw, as the provider framed it."""

    is_complete = False
    """httpx tells it only to who reads on."""

    def __init__(
        self,
        response: httpx.Response,
        owned_pool: httpx.AsyncHTTPTransport | None,
        forgo: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`forgo` is called when the answer is closed before its end."""
        self.status = response.status_code
        self.headers: Headers = tuple((name.lower(), value) for name, value in response.headers.raw)
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        self._stream = stream
        self._chunks = cast(AsyncGenerator[bytes, None], aiter(stream))
        self._owned_pool = owned_pool
        self._forgo = forgo
        self._closed = False

    async def read(self) -> bytes:
        """Return the next bytes of the body as they come; `b""` is the body's proper end.

        Raises:
            TransportError: The connection broke before the end.
        """
        try:
            async for chunk in self._chunks:
                if chunk:
                    return chunk
        except (httpx.TransportError, OSError) as error:
            raise _mapped(error, sent=True) from error
        _distrust_leftovers(self._stream)
        self._forgo = None
        return b""

    async def aclose(self) -> None:
        """Give the connection back, or drop it when the body is unfinished. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._chunks.aclose()
            await self._stream.aclose()
            if self._forgo is not None:
                await self._forgo()
        finally:
            if self._owned_pool is not None:
                await self._owned_pool.aclose()


class HttpxTransport:
    """Carries requests with `httpx`; connections are kept and reused until `aclose`.

    Args:
        verify: TLS settings for `https` providers; the system's authorities when None, loaded on first use.
        http2: Offer HTTP/2 to `https` providers, and speak nothing else to `http` ones; needs the extra `http2`.
    """

    def __init__(self, verify: ssl.SSLContext | None = None, *, http2: bool = False) -> None:
        self._verify = verify
        self._http2 = http2
        self._pools: dict[bool, httpx.AsyncHTTPTransport] = {}

    async def send(self, request: Outgoing) -> HttpxResponse:
        """Send a request and return when the head of the answer has arrived.

        A connection that the provider closed while it lay idle is found out only by using it: when a reused
        connection breaks before any byte of the answer, the request is sent once more on a fresh one.

        Raises:
            TransportError: No head came.
        """
        trace = _Trace()
        try:
            return await self._send_once(request, trace)
        except TransportError as error:
            # A single stream that is reset may have been worked on; a connection that ends tells what it has not taken.
            if error.kind != "lost" or not trace.reused or RESET in error.detail:
                raise
        return await self._send_once(request, _Trace(), fresh_connection=True)

    async def _send_once(self, request: Outgoing, trace: _Trace, *, fresh_connection: bool = False) -> HttpxResponse:
        extensions = {
            "timeout": {"connect": CONNECT_TIMEOUT_S, "read": None, "write": None, "pool": CONNECT_TIMEOUT_S},
            "trace": trace,
        }
        owned: httpx.AsyncHTTPTransport | None = None
        try:
            outgoing = httpx.Request(
                request.method, request.url, headers=list(request.headers), content=request.body, extensions=extensions
            )
            scheme = outgoing.url.scheme
            if (outgoing.url.port or 0) > LAST_PORT:
                raise httpx.InvalidURL("there is no such port")
            owned = self._fresh(scheme) if fresh_connection else None
            pool = owned or self._pool(scheme)
            response = await pool.handle_async_request(outgoing)
        except BaseException as error:
            if trace.sent and self._http2:
                await self._forgo(pool)
            if owned is not None:
                await owned.aclose()
            # UnicodeError: a host name that cannot be written in the domain name system.
            if isinstance(error, httpx.TransportError | httpx.InvalidURL | OSError | UnicodeError):
                raise _mapped(error, sent=trace.sent) from error
            raise
        return HttpxResponse(response, owned, partial(self._forgo, pool) if self._http2 else None)

    async def _forgo(self, pool: httpx.AsyncHTTPTransport) -> None:
        """Tell providers of HTTP/2 which answers are not waited for any more; HTTP/1.1 has closed its connection."""
        from runtime.dispatch.http2_resets import reset_forgotten

        with contextlib.suppress(httpx.TransportError, httpcore.NetworkError, OSError):
            await reset_forgotten(pool)

    def _pool(self, scheme: str) -> httpx.AsyncHTTPTransport:
        tls = scheme == "https"
        pool = self._pools.get(tls)
        if pool is None:
            pool = self._pools[tls] = self._fresh(scheme)
        return pool

    def _fresh(self, scheme: str) -> httpx.AsyncHTTPTransport:
        # Loading the authorities takes 30-50 ms: plain HTTP never pays it, and https pays it once.
        if scheme == "https" and self._verify is None:
            self._verify = ssl.create_default_context()
        return httpx.AsyncHTTPTransport(
            verify=self._verify if scheme == "https" and self._verify is not None else False,
            # Without TLS there is no way to agree on a version.
            http1=scheme == "https" or not self._http2,
            http2=self._http2,
            trust_env=False,
            limits=httpx.Limits(
                max_connections=MAX_CONNECTIONS,
                max_keepalive_connections=KEEPALIVE_CONNECTIONS,
                keepalive_expiry=KEEPALIVE_S,
            ),
        )

    async def aclose(self) -> None:
        """Close every connection."""
        pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            await pool.aclose()


# How h11, h2 and httpcore word a connection that was closed under an answer; other protocol errors are garbage.
RESET = "StreamReset"
CLOSED_EARLY = ("Server disconnected", "peer closed connection", "ConnectionClosed", "ConnectionTerminated", RESET)


def _mapped(error: Exception, *, sent: bool) -> TransportError:
    """Return what httpx raised in our words."""
    detail = str(error) or type(error).__name__
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout():
            return TransportError("connect", detail, sent=False)
        case httpx.LocalProtocolError() | httpx.UnsupportedProtocol() | httpx.InvalidURL() | UnicodeError():
            return TransportError("connect", detail, sent=False)
        case httpx.RemoteProtocolError() if not any(words in detail for words in CLOSED_EARLY):
            return TransportError("protocol", detail, sent=sent)
        case _:
            return TransportError("lost", detail, sent=sent)


def _distrust_leftovers(stream: httpx.AsyncByteStream) -> None:
    """Have the connection closed when bytes followed the end of the answer.

    httpcore 1.0.9 keeps such bytes and takes them for the next request's answer: one client would read another's.
    There is no public way to see them; where the private way is gone the connection is left alone, and the test
    `test_extra_bytes_with_an_answer_never_reach_the_next_request` fails.
    """
    inner: object = stream
    for name in ("_httpcore_stream", "_stream", "_connection", "_h11_state"):
        inner = getattr(inner, name, None)
    if isinstance(inner, h11.Connection) and inner.their_state is h11.DONE and inner.trailing_data[0]:
        inner.send_failed()
