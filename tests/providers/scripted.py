"""A provider that does as it is told, over real sockets: one script a request, faults included, and it takes notes.

    async with Provider() as provider:
        provider.then(status(503, retry_after="1"), stream("Hel", "lo"))
        ... POST {provider.url}/chat/completions ...
        provider.received[0].headers["authorization"]

A script is a coroutine function that is given the `Talk`; those below cover the usual faults, tests may add their own.
Scripts wait for events (`gate`, the peer's close), never for time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType

Script = Callable[["Talk"], Awaitable[None]]


@dataclass
class Received:
    """A request as it arrived; header names in lower case, a repeated one joined by commas."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> dict[str, object]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found


@dataclass
class Talk:
    """One request being answered.

    Attributes:
        closed: Set when the peer closes the connection while the script runs.
    """

    request: Received
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    keep: bool = True

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(OSError):
            await self.writer.drain()

    async def head(self, status: int = 200, *headers: tuple[str, str], length: int | None = None) -> None:
        """Send a head; chunked unless a length is given."""
        framing = ("transfer-encoding", "chunked") if length is None else ("content-length", str(length))
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in (*headers, framing))]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n")

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    async def end(self) -> None:
        await self.send(b"0\r\n\r\n")

    async def whole(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        await self.head(status, *headers, length=len(body))
        await self.send(body)

    def fin(self) -> None:
        """Close the connection in order, after what was sent."""
        self.keep = False
        self.writer.close()

    def rst(self) -> None:
        """Reset the connection: what the peer has not read is lost."""
        self.keep = False
        found = self.writer.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def until_closed(self) -> None:
        """Wait for the peer to give up."""
        self.keep = False
        with contextlib.suppress(OSError):
            while await self.reader.read(65536):
                pass
        self.closed.set()


class Provider:
    """A server on 127.0.0.1; without a script left it answers `fallback`.

    Attributes:
        received: Every request, in order.
        talks: Every answer begun, in order.
        connections: How many connections were ever accepted; `open`: how many are open now.
    """

    def __init__(self, fallback: Script | None = None) -> None:
        self.received: list[Received] = []
        self.talks: list[Talk] = []
        self.connections = 0
        self.open = 0
        self.fallback: Script = fallback if fallback is not None else unary("hello")
        self._scripts: deque[Script] = deque()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def then(self, *scripts: Script) -> Provider:
        self._scripts.extend(scripts)
        return self

    async def __aenter__(self) -> Provider:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Refuse connections from now on and drop those that are open."""
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something about this provider holds; it is asked whenever anything changes."""
        async with self._changed:
            await self._changed.wait_for(holds)

    async def until_requests(self, count: int) -> None:
        await self.until(lambda: len(self.received) >= count)

    async def until_all_closed(self) -> None:
        await self.until(lambda: self.open == 0)

    async def _note(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self.open += 1
        number = self.connections
        try:
            while (request := await _read(reader, number)) is not None:
                self.received.append(request)
                talk = Talk(request, reader, writer)
                self.talks.append(talk)
                await self._note()
                await (self._scripts.popleft() if self._scripts else self.fallback)(talk)
                if not talk.keep:
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()  # ends here: an accepting task that is cancelled is reported as an error
        finally:
            self.open -= 1
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            await self._note()


async def _read(reader: asyncio.StreamReader, number: int) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, OSError):
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, path, _ = first.split(" ")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        known = headers.get(name.lower())
        headers[name.lower()] = value.strip() if known is None else f"{known}, {value.strip()}"
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, path, headers, body, number)


# --- what answers look like -----------------------------------------------------------------------

JSON = ("content-type", "application/json")
SSE = ("content-type", "text/event-stream")
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


def answer(text: str | None = "hello", finish: str | None = "stop", usage: object = USAGE) -> bytes:
    """Return a whole chat answer."""
    message = {"role": "assistant", "content": text}
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "upstream",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": usage,
        }
    ).encode()


def event(
    text: str | None = None, finish: str | None = None, usage: object = None, role: str | None = None, index: int = 0
) -> bytes:
    """Return one event of a chat stream."""
    delta: dict[str, object] = {}
    if role is not None:
        delta["role"] = role
    if text is not None:
        delta["content"] = text
    chunk: dict[str, object] = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "upstream",
        "choices": [{"index": index, "delta": delta, "finish_reason": finish}],
    }
    if usage is not None:
        chunk["usage"] = usage
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def usage_event(usage: object = USAGE) -> bytes:
    """Return the usage chunk, which has no choices."""
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "upstream",
        "choices": [],
        "usage": usage,
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def events(*texts: str, finish: str | None = "stop", usage: object = USAGE, done: bool = True) -> list[bytes]:
    """Return the events of a whole stream: role, texts, finish, usage, `[DONE]`."""
    found = [event("", role="assistant"), *(event(text) for text in texts)]
    if finish is not None:
        found.append(event(finish=finish))
    if usage is not None:
        found.append(usage_event(usage))
    if done:
        found.append(DONE)
    return found


