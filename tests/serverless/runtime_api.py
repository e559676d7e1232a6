"""Lambda's side of the Runtime API, for tests: hands out invocations, takes answers as they come, misbehaves."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from dataclasses import dataclass, field

NULS = b"\0" * 8


@dataclass
class Call:
    """One invocation, and what has come back of it."""

    id: str
    event: bytes
    deadline_ms: int
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    trailers: dict[str, str] = field(default_factory=dict)
    error: dict[str, object] | None = None
    is_whole: bool = False
    is_cut: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    ended_s: float = 0.0

    @property
    def raw(self) -> bytes:
        return b"".join(data for _, data in self.pieces)

    @property
    def is_streamed(self) -> bool:
        return self.headers.get("lambda-runtime-function-response-mode") == "streaming"

    @property
    def prelude(self) -> dict[str, object]:
        found = json.loads(self.raw.partition(NULS)[0])
        assert isinstance(found, dict)
        return found

    @property
    def body(self) -> bytes:
        """What the client of a streamed answer has read."""
        return self.raw.partition(NULS)[2]

    @property
    def document(self) -> dict[str, object]:
        """A whole answer."""
        assert self.is_whole
        found = json.loads(self.raw)
        assert isinstance(found, dict)
        return found

    @property
    def fault(self) -> str | None:
        """The type of the error in the trailers or of the error reported instead of an answer."""
        if self.error is not None:
            return str(self.headers["lambda-runtime-function-error-type"])
        return self.trailers.get("lambda-runtime-function-error-type")

    @property
    def fault_body(self) -> dict[str, object]:
        found = json.loads(base64.b64decode(self.trailers["lambda-runtime-function-error-body"]))
        assert isinstance(found, dict)
        return found

    async def until(self, data: bytes) -> None:
        """Wait until the client has read this."""
        while data not in self.raw:
            assert not self.over.is_set(), self.raw
            self.more.clear()
            await self.more.wait()


class RuntimeApi:
    """A Runtime API on a free port.

    Attributes:
        address: For `AWS_LAMBDA_RUNTIME_API`.
        connections: How many were ever accepted.
        nexts: How often an invocation was asked for.
        first_next_s: When that was first.
        init_error, restore_error: What was reported instead of serving.
        answer_status: What answers are acknowledged with.
        cut_after: Bytes of a streamed answer after which its connection is reset.
        gate: While it is not set, answers that are streamed are not read.
        acknowledge: While it is not set, answers are taken and not acknowledged.
    """

    def __init__(self) -> None:
        self.address = ""
        self.connections = 0
        self.nexts = 0
        self.first_next_s = 0.0
        self.init_error: dict[str, object] | None = None
        self.restore_error: dict[str, object] | None = None
        self.answer_status = 202
        self.cut_after: int | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.acknowledge = asyncio.Event()
        self.acknowledge.set()
        self.restored = asyncio.Event()
        self.asked_restore = asyncio.Event()
        self.failed = asyncio.Event()
        self.asked = asyncio.Event()
        self._calls: dict[str, Call] = {}
        self._queue: asyncio.Queue[Call] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> RuntimeApi:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    async def end(self) -> None:
        """Be gone: every connection is closed, none is taken."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks)
        await self._server.wait_closed()

    def invoke(self, event: object, *, timeout_s: float = 30.0, **headers: str) -> Call:
        """Hand out an invocation; keyword arguments are further headers, `_` for `-`."""
        raw = event if isinstance(event, bytes) else json.dumps(event).encode()
        call = Call(f"id-{len(self._calls)}", raw, int((time.time() + timeout_s) * 1000))
        self._calls[call.id] = call
        self._extra = {name.replace("_", "-"): value for name, value in headers.items()}
        self._queue.put_nowait(call)
        return call

    async def until_asked(self, times: int = 1) -> None:
        """Wait until an invocation was asked for so often."""
        while self.nexts < times:
            self.asked.clear()
            await self.asked.wait()

    # --- the wire ---------------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while line := await reader.readline():
                method, path, _ = line.decode().split(" ")
                headers = await _fields(reader)
                await self._serve(method, path.removeprefix("/2018-06-01/runtime"), headers, reader, writer)
        writer.transport.abort()

    async def _serve(
        self, method: str, path: str, headers: dict[str, str], reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        match method, path.strip("/").split("/"):
            case "GET", ["invocation", "next"]:
                self.first_next_s = self.first_next_s or time.perf_counter()
                self.nexts += 1
                self.asked.set()
                await self._hand_out(writer)
            case "GET", ["restore", "next"]:
                self.asked_restore.set()
                await self.restored.wait()
                _reply(writer, 200)
            case "POST", ["invocation", call, "response"]:
                await self._take(self._calls[call], headers, reader, writer)
            case "POST", ["invocation", call, "error"]:
                found = self._calls[call]
                found.headers, found.error = headers, json.loads(await _sized(headers, reader))
                found.ended_s = time.perf_counter()
                _reply(writer, 202)
                found.over.set()
            case "POST", [("init" | "restore") as what, "error"]:
                error = json.loads(await _sized(headers, reader))
                setattr(self, f"{what}_error", error)
                self.failed.set()
                _reply(writer, 202)
            case _:
                _reply(writer, 404)

    async def _hand_out(self, writer: asyncio.StreamWriter) -> None:
        call = await self._queue.get()
        told = {
            "Lambda-Runtime-Aws-Request-Id": call.id,
            "Lambda-Runtime-Deadline-Ms": str(call.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:123456789012:function:pointsman",
            **self._extra,
        }
        _reply(writer, 200, told, call.event)

    async def _take(
        self, call: Call, headers: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        call.headers = headers
        if self.answer_status != 202 and headers.get("transfer-encoding") == "chunked":
            _reply(writer, self.answer_status, {"connection": "close"}, b'{"errorType":"refused"}')
            await writer.drain()
        if headers.get("transfer-encoding") == "chunked":
            await self._streamed(call, reader, writer)
        else:
            call.pieces.append((time.perf_counter(), await _sized(headers, reader)))
            call.is_whole = True
        call.ended_s = time.perf_counter()
        await self.acknowledge.wait()
        _reply(writer, self.answer_status)
        call.over.set()

    async def _streamed(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while size := int(await reader.readline(), 16):
                await self.gate.wait()
                call.pieces.append((time.perf_counter(), await reader.readexactly(size)))
                assert await reader.readexactly(2) == b"\r\n"
                call.more.set()
                if self.cut_after is not None and len(call.raw) >= self.cut_after:
                    writer.transport.abort()
                    raise ConnectionAbortedError
            call.trailers = await _fields(reader)
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            call.is_cut = True
            call.over.set()
            raise ConnectionAbortedError from None
        finally:
            call.more.set()


async def _fields(reader: asyncio.StreamReader) -> dict[str, str]:
    found: dict[str, str] = {}
    while (line := (await reader.readline()).strip()) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        found[name.lower()] = value.strip()
    return found


async def _sized(headers: dict[str, str], reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int(headers["content-length"]))


def _reply(writer: asyncio.StreamWriter, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
    fields = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{fields}\r\n".encode() + body)
