"""How long a decision and a load take: `python -m benchmarks.decision [--quick] [--no-peers]`.

Decisions are timed one request at a time, in short bursts, round after round, and the fastest burst of a request
counts: what another process takes is not the engine's. Engines that are compared take turns, burst by burst. The
yardstick (a call with one `dict.get` and one `&`) says how fast the machine was. Times are of the function from facts
that are already there to the rule; finding facts out is measured elsewhere.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, median
from time import perf_counter

from benchmarks.families import FAMILIES
from benchmarks.peers import Decide, peers
from router_dsl import interpret
from router_dsl.compile.build import build
from router_dsl.plan import decode, encode
from router_dsl.strategies import Facts
from runtime.decision import engine

DECISION_BARS_US = {("tenants", 100): 1.5, ("tenants", 1_000): 2.0, ("tenants", 100_000): 3.0}
ADVERSARIAL_BAR_US = 10.0
LOAD_BARS_MS = {100: 1.0, 10_000: 5.0, 100_000: 25.0}
WORST_TO_MEAN_BAR = 3.0
PEER_BARS = {1_000: 100.0}

SIZES = {
    "tenants": (10, 100, 1_000, 10_000, 100_000),
    "wildcards": (100, 1_000, 10_000),
    "ranges": (100, 1_000, 10_000),
}
MODULES = {"cel-expr-python": "cel_expr_python", "common-expression-language": "cel", "rule-engine": "rule_engine"}

_TABLE = {"a": 5}
_MASK = 2**90 + 5


def yardstick(key: str) -> int:
    return _TABLE.get(key, 0) & _MASK


@dataclass(frozen=True, slots=True)
class Timed:
    """Microseconds a request, sorted."""

    times_us: list[float]
    yardstick_us: float

    @property
    def p50(self) -> float:
        return median(self.times_us)

    @property
    def mean(self) -> float:
        return fmean(self.times_us)

    @property
    def worst(self) -> float:
        return self.times_us[-1]


def burst(function: object, argument: object, loops: int) -> float:
    call = function
    start = perf_counter()
    for _ in range(loops):
        call(argument)  # type: ignore[operator]
    return (perf_counter() - start) / loops * 1e6


def timed(decides: list[tuple[Decide, int]], requests: list[Facts], rounds: int) -> list[Timed]:
    """Return the fastest burst of each request for several engines that take turns, each with its calls a burst."""
    best = [[float("inf")] * len(requests) for _ in decides]
    yard = float("inf")
    for _ in range(rounds):
        yard = min(yard, burst(yardstick, "a", 200))
        for number, request in enumerate(requests):
            for times, (decide, calls) in zip(best, decides, strict=True):
                times[number] = min(times[number], burst(decide, request, calls))
    return [Timed(sorted(times), yard) for times in best]


def load_ms(data: bytes, times: int) -> float:
    """Return the fastest of several loads: bytes to functions, with every digest checked."""
    best = float("inf")
    for _ in range(times):
        start = perf_counter()
        engine.load(decode(data))
        best = min(best, perf_counter() - start)
    return best * 1e3


def verdict(value: float, bar: float | None) -> str:
    if bar is None:
        return ""
    return f" (bar {bar:g}: {'met' if value <= bar else 'MISSED'})"


def family(name: str, rules: int, quick: bool) -> None:
    """Measure one family at one size and print its line."""
    program, requests = FAMILIES[name](rules)
    start = perf_counter()
    data = encode(build(program, "0" * 64))
    build_s = perf_counter() - start
    decide = engine.load(decode(data))["main"]
    checked = requests[: 20 if rules > 1_000 else len(requests)]
    assert all(decide(request) == interpret.decide(program.policies[0], request) for request in checked)
    (found,) = timed([(decide, 20)], requests[: 100 if quick else 300], 10 if quick else 60)
    loaded = load_ms(data, 5 if quick else 15)
    adversarial = ADVERSARIAL_BAR_US if name != "tenants" and rules == 10_000 else None
    ratio = found.worst / found.mean
    print(
        f"| {name} | {rules:,} | {found.p50:.2f}{verdict(found.p50, DECISION_BARS_US.get((name, rules), adversarial))} "
        f"| {found.mean:.2f} | {found.worst:.2f} "
        f"| {ratio:.1f}{verdict(ratio, WORST_TO_MEAN_BAR if name == 'tenants' else None)} "
        f"| {loaded:.2f}{verdict(loaded, LOAD_BARS_MS.get(rules) if name == 'tenants' else None)} "
        f"| {len(data) / 1e3:,.0f} | {build_s:.1f} | {found.yardstick_us * 1e3:.0f} |",
        flush=True,
    )


def compare(rules: int, quick: bool) -> None:
    """Measure the peers on the same rules and requests, and how many times longer they take."""
    program, requests = FAMILIES["tenants"](rules)
    ours = engine.load(decode(encode(build(program, "0" * 64))))["main"]
    sample = requests[: 20 if quick else 60]
    bar = PEER_BARS.get(rules)
    for package, (title, load) in peers(program).items():
        if find_spec(MODULES.get(package, package)) is None:
            print(f"| {title} | **skipped: `pip install {package}`** | | | |", flush=True)
            continue
        theirs = load()
        same = sum(theirs(request) == interpret.decide(program.policies[0], request) for request in sample)
        own, found = timed([(ours, 20), (theirs, 1)], sample, 5 if quick else 20)
        ratio = found.p50 / own.p50
        judged = "" if bar is None else f" (bar {bar:g}: {'met' if ratio >= bar else 'MISSED'})"
        line = f"{found.p50:,.0f} | {own.p50:.2f} | {ratio:,.0f}{judged} | {same} of {len(sample)}"
        print(f"| {title} | {line} |", flush=True)


def machine() -> str:
    """Return the processor, its cores and the Python, for the page that keeps the figures."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return f"{model}, {os.cpu_count()} cores, CPython {platform.python_version()}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decision", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer requests and no 100,000 rules")
    parser.add_argument("--no-peers", action="store_true", help="without the other engines")
    options = parser.parse_args()
    print(machine(), end="\n\n")
    print(
        "| family | rules | p50 µs | mean µs | worst µs | worst ÷ mean | load ms | plan kB | build s | yardstick ns |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name, sizes in SIZES.items():
        for rules in sizes:
            if not (options.quick and rules > 10_000):
                family(name, rules, options.quick)
    if not options.no_peers:
        for rules in (100, 1_000):
            print(f"\n{rules:,} rules of the family `tenants`\n")
            print("| engine | p50 µs | ours beside it | times ours | same answers |\n|---|--:|--:|--:|--:|")
            compare(rules, options.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
