"""The httpx face of our connections: what is not on the hot path speaks httpx and shares the pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx

from runtime.dispatch.pool import Http1Transport
from runtime.dispatch.transport import Outgoing, Response, TransportError


class _Body(httpx.AsyncByteStream):
    """An answer's body; httpx undoes its content coding."""

    def __init__(self, response: Response, request: httpx.Request, read_s: float | None) -> None:
        self._response = response
        self._request = request
        self._read_s = read_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(self._read_s):
                    chunk = await self._response.read()
            except TimeoutError as error:
                raise httpx.ReadTimeout("no bytes came in time", request=self._request) from error
            except TransportError as error:
                raise _mapped(error, self._request) from error
            if not chunk:
                return
            yield chunk

    async def aclose(self) -> None:
        await self._response.aclose()


class PooledTransport(httpx.AsyncBaseTransport):
    """Lets `httpx.AsyncClient(transport=PooledTransport(http1))` use the connections of `Http1Transport`.

    Time-outs: `read` is the wait for the head and for each piece of the body; connecting has the pool's own bound.
    Closing it leaves the pool open: it belongs to whoever made it.
    """

    def __init__(self, pool: Http1Transport) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the answer, its body unread.

        Raises:
            httpx.TransportError: As stock httpx would.
        """
        body = await request.aread()
        read_s = request.extensions.get("timeout", {}).get("read")
        headers = tuple((name.lower(), value) for name, value in request.headers.raw)
        try:
            async with asyncio.timeout(read_s):
                response = await self._pool.send(Outgoing(request.method, str(request.url), headers, body))
        except TimeoutError as error:
            raise httpx.ReadTimeout("no answer came in time", request=request) from error
        except TransportError as error:
            raise _mapped(error, request) from error
        return httpx.Response(response.status, headers=list(response.headers), stream=_Body(response, request, read_s))


def _mapped(error: TransportError, request: httpx.Request) -> httpx.TransportError:
    """Return what stock httpx raises in such a case."""
    match error.kind:
        case "connect":
            return httpx.ConnectError(error.detail, request=request)
        case "protocol":
            return httpx.RemoteProtocolError(error.detail, request=request)
        case _:
            return httpx.ReadError(error.detail, request=request)
