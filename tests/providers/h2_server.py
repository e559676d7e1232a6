"""A provider that speaks HTTP/2 alone, with TLS or without; scripts answer each stream by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import cast

import h2.config
import h2.connection
import h2.events

CERTS = Path(__file__).parents[1] / "transport/certs"


@dataclass
class Stream:
    """One request being answered.

    Attributes:
        headers: Of the request, names in lower case, `:path` and its like included.
        reset: Set when the peer gives the stream up.
    """

    number: int
    headers: dict[str, str]
    line: _Line
    body: bytes = b""
    reset: asyncio.Event = field(default_factory=asyncio.Event)

    def head(self, status: int, content_type: str) -> None:
        self.line.state.send_headers(self.number, [(":status", str(status)), ("content-type", content_type)])
        self.line.flush()

    def data(self, data: bytes, *, last: bool = False) -> None:
        self.line.state.send_data(self.number, data, end_stream=last)
        self.line.flush()

    def abort(self) -> None:
        self.line.state.reset_stream(self.number, error_code=2)
        self.line.flush()


Answer = Callable[[Stream], Awaitable[None]]


class H2Provider:
    """A server on 127.0.0.1.

    Attributes:
        streams: Every request, in order.
        connections: How many were ever accepted.
    """

    def __init__(self, answer: Answer, *, tls: bool = False) -> None:
        self.answer = answer
        self.streams: list[Stream] = []
        self.connections = 0
        self._tls = tls
        self._server: asyncio.Server | None = None
        self.lines: list[_Line] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"https+h2://localhost:{self.port}/v1" if self._tls else f"http+h2://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> H2Provider:
        context = None
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTS / "server.pem")
            context.set_alpn_protocols(["h2"])
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Line(self), "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for line in self.lines:
            line.end()
        await asyncio.gather(*(task for line in self.lines for task in line.tasks), return_exceptions=True)
        await self._server.wait_closed()


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, provider: H2Provider) -> None:
        self._provider = provider
        self._open: dict[int, Stream] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self._provider.connections += 1
        self._provider.lines.append(self)
        self.state.initiate_connection()
        self.flush()

    def flush(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.state.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self.state.receive_data(data):
            match event:
                case h2.events.RequestReceived():
                    stream = Stream(event.stream_id, dict(event.headers), self)
                    self._open[event.stream_id] = stream
                    self._provider.streams.append(stream)
                case h2.events.DataReceived():
                    self._open[event.stream_id].body += event.data
                    self.state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded():
                    self._begin(self._open[event.stream_id])
                case h2.events.StreamReset():
                    self._open[event.stream_id].reset.set()
        self.flush()

    def _begin(self, stream: Stream) -> None:
        task = asyncio.get_running_loop().create_task(self._provider.answer(stream))  # type: ignore[arg-type]
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def close(self) -> None:
        """Say goodbye (GOAWAY) and close."""
        self.state.close_connection()
        self.flush()
        self.transport.close()

    def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        self.transport.abort()


def whole(body: bytes) -> Answer:
    async def answer(stream: Stream) -> None:
        stream.head(200, "application/json")
        stream.data(body, last=True)

    return answer


def sse(chunks: Iterable[bytes], gate: asyncio.Event | None = None, *, cut: bool = False) -> Answer:
    """Send events, the first at once and the rest when the gate opens; `cut`: reset the stream in place of its end."""
    found = list(chunks)

    async def answer(stream: Stream) -> None:
        stream.head(200, "text/event-stream")
        for number, chunk in enumerate(found):
            if number == 1 and gate is not None:
                await gate.wait()
            stream.data(chunk)
        if cut:
            stream.abort()
        else:
            stream.data(b"", last=True)

    return answer


async def hang(stream: Stream) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await stream.reset.wait()
