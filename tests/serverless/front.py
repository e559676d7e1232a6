"""A function URL in front of a Runtime API of the tests: HTTP from a client, an event for the function, and back."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import cast

from tests.serverless.events import function_url
from tests.serverless.runtime_api import NULS, Call, RuntimeApi


@contextlib.asynccontextmanager
async def front(api: RuntimeApi) -> AsyncIterator[str]:
    """Serve until the block is left; gives the address."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await answer(api, reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        await server.wait_closed()


async def answer(api: RuntimeApi, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request; the connection is closed with the answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = target.partition("?")
    event = function_url(method, path, None, headers, query)
    event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    call = api.invoke(event)
    sent = 0
    while not call.over.is_set() or sent < len(call.raw):
        call.more.clear()
        if NULS in call.raw and not sent:
            writer.write(_head(call))
            sent = call.raw.index(NULS) + len(NULS)
        if sent and len(call.raw) > sent:
            writer.write(call.raw[sent:])
            sent = len(call.raw)
        await writer.drain()
        if not call.over.is_set():
            await _either(call.more, call.over)
    if not sent:
        # What a function URL says to a function that failed.
        writer.write(b"HTTP/1.1 502 X\r\nconnection: close\r\n\r\n" + json.dumps(call.error).encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()


def _head(call: Call) -> bytes:
    fields = cast("dict[str, str]", call.prelude["headers"])
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {call.prelude['statusCode']} X\r\nconnection: close\r\n{lines}\r\n".encode("latin-1")


async def _either(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