# --- scripts --------------------------------------------------------------------------------------


def unary(text: str | None = "hello", finish: str | None = "stop", usage: object = USAGE) -> Script:
    """Answer properly, whole."""
    return whole(200, answer(text, finish, usage), JSON)


def whole(status: int, body: bytes, *headers: tuple[str, str]) -> Script:
    """Answer with exactly this."""

    async def script(talk: Talk) -> None:
        await talk.whole(status, body, *headers)

    return script


def status(code: int, message: str = "no", retry_after: str | None = None, body: bytes | None = None) -> Script:
    """Answer with an error."""
    said = json.dumps({"error": {"message": message, "type": "t", "code": "c"}}).encode() if body is None else body
    extra = () if retry_after is None else (("retry-after", retry_after),)
    return whole(code, said, JSON, *extra)


def stream(*texts: str, finish: str | None = "stop", usage: object = USAGE, done: bool = True) -> Script:
    """Answer properly, as a stream, each event in a chunk of its own."""
    return sse(events(*texts, finish=finish, usage=usage, done=done))


def either(text: str = "hello") -> Script:
    """Answer properly whichever way was asked for."""

    async def script(talk: Talk) -> None:
        await (stream(text) if talk.request.json.get("stream") else unary(text))(talk)

    return script


def sse(found: Iterable[bytes], *headers: tuple[str, str], end: str = "end") -> Script:
    """Send these chunks as a stream and end it by `end` (in order), `fin`, `rst` or `stall` (until the peer closes)."""
    chunks = list(found)

    async def script(talk: Talk) -> None:
        await talk.head(200, SSE, *headers)
        for chunk in chunks:
            await talk.chunk(chunk)
        await _finish(talk, end)

    return script


def sse_halted(first: Iterable[bytes], gate: asyncio.Event, rest: Iterable[bytes], end: str = "end") -> Script:
    """Send a stream in two parts, the second once the gate opens; `end` as in `sse`."""
    parts = (list(first), list(rest))

    async def script(talk: Talk) -> None:
        await talk.head(200, SSE)
        for chunk in parts[0]:
            await talk.chunk(chunk)
        await gate.wait()
        for chunk in parts[1]:
            await talk.chunk(chunk)
        await _finish(talk, end)

    return script


async def _finish(talk: Talk, end: str) -> None:
    match end:
        case "end":
            await talk.end()
        case "fin":
            talk.fin()
        case "rst":
            talk.rst()
        case "stall":
            await talk.until_closed()
        case _:
            raise ValueError(end)


def gated(gates: Iterable[asyncio.Event], chunks: Iterable[bytes]) -> Script:
    """Send a stream, each chunk once its gate opens."""
    steps = list(zip(gates, chunks, strict=True))

    async def script(talk: Talk) -> None:
        await talk.head(200, SSE)
        for gate, chunk in steps:
            await gate.wait()
            await talk.chunk(chunk)
        await talk.end()

    return script


def hang() -> Script:
    """Take the request and never answer."""

    async def script(talk: Talk) -> None:
        await talk.until_closed()

    return script


def hang_after_head() -> Script:
    """Send the head of a stream and nothing more."""
    return sse([], end="stall")


def reset() -> Script:
    """Take the request and reset the connection."""

    async def script(talk: Talk) -> None:
        talk.rst()

    return script


def close() -> Script:
    """Take the request and close the connection without a word."""

    async def script(talk: Talk) -> None:
        talk.fin()

    return script


def raw(data: bytes, end: str = "fin") -> Script:
    """Send these bytes, whatever they are."""

    async def script(talk: Talk) -> None:
        await talk.send(data)
        if end != "end":
            await _finish(talk, end)

    return script


def html(code: int = 200) -> Script:
    """Answer with a page."""
    return whole(code, b"<!doctype html><html><body><h1>Bad Gateway</h1></body></html>", ("content-type", "text/html"))


def after(gate: asyncio.Event, script: Script) -> Script:
    """Wait for a gate, then go on with another script."""

    async def waiting(talk: Talk) -> None:
        await gate.wait()
        await script(talk)

    return waiting
