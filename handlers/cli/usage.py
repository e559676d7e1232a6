"""`pointsman usage`: who spent what, from the log's JSON lines."""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from handlers.cli.output import FOUND, OK, USAGE, complain
from router_dsl.plan import NANO

BY = ("policy", "rule", "endpoint", "tenant", "day")


@dataclass
class Spent:
    """What some requests came to; costs in nano-dollars.

    Attributes:
        answered: Requests whose answer was whole.
        cost: Of all attempts, the copies of `shadow` too; `hedge` (what the losers of hedges cost), `escalation` and
            `shadow` are parts of it.
        unpriced: Requests with tokens and without a cost.
    """

    requests: int = 0
    answered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: int = 0
    hedge: int = 0
    escalation: int = 0
    shadow: int = 0
    unpriced: int = 0

    def add(self, other: Spent) -> None:
        """Count other requests in."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def told(self) -> dict[str, object]:
        """Return it as JSON has it, costs in dollars."""
        said: dict[str, object] = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("cost", "hedge", "escalation", "shadow"):
            said[f"{name}_usd"] = cast("int", said.pop(name)) / NANO
        return said


def main(argv: Sequence[str]) -> int:
    """Add up what log lines tell; 1 when they tell of no request, 2 for wrong use."""
    options = _parser().parse_args(argv)
    total, skipped = Spent(), 0
    tables: dict[tuple[str, ...], dict[tuple[str, ...], Spent]]
    tables = {names: {} for names in options.by or [(name,) for name in BY]}
    try:
        for line in _lines(options.files):
            event = _event(line)
            if event is None:
                skipped += 1
                continue
            if event.get("event") not in ("request", "shadow") or not _is_wanted(event, options):
                continue
            for part, endpoint in _parts(event):
                total.add(part)
                for names, table in tables.items():
                    key = tuple(_label(event, name, endpoint) for name in names)
                    table.setdefault(key, Spent()).add(part)
    except OSError as error:
        complain(f"`{error.filename or 'stdin'}`: {(error.strerror or str(error)).lower()}")
        return USAGE
    if skipped:
        complain(f"{skipped} line{'' if skipped == 1 else 's'} are no JSON events and were skipped")
    _print(total, tables, as_json=options.json)
    return OK if total.requests else FOUND


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pointsman usage", description="Add up what the log's JSON lines tell of spending."
    )
    parser.add_argument(
        "files", metavar="FILE", nargs="*", type=Path, help="logs, also as .gz; - or none: standard input"
    )
    parser.add_argument(
        "--by", metavar="NAME[,NAME…]", action="append", type=_names,
        help=f"one table by these ({', '.join(BY)}); may be repeated (default: one by each)",
    )  # fmt: skip
    parser.add_argument(
        "--since", metavar="DAY", type=_day, help="only requests of this day (UTC) or later: 2026-12-01"
    )
    parser.add_argument("--until", metavar="DAY", type=_day, help="only requests of this day or earlier")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in BY:
            raise argparse.ArgumentTypeError(f"`{name}` is none of {', '.join(BY)}")
    return names


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"`{text}` is no day such as 2026-12-01") from None


# --- lines ----------------------------------------------------------------------------------------


def _lines(files: Sequence[Path]) -> Iterator[bytes]:
    for file in files or [Path("-")]:
        if str(file) == "-":
            yield from sys.stdin.buffer
            continue
        with cast("BinaryIO", gzip.open(file)) if file.suffix == ".gz" else file.open("rb") as lines:
            yield from lines


def _event(line: bytes) -> Mapping[str, object] | None:
    """Return the event of a line, nothing for a blank one, None for what is none."""
    start = line.find(b"{")  # journald and docker put things in front
    if start < 0:
        return None if line.strip() else {}
    try:
        found: object = msgspec.json.decode(line[start:])
    except (msgspec.DecodeError, RecursionError):
        return None
    return cast("Mapping[str, object]", found)


def _is_wanted(event: Mapping[str, object], options: argparse.Namespace) -> bool:
    if event.get("event") == "request" and event.get("api") is None:
        return False  # a page
    day = str(event.get("ts"))[:10]
    return (options.since is None or day >= options.since) and (options.until is None or day <= options.until)


def _parts(event: Mapping[str, object]) -> Iterator[tuple[Spent, str]]:
    """Yield what a request came to by the endpoints that had a part in it, itself at the one that answered."""
    is_copy = event["event"] == "shadow"
    own = Spent() if is_copy else Spent(1, int(event.get("end") == "complete"))
    own.prompt_tokens, own.completion_tokens = _count(event, "prompt_tokens"), _count(event, "completion_tokens")
    attempts = [each for each in _list(event.get("attempts")) if isinstance(each, dict)]
    if own.completion_tokens and not any(isinstance(each.get("cost_usd"), int | float) for each in attempts):
        own.unpriced = 1
    yield own, str(event.get("endpoint") or "")
    has_hedge = any(each.get("role") == "hedge" for each in attempts)
    for attempt in attempts:
        cost = _nusd(attempt.get("cost_usd"))
        if not cost:
            continue
        part, role = Spent(cost=cost), attempt.get("role")
        if is_copy:
            part.shadow = cost
        elif role == "escalation":
            part.escalation = cost
        elif has_hedge and attempt.get("outcome") == "cancelled":
            part.hedge = cost
        yield part, str(attempt.get("endpoint") or "")


def _label(event: Mapping[str, object], name: str, endpoint: str) -> str:
    if name == "endpoint":
        return endpoint
    value = str(event.get("ts"))[:10] if name == "day" else event.get(name)
    return value if isinstance(value, str) else ""


def _count(event: Mapping[str, object], name: str) -> int:
    value = event.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _nusd(value: object) -> int:
    """Return dollars in nano-dollars: exactly what they were made of."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return round(cast("float", value) * NANO) if is_number and 0 < cast("float", value) < 1e9 else 0


