"""How fast an author's loop is: parse and check, in rules per second, on the realistic family as text.

python -m benchmarks.authoring [--rules 1000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time

from router_dsl.check.program import check
from router_dsl.source import Source
from router_dsl.syntax import parse


def realistic(rules: int) -> str:
    """Return a multi-tenant policy of that many rules, as an author would write it."""
    lines = [
        'provider a { url "https://a.example/v1"  region us }',
        'provider b { url "https://b.example/v1"  region eu }',
        'model big   { context 128k  serve a "big" price $0.90 in $0.90 out  serve b "big" price $1 in $1 out }',
        'model small { context 128k  serve a "small" price $0.10 in $0.20 out }',
        "fact plan: one of trial, pro, enterprise from key.plan",
        "policy bench {",
    ]
    plans, tasks = ("trial", "pro", "enterprise"), ("code", "math", "chat", "write", "extract")
    for i in range(rules - 1):
        tenant, plan, task = f"tenant-{i // 5}", plans[i % 3], tasks[i % 5]
        more = f" and prompt.tokens > {1 + i % 30}k" if i % 2 else ""
        action = "big by latency  first token 3s" if i % 4 == 0 else "small else big by price"
        lines.append(f"  r{i}: when tenant == {tenant} and plan == {plan} and task == {task}{more} -> {action}")
    return "\n".join([*lines, "  otherwise -> requested else small", "}"]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.authoring", description=__doc__)
    parser.add_argument("--rules", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    source = Source("bench.route", realistic(options.rules))
    parse(Source("warm.route", realistic(5)))
    parsing, checking = [], []
    for _ in range(options.rounds):
        gc.collect()
        start = time.process_time()
        file, found = parse(source)
        between = time.process_time()
        program, more = check([file], found)
        end = time.process_time()
        assert program is not None, [d.message for d in (*found, *more) if d.severity == "error"][:3]
        parsing.append(between - start)
        checking.append(end - between)
    both = statistics.median(p + c for p, c in zip(parsing, checking, strict=True))
    print(
        f"{options.rules} rules: parse {options.rules / statistics.median(parsing):,.0f} rules/s, "
        f"check {options.rules / statistics.median(checking):,.0f}, together {options.rules / both:,.0f} "
        f"(CPU time, median of {options.rounds})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
