"""One of two providers is dead: how many requests are answered, how much later, and how many the dead one still gets.

    python -m benchmarks.outage [--peers DIR] [--only NAME,…] [--faults 500,503,429,reset,close,hang]

Every gateway is told of both providers, the dead one first or as its equal, to wait 1 s for an answer, and to ask the
other one when the first fails, as far as it can be told. It is started anew for each fault and gets 80 requests, 20 a
second: first with both well, which is the measure, then with one dead. The dead provider counts what it is sent.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.gateway import Bench, Running, start, stop, upstreams, wait_until_answering
from benchmarks.gateways import Peer, Shelf
from benchmarks.load import NoCompilerError, build

REQUESTS, RATE = 80, 20.0
PATIENCE_S = 1
FAULTS = ("500", "503", "429", "reset", "close", "hang")
CONTROLS = ("uvicorn hello", "uvicorn + stock httpx")


def asked(port: int) -> dict[str, int]:
    """Return what an upstream was sent since it was last asked."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/count")
    told: dict[str, int] = json.loads(connection.getresponse().read())
    connection.close()
    return told


def measure(bench: Bench, peer: Peer, fault: str, dead: int) -> str:
    """Return a cell of the table: answered, milliseconds over healthy at the median, sent to the dead one."""
    gateway = start(peer, bench.folder)
    try:
        if not wait_until_answering(bench, gateway, 60):
            return "did not start"
        well = _ask(bench, gateway, "")
        asked(dead)
        ill = _ask(bench, gateway, f"dead-{fault}")
        sent = asked(dead)["asked_dead"]
        answered = int(ill["answered"] - ill["failed"])
        return f"{answered}, {ill['p50_ms'] - well['p50_ms']:+.1f} ms, {sent}"
    finally:
        stop(gateway.process)


def _ask(bench: Bench, gateway: Running, word: str) -> dict[str, float]:
    seconds = REQUESTS / RATE + 1.0
    return bench.drive(gateway, 32, seconds, RATE, bench.body(gateway.peer, stream=False, word=word), REQUESTS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outage", description=__doc__)
    parser.add_argument("--peers", type=Path, help="folder with the peers' NAME/bin/ and node_modules/")
    parser.add_argument("--only", help="names, comma-separated")
    parser.add_argument("--faults", default=",".join(FAULTS))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pointsman-outage-"))
    try:
        upstream, load = build(folder)
    except NoCompilerError as error:
        print(error, file=sys.stderr)
        return 1
    bench, faults = Bench(folder, load, 0.0), options.faults.split(",")
    with upstreams(upstream, "dead") as (dead, alive):
        peers, left_out = Shelf(folder, (dead, alive), options.peers, PATIENCE_S).found()
        for line in left_out:
            print(line, file=sys.stderr)
        print("| answered of 80, p50 over healthy, sent to the dead one | " + " | ".join(faults) + " |")
        print("|---|" + "---|" * len(faults))
        for peer in peers:
            if peer.name not in CONTROLS and (not options.only or peer.name in options.only.split(",")):
                cells = [measure(bench, peer, fault, dead) for fault in faults]
                print(f"| {peer.name} | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
