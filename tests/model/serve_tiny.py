"""Real generations through a real router: two model servers that nobody here wrote, one of them killed on the way.

    make test-model

Makes a tiny Llama, serves it by two processes of `transformers serve`, routes 120 requests through `pointsman serve`,
whole and streamed, and kills the first server in the middle. Every request must be answered: in full, or, if its
stream had begun when its server died, up to the one error that says so. Needs `.venv-model` (torch, transformers);
takes a minute, everything stays on this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import openai

ROOT = Path(__file__).resolve().parents[2]
MODEL_BIN = ROOT / ".venv-model" / "bin"
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

START_S = 120.0
ALL_S = 240.0
AT_ONCE = 8
REQUESTS = 120
KILL_AFTER = 40

POLICY = """
provider one {{ url "http://127.0.0.1:{one}/v1" }}
provider two {{ url "http://127.0.0.1:{two}/v1" }}
model tiny {{ serve one "{folder}"  serve two "{folder}" }}
policy chat {{ otherwise -> tiny by order  first token 20s  stall 20s  within 60s }}
"""


@dataclass
class Tally:
    """How requests ended."""

    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    chunks: int = 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextlib.asynccontextmanager
async def process(*command: str, environ: Mapping[str, str], out: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program until the block ends."""
    with out.open("wb") as said:
        found = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env={**os.environ, **environ}, stdout=said, stderr=said
        )
        try:
            yield found
        finally:
            if found.returncode is None:
                found.terminate()
                try:
                    await asyncio.wait_for(found.wait(), 15)
                except TimeoutError:
                    found.kill()
                    await found.wait()


async def until_up(url: str, of: asyncio.subprocess.Process) -> None:
    """Wait until a server answers."""

    def asked() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    until_s = time.monotonic() + START_S
    while not await asyncio.to_thread(asked):
        assert of.returncode is None, "it ended before it was up"
        assert time.monotonic() < until_s, f"{url} did not come up"
        await asyncio.sleep(0.2)


async def one(client: openai.AsyncOpenAI, number: int, tally: Tally) -> None:
    """Make a request; every other one is a stream."""
    asked = {
        "model": "tiny",
        "messages": [{"role": "user", "content": f"question {number}"}],
        "max_tokens": 16 + number % 24,
    }
    text = ""
    try:
        if number % 2:
            answer = await client.chat.completions.create(**asked)  # type: ignore[call-overload]
            text, finish = answer.choices[0].message.content, answer.choices[0].finish_reason
            assert answer.usage.completion_tokens > 0
        else:
            finish = None
            usage = None
            stream = await client.chat.completions.create(  # type: ignore[call-overload]
                **asked, stream=True, stream_options={"include_usage": True}
            )
            async for chunk in stream:
                tally.chunks += 1
                usage = chunk.usage or usage
                for choice in chunk.choices:
                    text += choice.delta.content or ""
                    finish = choice.finish_reason or finish
            assert usage is not None
        assert text
        assert finish in ("stop", "length"), finish
        tally.ends["complete"] += 1
    except openai.APIStatusError as error:
        tally.ends["refused"] += 1
        tally.wrong.append(f"{number}: {error}")
    except openai.APIError as error:
        tally.ends["cut"] += 1
        if not text or "broke off" not in str(error):
            tally.wrong.append(f"{number}: {error!r} after {text!r}")
    except AssertionError as error:
        tally.wrong.append(f"{number}: {error!r} after {text!r}")


async def drive(url: str, victim: asyncio.subprocess.Process) -> Tally:
    """Make all requests, a few at a time; the victim is killed on the way."""
    tally = Tally()
    numbers = iter(range(REQUESTS))

    async def worker(client: openai.AsyncOpenAI) -> None:
        for number in numbers:
            if number == KILL_AFTER:
                victim.send_signal(signal.SIGKILL)
            await one(client, number, tally)

    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=90) as client:
        await asyncio.gather(*(worker(client) for _ in range(AT_ONCE)))
    return tally


def judge(tally: Tally, log: Path) -> list[str]:
    """Return what is wrong, nothing if all is well; the log must account for every request."""
    events = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.startswith("{")]
    asked = [event for event in events if event["event"] == "request"]
    wrong = list(tally.wrong)
    if sum(tally.ends.values()) != REQUESTS or len(asked) != REQUESTS:
        wrong.append(f"{REQUESTS} requests, {sum(tally.ends.values())} ends, {len(asked)} lines of the log")
    ends = Counter(event["end"] for event in asked)
    if ends != tally.ends:
        wrong.append(f"clients saw {dict(tally.ends)}, the log says {dict(ends)}")
    served = Counter(event["endpoint"] for event in asked)
    if set(served) != {"tiny@one", "tiny@two"}:
        wrong.append(f"both servers were to answer: {dict(served)}")
    if any(event["completion_tokens"] is None for event in asked if event["end"] == "complete"):
        wrong.append("a complete answer without its usage")
    last = [event["endpoint"] for event in asked[-20:]]
    if set(last) != {"tiny@two"}:
        wrong.append(f"after the kill the other server answers alone: {last}")
    rescued = sum(len(event["attempts"]) > 1 for event in asked)
    print(f"clients: {dict(tally.ends)}  chunks: {tally.chunks}  endpoints: {dict(served)}  rescued: {rescued}")
    return wrong


async def main() -> int:
    if not (MODEL_BIN / "transformers").exists():
        print("there is no .venv-model with transformers; see `make test-model`", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        model = folder / "tiny"
        making = await asyncio.create_subprocess_exec(
            str(MODEL_BIN / "python"), str(ROOT / "tests" / "model" / "make_tiny.py"), str(model),
            env={**os.environ, **OFFLINE},
        )  # fmt: skip
        assert await making.wait() == 0, "the model could not be made"
        ports = [free_port(), free_port()]
        policy = folder / "tiny.route"
        policy.write_text(POLICY.format(one=ports[0], two=ports[1], folder=model), "utf-8")
        async with contextlib.AsyncExitStack() as stack:
            servers = []
            for port in ports:
                command = ("serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", str(model))
                servers.append(
                    await stack.enter_async_context(
                        process(str(MODEL_BIN / "transformers"), *command, environ=OFFLINE, out=folder / f"{port}.log")
                    )
                )
            for port, server in zip(ports, servers, strict=True):
                await until_up(f"http://127.0.0.1:{port}/health", server)
            log = folder / "router.log"
            command = ("-m", "handlers.cli.main", "serve", "--port", "0", str(policy))
            async with process(sys.executable, *command, environ={}, out=log) as router:
                url = await address(log, router)
                tally = await drive(url, servers[0])
            wrong = judge(tally, log)
            for line in wrong:
                print(f"wrong: {line}", file=sys.stderr)
            return 1 if wrong else 0


async def address(log: Path, router: asyncio.subprocess.Process) -> str:
    """Return where the router listens, once it says so."""
    until_s = time.monotonic() + START_S
    while True:
        said = await asyncio.to_thread(log.read_text, "utf-8")
        if (found := re.search(r"(http://127\.0\.0\.1:\d+)/v1\b", said)) is not None:
            await until_up(f"{found[1]}/readyz", router)
            return f"{found[1]}/v1"
        assert router.returncode is None, said
        assert time.monotonic() < until_s
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    sys.exit(asyncio.run(asyncio.wait_for(main(), START_S + ALL_S)))
