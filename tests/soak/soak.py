"""A router under mixed faults for a long time: memory, sockets, tasks, and every request accounted for.

    python -m tests.soak.soak [--minutes 30] [--clients 16] [--seed 1]

Three providers answer, fail in every way that the tests of dispatch know, hang and break off; clients ask whole and
streamed, with and without signs of life, keep connections or not, and some leave. What each client saw is held against
the router's log, line by line. Prints one JSON object of figures; exits 1 when any is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.dispatch.test_chaos import SAID, answers, faults
from tests.hazards.gateway import Got, Wire, ask
from tests.providers import scripted as say
from tests.providers.scripted import Provider, Script

OPTIONS = "first token 300ms  stall 300ms  within 3s  retry 2  hedge after 150ms at most 10%"
FAULTY = 0.3
WHOLE = (SAID, "hi")
"""What the scripts say, all of it."""
LEAVES = 0.05
KEPT_ALIVE = 0.1

# Ends that the log may tell of what a client saw, where they are not the same word.
FITS = {
    "told in band": ("cut", "exhausted", "refused"),
    "left": ("client gone", "complete", "cut", "exhausted", "refused"),
}

# After the warm-up: what the allocator and the pools have taken by then stays.
MOST_GROWTH = 0.03
SETTLE_S = 20.0


def policy(providers: list[Provider]) -> str:
    declared = "\n".join(f'provider p{n} {{ url "{p.url}" }}' for n, p in enumerate(providers))
    serves = "\n".join(f'  serve p{n} "up-{n}"' for n in range(len(providers)))
    rules = f"eager: when stream -> m by latency {OPTIONS}\n  otherwise -> m by random {OPTIONS}"
    return f"{declared}\nmodel m {{\n{serves}\n}}\npolicy chat {{\n  {rules}\n}}\n"


def anything(rng: random.Random) -> Script:
    """Answer properly most of the time."""
    well = answers()

    async def script(talk: say.Talk) -> None:
        await (faults(rng) if rng.random() < FAULTY else well)(talk)

    return script


def kind(got: Got, stream: bool) -> str:
    """Return how an answer ended; it must have ended in exactly one way."""
    assert got.whole, "an answer without an end"
    if got.status != 200:
        assert got.error["message"]
        return "exhausted" if got.status in (429, 502, 503, 504) else "refused"
    if not stream:
        assert json.loads(got.body)["choices"][0]["message"]["content"] in WHOLE, got.body
        return "complete"
    done = got.body.count(b"[DONE]")
    assert done + len(got.errors) == 1, got.body
    if done:
        assert got.texts in WHOLE, got.body
        return "complete"
    assert any(text.startswith(got.texts) or got.texts.startswith(text) for text in WHOLE), got.body
    return "told in band"


@dataclass
class Books:
    """What clients saw, and what the log says; a request leaves both when they agree.

    Attributes:
        seen: End by request id, of those that the log has not told yet.
        logged: The same from the log, of those that no client has booked yet.
    """

    seen: dict[str, str] = field(default_factory=dict)
    logged: dict[str, str] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def see(self, name: str, end: str) -> None:
        self.ends[end] += 1
        self.seen[name] = end
        self._settle(name)

    def log(self, name: str, end: str) -> None:
        if name in self.logged:
            self.wrong.append(f"{name} is logged twice")
        self.logged[name] = end
        self._settle(name)

    def _settle(self, name: str) -> None:
        if name not in self.seen or name not in self.logged:
            return
        seen, logged = self.seen.pop(name), self.logged.pop(name)
        fits = {
            "told in band": ("cut", "exhausted", "refused"),
            "left": ("client gone", "complete", "cut", "exhausted"),
        }
        if logged not in fits.get(seen, (seen,)):
            self.wrong.append(f"{name}: the client saw `{seen}`, the log says `{logged}`")


class Gateway:
    """The router's process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.port = 0

    async def told(self) -> dict[str, int]:
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        self.process.stdin.write(b"?\n")
        found: dict[str, int] = json.loads(await self.process.stderr.readline())
        return found

    @property
    def rss_kb(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") // 1024

    @property
    def sockets(self) -> int:
        found, folder = 0, f"/proc/{self.process.pid}/fd"
        for number in os.listdir(folder):
            with contextlib.suppress(OSError):
                found += os.readlink(f"{folder}/{number}").startswith("socket:")
        return found


class Soak:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.books = Books()
        self.samples: list[tuple[float, int]] = []
        self.until_s = 0.0

    async def client(self, port: int, number: int) -> None:
        turn = 0
        while time.monotonic() < self.until_s:
            async with _connected(port) as wire:
                for _ in range(self.rng.randrange(1, 20)):
                    turn += 1
                    if time.monotonic() >= self.until_s or not await self._turn(wire, f"r-{number}-{turn}"):
                        break
                    await asyncio.sleep(self.rng.expovariate(20))

    async def _turn(self, wire: Wire, name: str) -> bool:
        """Ask once; False when the connection is done with."""
        stream = self.rng.random() < 0.6
        headers = f"x-request-id: {name}\r\n"
        if stream and self.rng.random() < KEPT_ALIVE:
            headers += "x-pointsman-keep-alive: 1s\r\n"
        wire.send(ask(stream, headers=headers))
        if self.rng.random() < LEAVES:
            await asyncio.sleep(self.rng.random() * 0.4)
            wire.reset()
            self.books.see(name, "left")
            return False
        try:
            async with asyncio.timeout(60):
                self.books.see(name, kind(await wire.got(), stream))
        except (AssertionError, ValueError, KeyError, TimeoutError, EOFError, OSError) as error:
            self.books.wrong.append(f"{name}: {type(error).__name__} {error}"[:300])
            self.books.see(name, "broken")
            return False
        return True

    async def read_log(self, gateway: Gateway) -> None:
        assert gateway.process.stdout is not None
        while line := await gateway.process.stdout.readline():
            event = json.loads(line)
            if event["event"] == "request":
                self.books.log(event["request_id"], event["end"])
            elif event["event"] == "internal_error":
                self.books.wrong.append(str(event)[:600])

    async def watch(self, gateway: Gateway) -> None:
        while True:
            self.samples.append((time.monotonic(), gateway.rss_kb))
            await asyncio.sleep(1.0)

    async def run(self, minutes: float, clients: int) -> dict[str, object]:
        providers = [Provider(anything(self.rng)) for _ in range(3)]
        async with contextlib.AsyncExitStack() as stack:
            for provider in providers:
                await stack.enter_async_context(provider)
            file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "soak.route"
            file.write_text(policy(providers))
            gateway = await _started(file)
            stack.push_async_callback(_ended, gateway)
            reading = asyncio.create_task(self.read_log(gateway))
            before, sockets_before = await gateway.told(), gateway.sockets
            watching = asyncio.create_task(self.watch(gateway))
            self.until_s = time.monotonic() + minutes * 60
            async with asyncio.TaskGroup() as group:
                for number in range(clients):
                    group.create_task(self.client(gateway.port, number))
            watching.cancel()
            for provider in providers:
                await provider.stop()  # what the router holds on to is closed from there
            after, sockets_after = await self._settled(gateway, before, sockets_before)
            reading.cancel()
            return self._report(minutes, before, after, sockets_before, sockets_after)

    async def _settled(self, gateway: Gateway, before: dict[str, int], sockets: int) -> tuple[dict[str, int], int]:
        until_s = time.monotonic() + SETTLE_S
        while True:
            told = await gateway.told()
            is_quiet = told == before and gateway.sockets <= sockets and not self.books.seen
            if is_quiet or time.monotonic() > until_s:
                return told, gateway.sockets
            await asyncio.sleep(0.2)

    def _report(
        self, minutes: float, before: dict[str, int], after: dict[str, int], sockets_before: int, sockets_after: int
    ) -> dict[str, object]:
        quarter = len(self.samples) // 4
        second = statistics.median(rss for _, rss in self.samples[quarter : 2 * quarter])
        last = statistics.median(rss for _, rss in self.samples[3 * quarter :])
        times, sizes = zip(*self.samples[quarter:], strict=True)
        slope_kb_per_min = statistics.linear_regression(times, sizes).slope * 60
        wrong = list(self.books.wrong)
        if self.books.seen or self.books.logged:
            wrong.append(f"{len(self.books.seen)} requests are not in the log, {len(self.books.logged)} only there")
        if after != before or sockets_after > sockets_before:
            wrong.append(
                f"left behind: {before} and {sockets_before} sockets before, {after} and {sockets_after} after"
            )
        if last > second * (1 + MOST_GROWTH):
            wrong.append(f"memory grew from {second:.0f} to {last:.0f} KiB")
        return {
            "minutes": minutes, "requests": sum(self.books.ends.values()), "ends": dict(self.books.ends),
            "rss_kb": {"second quarter": round(second), "last quarter": round(last)},
            "rss_slope_kb_per_min": round(slope_kb_per_min, 1), "tasks": after["tasks"], "sockets": sockets_after,
            "wrong": wrong[:20],
        }  # fmt: skip


@contextlib.asynccontextmanager
async def _connected(port: int):  # type: ignore[no-untyped-def]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _started(file: Path) -> Gateway:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.soak.gateway", str(file), stdin=pipe, stdout=pipe, stderr=pipe, limit=1 << 22
    )
    gateway = Gateway(process)
    assert process.stderr is not None
    gateway.port = int(await process.stderr.readline())
    return gateway


async def _ended(gateway: Gateway) -> None:
    assert gateway.process.stdin is not None
    gateway.process.stdin.close()
    try:
        async with asyncio.timeout(10):
            await gateway.process.wait()
    except TimeoutError:
        gateway.process.kill()
        await gateway.process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # of providers that write to who has left
    told = asyncio.run(Soak(options.seed).run(options.minutes, options.clients))
    print(json.dumps(told, indent=1))
    return 1 if told["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
