"""Tells HTTP/2 providers which answers nobody waits for any more: httpcore 1.0.9 only forgets them.

Without that a provider goes on generating for a client that left, and what it sends uses up the window that the other
streams of the connection share. There is no public way to do it; where the private one is gone nothing is done, and
`test_giving_up_resets_the_stream_and_spares_the_others` fails.
"""

from __future__ import annotations

import httpx
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from httpcore import AsyncConnectionPool
from httpcore._async.http2 import AsyncHTTP2Connection


async def reset_forgotten(transport: httpx.AsyncHTTPTransport) -> None:
    """Reset every stream that is open to a provider and that httpcore has no reader for."""
    pool = getattr(transport, "_pool", None)
    if not isinstance(pool, AsyncConnectionPool):
        return
    for connection in pool.connections:
        inner = getattr(connection, "_connection", None)
        if isinstance(inner, AsyncHTTP2Connection):
            await _reset(inner)


async def _reset(connection: AsyncHTTP2Connection) -> None:
    state: H2Connection = connection._h2_state
    read = connection._events
    forgotten = [number for number, stream in state.streams.items() if number not in read and not stream.closed]
    if not forgotten:
        return
    async with connection._write_lock:
        for number in forgotten:
            try:
                state.reset_stream(number, ErrorCodes.CANCEL)
            except ProtocolError:
                continue  # it ended meanwhile
        data = state.data_to_send()
        if data:
            await connection._network_stream.write(data)
