"""CPU of one exchange with a provider: our transport against stock httpx, interleaved in one run.

    python -m benchmarks.transport [--rounds 5] [--write]

The provider is a process of its own that answers from memory; only this process is measured (user + system). Each round
runs every carrier once, in turn, so that a slow minute of the machine hits all of them; the table shows medians.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import cast

import httptools
import httpx
import uvloop

from runtime.dispatch.httpx_face import PooledTransport
from runtime.dispatch.httpx_transport import HttpxTransport
from runtime.dispatch.pool import Http1Transport
from runtime.dispatch.transport import Outgoing, Transport

IN_FLIGHT = 32
EXCHANGES = 2000
STREAMS = 32
CHUNKS = 100
CHUNK_EVERY_S = 0.004

REQUEST = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 900}]}).encode()
ANSWER = json.dumps({"object": "chat.completion", "choices": [{"message": {"content": "y" * 600}}]}).encode()
UNARY_HEAD = b"\r\n".join(
    [
        b"HTTP/1.1 200 OK",
        b"content-type: application/json",
        b"date: Tue, 24 Nov 2026 03:00:00 GMT",
        b"server: x",
        b"x-request-id: 0123456789",
        b"content-length: %d\r\n\r\n" % len(ANSWER),
    ]
)
CHUNK = b"data: " + json.dumps({"choices": [{"delta": {"content": "z" * 150}}]}).encode() + b"\n\n"
HEADERS = (
    (b"content-type", b"application/json"),
    (b"accept-encoding", b"identity"),
    (b"user-agent", b"pointsman"),
    (b"authorization", b"Bearer 0123456789abcdef"),
)

Exchange = Callable[[str], Awaitable[int]]


# --- the provider ---------------------------------------------------------------------------------


class Answering(asyncio.Protocol):
    """Answers `/unary` at once and `/stream` chunk by chunk."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.wire = cast(asyncio.Transport, transport)
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_message_complete(self) -> None:
        if self.url.startswith(b"/unary"):
            self.wire.write(UNARY_HEAD + ANSWER)
        else:
            self.wire.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            self.chunk(CHUNKS)

    def chunk(self, left: int) -> None:
        if left:
            self.wire.write(b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK))
            asyncio.get_running_loop().call_later(CHUNK_EVERY_S, self.chunk, left - 1)
        else:
            self.wire.write(b"0\r\n\r\n")


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


# --- the carriers ---------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def over(transport: Transport):
    async def exchange(url: str) -> int:
        response = await transport.send(Outgoing("POST", url, HEADERS, REQUEST))
        size = 0
        while chunk := await response.read():
            size += len(chunk)
        await response.aclose()
        return size

    yield exchange
    await transport.aclose()


@contextlib.asynccontextmanager
async def client(transport: httpx.AsyncBaseTransport | None, **options: object):
    async with httpx.AsyncClient(transport=transport, **options) as found:

        async def exchange(url: str) -> int:
            size = 0
            async with found.stream("POST", url, headers=list(HEADERS), content=REQUEST) as response:
                async for chunk in response.aiter_raw():
                    size += len(chunk)
            return size

        yield exchange


CARRIERS = {
    "ours": lambda: over(Http1Transport()),
    "httpx over ours": lambda: client(PooledTransport(Http1Transport())),
    "stock httpx transport (`HttpxTransport`)": lambda: over(HttpxTransport()),
    "stock httpx, tuned (no limits, no environment)": lambda: client(
        None, trust_env=False, timeout=None, limits=httpx.Limits(max_connections=None, max_keepalive_connections=None)
    ),
    "stock httpx, as it comes": lambda: client(None),
}


async def unary(exchange: Exchange, base: str) -> float:
    """Return microseconds of CPU for an exchange."""
    left = EXCHANGES

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            assert await exchange(base + "/unary") == len(ANSWER)

    await asyncio.gather(*(exchange(base + "/unary") for _ in range(IN_FLIGHT)))
    before = time.process_time()
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return (time.process_time() - before) / EXCHANGES * 1e6


async def streamed(exchange: Exchange, base: str) -> float:
    """Return microseconds of CPU for a chunk; the streams run at the same time, their chunks come singly."""
    before = time.process_time()
    sizes = await asyncio.gather(*(exchange(base + "/stream") for _ in range(STREAMS)))
    assert set(sizes) == {CHUNKS * len(CHUNK)}
    return (time.process_time() - before) / (STREAMS * CHUNKS) * 1e6


async def measure(rounds: int, base: str) -> dict[str, tuple[list[float], list[float]]]:
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in CARRIERS}
    for _ in range(rounds):
        for name, carrier in CARRIERS.items():
            async with carrier() as exchange:
                found[name][0].append(await unary(exchange, base))
                found[name][1].append(await streamed(exchange, base))
    return found


def table(found: dict[str, tuple[list[float], list[float]]], rounds: int) -> str:
    rows = [
        "| carrier | µs CPU per exchange | × ours | spread | µs CPU per chunk | × ours | spread |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    ours = [statistics.median(values) for values in found["ours"]]
    for name, both in found.items():
        cells = []
        for values, best in zip(both, ours, strict=True):
            middle = statistics.median(values)
            cells.append(f"{middle:.0f} | {middle / best:.1f} | {min(values):.0f}–{max(values):.0f}")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    machine = f"{platform.machine()}, {os.cpu_count()} shared cores, CPython {platform.python_version()}, uvloop"
    return "\n".join(
        [
            "# CPU of an exchange, by carrier",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}; {machine}. Client on one core, provider on another.",
            f"Medians of {rounds} interleaved rounds, with the least and the most.",
            "",
            f"- Unary: request {len(REQUEST)} bytes, answer {len(ANSWER)}, {IN_FLIGHT} in flight, {EXCHANGES} a round.",
            f"- Streams: {STREAMS} at once, {CHUNKS} chunks of {len(CHUNK)} bytes, {CHUNK_EVERY_S * 1e3:.0f} ms apart.",
            "",
            "`python -m benchmarks.transport --write` renews this page. Compare ratios: the machine is shared.",
            "",
            *rows,
            "",
        ]
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--write", action="store_true", help="renew benchmarks/transport.md")
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = options.parse_args()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if cores:
        os.sched_setaffinity(0, {cores[-1] if asked.serve else cores[0]})
    if asked.serve:
        uvloop.run(serve())
        return
    if cores:
        os.sched_setaffinity(0, cores)
    provider = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.transport", "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    if cores:
        os.sched_setaffinity(0, {cores[0]})
    try:
        assert provider.stdout is not None
        base = f"http://127.0.0.1:{int(provider.stdout.readline())}"
        page = table(uvloop.run(measure(asked.rounds, base)), asked.rounds)
    finally:
        provider.terminate()
        provider.communicate()
    print(page)
    if asked.write:
        pathlib.Path(__file__).with_suffix(".md").write_text(page)


if __name__ == "__main__":
    main()