def _list(value: object) -> Iterable[object]:
    return value if isinstance(value, list) else ()


# --- tables ---------------------------------------------------------------------------------------


def _print(total: Spent, tables: Mapping[tuple[str, ...], Mapping[tuple[str, ...], Spent]], *, as_json: bool) -> None:
    ordered = {names: _ordered(names, table) for names, table in tables.items()}
    if as_json:
        told = {
            ",".join(names): [{**dict(zip(names, key, strict=True)), **spent.told()} for key, spent in rows]
            for names, rows in ordered.items()
        }
        print(json.dumps({"total": total.told(), "by": told}, indent=2))
        return
    print(f"{total.requests} requests, {total.answered} answered, {_dollars(total.cost)}")
    for names, rows in ordered.items():
        print()
        _table(names, rows)


def _ordered(names: tuple[str, ...], table: Mapping[tuple[str, ...], Spent]) -> list[tuple[tuple[str, ...], Spent]]:
    """Return days in their order, everything else the dearest first."""
    rows = sorted(table.items())
    return rows if names[0] == "day" else sorted(rows, key=lambda row: -row[1].cost)


def _table(names: tuple[str, ...], rows: list[tuple[tuple[str, ...], Spent]]) -> None:
    head = (*names, "requests", "tokens in", "out", "cost", "hedges", "escalations", "copies")
    lines = [head]
    for key, spent in rows:
        costs = (
            _dollars(spent.cost),
            *(_dollars(x) if x else "" for x in (spent.hedge, spent.escalation, spent.shadow)),
        )
        counts = (f"{spent.requests:,}", f"{spent.prompt_tokens:,}", f"{spent.completion_tokens:,}")
        lines.append((*(_shown(part) for part in key), *counts, *costs))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [
            cell.ljust(w) if at < len(names) else cell.rjust(w)
            for at, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def _shown(text: str) -> str:
    # Tenants may be clients' text: control characters must not reach a terminal.
    return "".join(char if char.isprintable() else "?" for char in text[:80]) or "–"


def _dollars(nusd: int) -> str:
    return f"${nusd / NANO:,.2f}" if nusd >= NANO else f"${nusd / NANO:.6f}"
