"""What a limit costs that instances share: a renewed lease beside a bare `GET` at the same Redis, in one run.

    python -m benchmarks.store [--calls 4000]

Both go over redis-py's asyncio client to a server that this starts on 127.0.0.1. The calls take turns, so that what
the machine does otherwise hits both alike. "from the lease" is what most requests pay: no call at all.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress

from redis.asyncio import Redis

from router_dsl.plan import Limit
from runtime.limits.window import SLOTS
from runtime.serve.leases import Leases
from runtime.serve.stores.opening import open_store

DAY_S = 86400


def start(folder: str) -> tuple[subprocess.Popen[bytes], int]:
    """Return a Redis of our own, and its port."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        sys.exit("neither redis-server nor valkey-server is on the PATH")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL), port


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[int(share * (len(times) - 1))] * 1e6


async def measure(url: str, calls: int) -> dict[str, list[float]]:
    client = Redis.from_url(url)
    for _ in range(500):
        with suppress(Exception):
            await client.set("k", "v" * 20)
            break
        await asyncio.sleep(0.01)
    leases = Leases(open_store(url, {}, {}), "bench", 5.0, print, closed=True)
    roomy = leases.open(Limit("roomy", None, 10**12, "tokens", DAY_S, ("user",), False), ("anna",))
    # So small that every request is short of its lease, and with all 60 slots of the window in use.
    tight = Limit("tight", None, 99, "requests", DAY_S, ("user",), False)
    accounts = []
    for number in range(calls // 30 + 1):
        account = leases.open(tight, (f"user-{number}",))
        for age in range(SLOTS):
            account.correct(account.advance(time.time()) - age, 1)
        await leases.renew([(account, 1)])
        account.take(1, time.time())
        accounts.append(account)
    found: dict[str, list[float]] = {"bare GET": [], "a lease renewed": [], "from the lease": []}
    for number in range(calls):
        account = accounts[number % len(accounts)]
        began_s = time.perf_counter()
        await client.get("k")
        got_s = time.perf_counter()
        await leases.renew([(account, 1)])
        account.take(1, time.time())
        renewed_s = time.perf_counter()
        found["bare GET"].append(got_s - began_s)
        found["a lease renewed"].append(renewed_s - got_s)
        await leases.renew([(roomy, 1)])  # once in a while it is over
        began_s = time.perf_counter()
        await leases.renew([(roomy, 1)])
        roomy.take(1, time.time())
        found["from the lease"].append(time.perf_counter() - began_s)
    await leases.aclose()
    await client.aclose()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=4000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server, port = start(folder)
        try:
            found = asyncio.run(measure(f"redis://127.0.0.1:{port}", options.calls))
        finally:
            server.kill()
            server.wait()
    bare = found["bare GET"]
    print(f"{options.calls} calls each, {os.cpu_count()} cores\n")
    shares = (0.5, 0.95, 0.99)
    print("| | p50 µs | p95 µs | p99 µs | p50 to a GET's | p95 | p99 |\n|---|--:|--:|--:|--:|--:|--:|")
    for name, times in found.items():
        mine, theirs = [percentile(times, share) for share in shares], [percentile(bare, share) for share in shares]
        ratios = [f"{own / other:.2f}×" for own, other in zip(mine, theirs, strict=True)]
        print(f"| {name} | " + " | ".join([*(f"{value:.0f}" for value in mine), *ratios]) + " |")


if __name__ == "__main__":
    main()
