"""What a request costs in each gateway: CPU, latency, streams, a dead provider; every figure as a ratio in one run.

    python -m benchmarks.gateway [--rounds 5] [--seconds 3] [--peers DIR] [--only NAME,…] [--json FILE]

The gateway runs on one core, the upstream and the load on another. CPU is user and system time of the gateway's whole
process tree (`/proc/*/task/*/schedstat`), divided by what was answered. The gateways take turns, round by round, so
that what the machine does otherwise hits all of them alike; medians are printed, with the lowest and highest round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gateways import Peer, Shelf
from benchmarks.load import NoCompilerError, build

GATEWAY_CORE, LOAD_CORE = 0, 1
CHUNKS, GAP_US = 100, 12_000
IDLE_STREAMS, IDLE_S = 500, 4.0
STREAMED = ("sse", "first", "burst")


@dataclass
class Running:
    """A gateway that was started: its process, its port, and what was measured of it, by figure."""

    peer: Peer
    process: subprocess.Popen[bytes]
    port: int
    figures: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, figure: str, value: float) -> None:
        self.figures.setdefault(figure, []).append(value)

    def listens_on(self) -> int:
        """Return its port, also of one that picked it itself."""
        told = self.peer.port_file
        if told is not None:
            with contextlib.suppress(OSError, ValueError):
                self.port = int(told.read_text())
        return self.port

    def median(self, figure: str) -> float | None:
        values = self.figures.get(figure)
        return statistics.median(values) if values else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tree(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    found_, queue = [], [pid]
    while queue:
        here = queue.pop()
        found_.append(here)
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{here}/task"):
                queue += [int(p) for p in Path(f"/proc/{here}/task/{task}/children").read_text().split()]
    return found_


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process tree has used so far."""
    total = 0
    for process in tree(pid):
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{process}/task"):
                with contextlib.suppress(OSError):
                    total += int(Path(f"/proc/{process}/task/{task}/schedstat").read_text().split()[0])
    return total / 1e9


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process tree, in MiB."""
    pages = 0
    for process in tree(pid):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def pinned(command: list[str], core: int, **rest: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        command, preexec_fn=lambda: os.sched_setaffinity(0, {core}), start_new_session=True, **rest
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(3)
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Bench:
    """One run: the upstreams, the gateways, the bodies."""

    def __init__(self, folder: Path, load: Path, seconds: float) -> None:
        self.folder = folder
        self.load = load
        self.seconds = seconds
        self.bodies: dict[str, Path] = {}

    def body(self, peer: Peer, *, stream: bool, size: int = 1024, word: str = "") -> Path:
        """Return a file with a request for a peer; `word` is for the upstream (`load/upstream.c`)."""
        key = f"{peer.model}-{stream}-{size}-{word}".replace(":", "_")
        if key not in self.bodies:
            content: dict[str, object] = {"model": peer.model, "messages": [{"role": "user", "content": ""}]}
            if stream:
                content["stream"] = True
            rest = size - len(json.dumps(content, separators=(",", ":")))
            words = (f"{word} the quick brown fox jumps over the lazy dog " * (rest // 40 + 1))[:rest]
            content["messages"] = [{"role": "user", "content": words}]
            self.bodies[key] = self.folder / f"{key}.json"
            self.bodies[key].write_text(json.dumps(content, separators=(",", ":")))
        return self.bodies[key]

    def begin(
        self, gateway: Running, connections: int, seconds: float, rate: float, body: Path, most: int = 0
    ) -> subprocess.Popen[bytes]:
        """Start the load generator against a gateway."""
        peer = gateway.peer
        arguments = [
            str(self.load), str(gateway.port), str(connections), str(seconds), str(rate), str(body), str(most),
            peer.path, "\r\n".join(peer.headers),
        ]  # fmt: skip
        return pinned(arguments, LOAD_CORE, stdout=subprocess.PIPE)

    def end(self, gateway: Running, started: subprocess.Popen[bytes], patience_s: float) -> dict[str, float]:
        """Wait for it and return what it prints; what went wrong is noted."""
        out, _ = started.communicate(timeout=patience_s)
        told: dict[str, float] = json.loads(out)
        if told["failed"] or told["broken"]:
            gateway.notes.append(f"{told['failed']} failed, {told['broken']} broken of {told['answered']}")
        return told

    def drive(
        self, gateway: Running, connections: int, seconds: float, rate: float, body: Path, most: int = 0
    ) -> dict[str, float]:
        """Run the load generator against a gateway and return what it prints."""
        return self.end(gateway, self.begin(gateway, connections, seconds, rate, body, most), seconds + 60)

    def measure(self, gateway: Running, figure: str) -> None:
        if figure in STREAMED and not gateway.peer.streams:
            return
        pid = gateway.process.pid
        before = cpu_s(pid)
        match figure:
            case "unary":
                told = self.drive(gateway, 32, self.seconds, 0, self.body(gateway.peer, stream=False))
                gateway.note("unary_us", (cpu_s(pid) - before) * 1e6 / max(told["answered"], 1))
            case "body200k":
                told = self.drive(gateway, 32, self.seconds, 0, self.body(gateway.peer, stream=False, size=200_000))
                gateway.note("body200k_us", (cpu_s(pid) - before) * 1e6 / max(told["answered"], 1))
            case "rate":
                told = self.drive(gateway, 32, self.seconds, 1000, self.body(gateway.peer, stream=False))
                gateway.note("rate_p50_ms", told["p50_ms"])
                gateway.note("rate_p99_ms", told["p99_ms"])
            case "sse":
                told = self.drive(gateway, 40, self.seconds, 0, self.body(gateway.peer, stream=True))
                gateway.note("sse_chunk_us", (cpu_s(pid) - before) * 1e6 / max(told["events"], 1))
            case "first":
                body = self.body(gateway.peer, stream=True, word="bench-short")
                gateway.note("first_p50_ms", self.drive(gateway, 32, self.seconds, 50, body)["first_p50_ms"])
            case "burst":
                body = self.body(gateway.peer, stream=True, word="bench-burst")
                told = self.drive(gateway, 50, self.seconds, 0, body)
                gateway.note("burst_kchunks_s", told["events"] / told["seconds"] / 1000)

    def idle(self, gateway: Running) -> None:
        """Note what streams cost that have begun and wait for more; once a process, which keeps the memory."""
        pid, body = gateway.process.pid, self.body(gateway.peer, stream=True, word="bench-idle")
        # The first streams load what all share.
        self.drive(gateway, 20, 0.5, 0, self.body(gateway.peer, stream=True, word="bench-short"))
        before_mb = rss_mb(pid)
        started = self.begin(gateway, IDLE_STREAMS, 1.0, 0, body, IDLE_STREAMS)
        time.sleep(IDLE_S)
        gateway.note("idle_stream_kb", (rss_mb(pid) - before_mb) * 1024 / IDLE_STREAMS)
        told = self.end(gateway, started, 60)
        if told["answered"] != IDLE_STREAMS:
            gateway.notes.append(f"{told['answered']} of {IDLE_STREAMS} idle streams were answered")


def wait_until_answering(bench: Bench, gateway: Running, patience_s: float) -> bool:
    """Ask until the gateway answers 200; False when it does not within `patience_s`."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until and gateway.process.poll() is None:
        address = ("127.0.0.1", gateway.listens_on())
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
            told = bench.drive(gateway, 1, 0.2, 0, bench.body(gateway.peer, stream=False), 1)
            gateway.notes.clear()
            if told["answered"] and not told["failed"]:
                return True
        time.sleep(0.2)
    return False


