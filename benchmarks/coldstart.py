"""AWS Lambda: from exec to the first `/next`, the lag of each chunk through the runtime loop, the size of the zip.

    python -m benchmarks.coldstart [--rounds 9] [--chunks 600]

The function runs as packaged (`deploy/lambda/package.py --here`: bytecode, no site-packages) with a plan of 1,000
rules and an HTTP provider, against the Runtime API of the tests. Beside it, started in turn in each round, a hello of
uvicorn, Starlette and httpx: from exec to its first answer, asked every millisecond. The lag of a chunk is the time
from a provider's write to its arrival at the Runtime API: through our HTTP client, the router and the loop; both ends
are in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.families import tenants
from router_dsl.compile.build import build
from router_dsl.plan import encode
from tests.providers import scripted
from tests.providers.scripted import Talk
from tests.serverless.events import function_url
from tests.serverless.process import POLICY, plan
from tests.serverless.runtime_api import RuntimeApi

ROOT = Path(__file__).resolve().parents[1]
RULES = 1_000

START_BAR_MS, RATIO_BAR, LAG_BAR_MS, ZIP_BAR_MB = 250.0, 0.6, 5.0, 3.0

# Between chunks: 125 tokens a second, faster than most models.
PACE_S = 0.008

HELLO = """
import os
import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

client = httpx.AsyncClient()

async def hello(request):
    return PlainTextResponse("hello")

uvicorn.run(Starlette(routes=[Route("/", hello)]), port=int(os.environ["PORT"]), log_level="warning", access_log=False)
"""


def package(folder: Path, policy: Path, *more: str) -> Path:
    output = folder / "pointsman.zip"
    command = [sys.executable, ROOT / "deploy" / "lambda" / "package.py", policy, "-o", output, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return output


@contextlib.asynccontextmanager
async def function(api: RuntimeApi, task: Path, policy: Path) -> AsyncIterator[float]:
    """Start the packaged function; gives when."""
    environ = {
        "PATH": "/usr/bin:/bin", "LAMBDA_TASK_ROOT": str(task), "POINTSMAN_POLICY": str(policy),
        "POINTSMAN_ANONYMOUS": "1", "AWS_LAMBDA_RUNTIME_API": api.address,
    }  # fmt: skip
    began_s = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        task / "bootstrap", sys.executable, env=environ, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield began_s
    finally:
        process.kill()
        await process.wait()


async def first_next_ms(task: Path, policy: Path) -> float:
    async with RuntimeApi() as api, function(api, task, policy) as began_s:
        await asyncio.wait_for(api.until_asked(), 30)
        return (api.first_next_s - began_s) * 1000


async def first_hello_ms(program: Path) -> float:
    async with RuntimeApi() as free:
        port = free.address.partition(":")[2]
    began_s = time.perf_counter()
    process = await asyncio.create_subprocess_exec(sys.executable, program, env={**os.environ, "PORT": port})
    try:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
                writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                answer = await reader.read()
                writer.close()
                if answer.startswith(b"HTTP/1.1 200"):
                    return (time.perf_counter() - began_s) * 1000
            await asyncio.sleep(0.001)
    finally:
        process.kill()
        await process.wait()


async def lags_ms(task: Path, folder: Path, chunks: int) -> list[float]:
    """Return the lag of each chunk of one stream."""

    async def timed(talk: Talk) -> None:
        await talk.head(200, ("content-type", "text/event-stream"))
        for _ in range(chunks):
            await asyncio.sleep(PACE_S)
            await talk.chunk(scripted.event(f"t{time.perf_counter():.6f}"))
        for event in scripted.events("end"):
            await talk.chunk(event)
        await talk.end()

    async with scripted.Provider() as provider, RuntimeApi() as api:
        policy = re.sub(r"provider one .*", f'provider one {{ url "{provider.url}" }}', POLICY)
        provider.then(timed)
        async with function(api, task, plan(folder, policy)):
            body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "stream": True}
            call = api.invoke(function_url(body=body), timeout_s=300)
            await call.over.wait()
        assert call.body.endswith(b"data: [DONE]\n\n"), call.raw[-300:]
        # Several that arrive together are told by the oldest of them.
        found = [(at_s, re.search(rb'"t(\d+\.\d+)"', data)) for at_s, data in call.pieces]
        return [(at_s - float(said[1])) * 1000 for at_s, said in found if said]


def verdict(value: float, bar: float) -> str:
    return f"bar {bar:g}: {'met' if value <= bar else 'MISSED'}"


async def measure(options: argparse.Namespace, folder: Path) -> None:
    policy = folder / "thousand.plan"
    program, _ = tenants(RULES)
    policy.write_bytes(encode(build(program, "ab" * 32)))
    (folder / "here").mkdir()
    package(folder / "here", policy, "--here")
    task = folder / "here" / "task"
    hello = folder / "hello.py"
    hello.write_text(HELLO)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(options.rounds + 1):
        ours.append(await first_next_ms(task, policy))
        theirs.append(await first_hello_ms(hello))
    del ours[0], theirs[0]  # files into the page cache
    median, other = statistics.median(ours), statistics.median(theirs)
    print(
        f"exec to first /next, {RULES} rules: {median:.0f} ms (least {min(ours):.0f})  {verdict(median, START_BAR_MS)}"
    )
    print(f"uvicorn + Starlette + httpx, first hello: {other:.0f} ms (least {min(theirs):.0f})")
    print(f"ratio: {median / other:.2f}  {verdict(median / other, RATIO_BAR)}")
    # This process is both ends; its collector's pauses are not the router's.
    gc.disable()
    streams = [sorted(await lags_ms(task, folder, options.chunks // 3)) for _ in range(3)]
    gc.enable()
    p50 = statistics.median(lag for stream in streams for lag in stream)
    worst = [stream[int(len(stream) * 0.99)] for stream in streams]
    p99 = statistics.median(worst)
    told = ", ".join(f"{each:.2f}" for each in worst)
    print(f"lag of a chunk, three streams: p50 {p50:.2f} ms, p99 {told}  {verdict(p99, LAG_BAR_MS)}")
    (folder / "arm").mkdir()
    size = package(folder / "arm", policy).stat().st_size / 1e6
    print(f"zip, arm64: {size:.2f} MB  {verdict(size, ZIP_BAR_MB)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--chunks", type=int, default=900)
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(measure(parser.parse_args(), Path(name)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
