"""A served router between scripted providers and a client that writes its own bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import uvloop

from runtime.serve.guarded import Limits
from runtime.serve.settings import Settings
from tests.clients.serving import Served, serving
from tests.providers.scripted import Provider

PATH = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello"}]

Found = TypeVar("Found")


def run(scenario: Callable[[], Awaitable[Found]], limit_s: float = 30.0) -> Found:
    """Run a scenario on the loop that serving uses; one that hangs fails."""

    async def bounded() -> Found:
        async with asyncio.timeout(limit_s):
            return await scenario()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(bounded())


def policy_for(*providers: Provider, options: str = "") -> str:
    """A model served by these providers; a lone one is asked once, with others each is asked once, in order."""
    options = f"{options} retry {len(providers) - 1}"
    declared = "\n".join(f'provider p{n} {{ url "{p.url}" }}' for n, p in enumerate(providers))
    serves = "\n".join(f'  serve p{n} "up-{n}"' for n in range(len(providers)))
    return f"{declared}\nmodel m {{\n{serves}\n}}\npolicy chat {{ otherwise -> m by order {options} }}\n"


@contextlib.asynccontextmanager
async def routed(
    *providers: Provider, options: str = "", limits: Limits | None = None, settings: Settings | None = None
) -> AsyncIterator[Served]:
    """Serve a policy that asks these providers, in this order."""
    async with serving(policy_for(*providers, options=options), {}, settings, limits) as served:
        yield served


def ask(stream: bool = False, path: str = PATH, headers: str = "", **fields: object) -> bytes:
    """Return a chat request as bytes on the wire; `headers` are whole lines."""
    body = json.dumps({"model": "m", "messages": HELLO, "stream": stream, **fields}).encode()
    return f"POST {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Got:
    """An answer as it came: names in lower case, `raw_headers` in order; `whole` when it ended as HTTP wants it."""

    status: int
    headers: dict[str, str]
    raw_headers: list[tuple[str, str]]
    body: bytes = b""
    whole: bool = False
    trailers: list[str] = field(default_factory=list)

    @property
    def error(self) -> dict[str, object]:
        found = json.loads(self.body)["error"]
        assert isinstance(found, dict)
        assert {"message", "type", "param", "code"} <= found.keys()
        return found

    @property
    def events(self) -> list[bytes]:
        return [event for event in self.body.split(b"\n\n") if event]

    @property
    def texts(self) -> str:
        """What a stream said, its error left out."""
        said = ""
        for event in self.events:
            if event.startswith(b"data: {"):
                chunk = json.loads(event[6:])
                said += "".join(c["delta"].get("content") or "" for c in chunk["choices"])
        return said

    @property
    def errors(self) -> list[dict[str, object]]:
        """The in-band errors of a stream."""
        chunks = [json.loads(e[6:]) for e in self.events if e.startswith(b"data: {")]
        return [chunk["error"] for chunk in chunks if chunk.get("error")]


class Wire:
    """A client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> Got:
        """Read the next head; interim ones are answers of their own."""
        raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").split("\r\n")[:-2]
        pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return Got(int(first.split(" ")[1]), dict(pairs), pairs)

    async def got(self, method: str = "POST") -> Got:
        """Read the next answer to its end, or to where it was cut."""
        got = await self.head()
        await self.body(got, method)
        return got

    async def body(self, got: Got, method: str = "POST") -> None:
        if got.status in (204, 304) or got.status < 200 or method == "HEAD":
            got.whole = True
        elif got.headers.get("transfer-encoding") == "chunked":
            await self._chunks(got)
        else:
            length = int(got.headers["content-length"])
            try:
                got.body = await self.reader.readexactly(length)
                got.whole = True
            except asyncio.IncompleteReadError as error:
                got.body = error.partial

    async def _chunks(self, got: Got) -> None:
        while True:
            try:
                size = int((await self.reader.readline()).strip() or b"!", 16)
                data = await self.reader.readexactly(size + 2) if size else b""
            except (ValueError, asyncio.IncompleteReadError, ConnectionError):
                return
            if not size:
                while (line := (await self.reader.readline()).strip()) != b"":
                    got.trailers.append(line.decode("latin-1"))
                got.whole = True
                return
            assert data.endswith(b"\r\n"), "a chunk is as long as it says"
            got.body += data[:-2]

    async def until(self, mark: bytes) -> bytes:
        return await self.reader.readuntil(mark)

    async def is_closed(self) -> bool:
        """Wait for the other side to close; whether it did so without another byte."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    def reset(self) -> None:
        found = self.writer.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


@contextlib.asynccontextmanager
async def dialled(served: Served, receive_buffer_bytes: int | None = None) -> AsyncIterator[Wire]:
    """Open a connection to a router."""
    port = int(served.url.rpartition(":")[2])
    found = socket.socket()
    found.setblocking(False)
    if receive_buffer_bytes is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    await asyncio.get_running_loop().sock_connect(found, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=found, limit=1 << 22)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