@contextlib.contextmanager
def upstreams(program: Path, *more: str) -> Iterator[tuple[int, int]]:
    """Run two providers, the first with these further arguments; yield their ports."""
    ports = free_port(), free_port()
    usual = [str(CHUNKS), str(GAP_US), "200"]
    started = [
        pinned([str(program), str(ports[0]), *usual, *more], LOAD_CORE),
        pinned([str(program), str(ports[1]), *usual], LOAD_CORE),
    ]
    try:
        yield ports
    finally:
        for process in started:
            stop(process)


def start(peer: Peer, folder: Path) -> Running:
    port = free_port()
    environ = {**os.environ, "BENCH_KEY": "k", "PYTHONDONTWRITEBYTECODE": "", **peer.environ}
    log = (folder / f"{peer.name.replace(' ', '-')}.log").open("wb")
    process = pinned(peer.command(port), GATEWAY_CORE, env=environ, stdout=log, stderr=log, cwd=str(Path.cwd()))
    return Running(peer, process, port)


def run(options: argparse.Namespace) -> list[Running]:
    folder = Path(tempfile.mkdtemp(prefix="pointsman-bench-"))
    upstream, load = build(folder)
    bench = Bench(folder, load, options.seconds)
    with upstreams(upstream) as ports:
        shelf = Shelf(folder, ports[:1], options.peers)
        peers, left_out = shelf.found()
        peers.insert(1, shelf.keyed())
        for line in left_out:
            print(line, file=sys.stderr)
        if options.only:
            peers = [peer for peer in peers if peer.name in options.only.split(",")]
        gateways = []
        figures = options.figures.split(",")
        try:
            for peer in peers:
                gateway = start(peer, folder)
                gateways.append(gateway)
                if not wait_until_answering(bench, gateway, 60):
                    print(f"{peer.name}: did not answer, left out (see {folder})", file=sys.stderr)
                    gateways.remove(gateway)
                    stop(gateway.process)
                    continue
                gateway.note("rss_mb", rss_mb(gateway.process.pid))
                if "idle" in figures and peer.streams:
                    bench.idle(gateway)
            for number in range(options.rounds):
                for figure in figures:
                    for gateway in gateways:
                        bench.measure(gateway, figure)  # what it does not know is measured once, above
                print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
        finally:
            for gateway in gateways:
                stop(gateway.process)
    return gateways


