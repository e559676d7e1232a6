"""`pointsman bounds`: the worst that each rule can do, proved over all the requests that it decides."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path

from handlers.cli.output import OK, paint, wants_color
from handlers.meaning import meaning_of
from router_dsl.analyse.claims import dollars, duration
from router_dsl.analyse.plans import plans_of
from router_dsl.analyse.regions import regions_of
from router_dsl.analyse.table import Worst, worst


def main(argv: Sequence[str]) -> int:
    """Print the bounds; 0 then, 1 when the policy has errors, 2 for wrong use."""
    parser = argparse.ArgumentParser(
        prog="pointsman bounds", description="Say the worst that each rule can do: attempts, waits and cost."
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="a .route or .plan file")
    parser.add_argument("--root", type=Path, metavar="DIR", help="folder imports may not leave (default: the file's)")
    parser.add_argument("--json", action="store_true", help="print the bounds as JSON")
    options = parser.parse_args(argv)
    program, code = meaning_of(options.file, options.root)
    if program is None:
        return code
    found = list(worst(plans_of(regions_of(program))))
    if options.json:
        print(json.dumps({"bounds": [one.to_json() for one in found]}, indent=2, ensure_ascii=False))
    else:
        _print(found, color=wants_color(sys.stdout))
    return OK


_HEAD = ("rule", "attempts", "first token", "whole answer", "cost", "at")


def _print(found: Sequence[Worst], *, color: bool) -> None:
    rows: dict[str, list[tuple[str, ...]]] = {one.policy.name: [_HEAD] for one in found}
    for one in found:
        rows[one.policy.name].append(_row(one))
    for name, table in rows.items():
        print(paint(f"policy {name}", "bold", on=color))
        widths = [max(len(row[column]) for row in table) for column in range(len(_HEAD))]
        for row in table:
            line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            print(f"  {paint(line, 'dim', on=color and row is _HEAD)}")
        print()


def _row(one: Worst) -> tuple[str, ...]:
    label = one.rule.label
    if one.unknown:
        return label, f"unknown: {one.unknown}", "", "", "", ""
    if not one.decides:
        return label, "never decides", "", "", "", ""
    if not one.attempts:
        return label, "none", "", "", "", ""
    more = [f"+ {count} {noun}" for count, noun in ((one.hedges, "hedge"), (one.escalations, "escalated")) if count]
    cost = f"? ({', '.join(one.unpriced)} unpriced)" if one.cost_nusd is None else _or_unbounded(one.cost_nusd, dollars)
    return (
        label,
        " ".join([str(one.attempts), *more]),
        _or_unbounded(one.wait_s, duration),
        _or_unbounded(one.total_s, duration),
        cost,
        ", ".join(one.dearest),
    )


def _or_unbounded(value: float, said: Callable[[float], str]) -> str:
    return "unbounded" if value == inf else said(value)
