"""How long a policy's author waits for proofs: check with every analysis, and diff of a small edit, on three families.

python -m benchmarks.analysis [--rules 1000 10000] [--rounds 3] [--without-solver]
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from unittest import mock

import msgspec

from benchmarks.families import FAMILIES
from handlers.oracle import Requests
from router_dsl.analyse import solver
from router_dsl.analyse.compare import compared
from router_dsl.check.program import check
from router_dsl.interpret import text_of
from router_dsl.plan import And, Atom, Cond, Named, Not, Or, Policy, Program, Range
from router_dsl.source import Source
from router_dsl.syntax import parse

HEAD = """\
provider a { url "https://a.example/v1"  region us }
provider b { url "https://b.example/v1"  region eu }
model big   { context 128k  serve a "big" price $0.90 in $0.90 out  serve b "big" price $1 in $1 out }
model small { context 128k  serve a "small" price $0.10 in $0.20 out }
fact low: number from metadata.a
fact high: number from metadata.b
guard home: when header.x-home == eu require region == eu
"""
TAIL = """\
assert never region != eu when header.x-home == eu
assert attempts <= 6
assert cost <= $1
"""
OPS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "in": "in", "not in": "not in"}
FACTS = {"metadata.a": "low", "metadata.b": "high"}


MOST_COMPARED = 1000
"""Rules up to which an edit is compared; in the family of wildcards every rule overlaps most others."""


def written(program: Program) -> str:
    """Return a family's policy as text, with endpoints, a guard and assertions of each kind."""
    lines = [HEAD, "policy bench {"]
    for index, rule in enumerate(program.policies[0].rules[:-1]):
        assert rule.when is not None
        action = f"reject {400 + index % 100}" if index % 3 else "big else small"
        lines.append(f"  r{index}: when {_cond(rule.when)} -> {action}")
    return "\n".join([*lines, "  otherwise -> requested else small else big", "}", TAIL])


def _cond(cond: Cond) -> str:
    match cond:
        case And(items) | Or(items):
            return (" and " if isinstance(cond, And) else " or ").join(map(_cond, items))
        case Not(item) | Named(_, item):
            return f"not ({_cond(item)})" if isinstance(cond, Not) else _cond(item)
        case Atom():
            return _atom(cond)
    raise AssertionError(text_of(cond))


def _atom(atom: Atom) -> str:
    fact = FACTS.get(atom.fact, atom.fact)
    if atom.op in ("has", "missing"):
        return f"{atom.op} {fact}"
    if atom.op == "is":
        return fact
    if atom.items:
        items = [f"{i.low}..{i.high}" if isinstance(i, Range) else json.dumps(i) for i in atom.items]
        return f"{fact} {OPS[atom.op]} [{', '.join(items)}]"
    return f"{fact} {OPS[atom.op]} {json.dumps(atom.value)}"


def edited(program: Program) -> Program:
    """Return the program after a small edit: two rules swapped, one left out, one with another action."""
    policy = program.policies[0]
    rules = list(policy.rules)
    middle = len(rules) // 2
    rules[middle], rules[middle + 1] = rules[middle + 1], rules[middle]
    rules[middle // 2] = msgspec.structs.replace(rules[middle // 2], action=rules[-1].action)
    del rules[middle + 10]
    return msgspec.structs.replace(program, policies=(Policy(policy.name, tuple(rules)), *program.policies[1:]))


def checked(text: str, *, doubts: bool = True) -> tuple[Program, int]:
    """Return the program of a text, and how many questions stayed open."""
    file, found = parse(Source("bench.route", text))
    program, more = check([file], found, oracle_of=Requests, doubts=doubts)
    assert program is not None, [f.message for f in (*found, *more) if f.severity == "error"][:3]
    return program, sum(finding.code == "W515" for finding in more)


def measure(name: str, rules: int, rounds: int) -> None:
    text = written(FAMILIES[name](rules)[0])
    parsing, checking, comparing, unknown, changes = [], [], [], 0, 0
    for _ in range(rounds):
        gc.collect()
        start = time.process_time()
        program, _ = checked(text, doubts=False)
        between = time.process_time()
        program, unknown = checked(text)
        parsing.append(between - start)
        checking.append(time.process_time() - between)
        if rules > MOST_COMPARED:
            continue
        other = edited(program)
        start = time.process_time()
        comparison = compared(program, other)
        changes = len(list(comparison.changes()))
        unknown += len(comparison.unknown)
        comparing.append(time.process_time() - start)
    print(
        f"| {name} | {rules:,} | {statistics.median(checking):.2f} | {statistics.median(parsing):.2f} | "
        + (f"{statistics.median(comparing):.2f} | {changes}" if comparing else "– | –")
        + f" | {unknown} |",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.analysis", description=__doc__)
    parser.add_argument("--rules", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-solver", action="store_true", help="as if the extra were not installed")
    options = parser.parse_args()
    print("| family | rules | check, s | of it parse and resolve, s | diff, s | regions changed | unknown |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    with mock.patch.object(solver, "is_there", (lambda: False) if options.without_solver else solver.is_there):
        for rules in options.rules:
            for name in FAMILIES:
                measure(name, rules, options.rounds if rules <= 1000 else 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