FIGURES = (
    "unary_us", "sse_chunk_us", "body200k_us", "burst_kchunks_s", "rate_p50_ms", "rate_p99_ms", "first_p50_ms",
    "rss_mb", "idle_stream_kb",
)  # fmt: skip
ADDED = ("rate_p50_ms", "rate_p99_ms", "first_p50_ms")
"""Of these what counts is what is added to nginx's."""


def table(gateways: list[Running]) -> str:
    """Return the medians as a Markdown table, with the ratio to nginx where it was measured."""
    floor = next((g for g in gateways if g.peer.name.startswith("nginx")), None)
    lines = ["| | " + " | ".join(FIGURES) + " |", "|---|" + "--:|" * len(FIGURES)]
    for gateway in gateways:
        cells = []
        for figure in FIGURES:
            value, least = gateway.median(figure), floor.median(figure) if floor else None
            if value is None:
                cells.append("–")
                continue
            low, high = min(gateway.figures[figure]), max(gateway.figures[figure])
            ratio = ""
            if least and gateway is not floor:
                ratio = f" (+{value - least:.2f})" if figure in ADDED else f" ({value / least:.1f}×)"
            cells.append(f"{value:.3g}{ratio} [{low:.3g}…{high:.3g}]")
        lines.append(f"| {gateway.peer.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of load for each figure and gateway")
    parser.add_argument("--peers", type=Path, help="folder with the peers' NAME/bin/ and node_modules/")
    parser.add_argument("--only", help="names, comma-separated")
    parser.add_argument("--figures", default="unary,sse,body200k,rate,first,burst,idle")
    parser.add_argument("--json", type=Path, help="write every round's figures here")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    try:
        gateways = run(options)
    except NoCompilerError as error:
        print(error, file=sys.stderr)
        return 1
    print(table(gateways))
    for gateway in gateways:
        for note in dict.fromkeys(gateway.notes):
            print(f"{gateway.peer.name}: {note}")
    if options.json:
        options.json.write_text(json.dumps({g.peer.name: g.figures for g in gateways}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
