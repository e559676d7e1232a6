"""Numbers with suffixes and units, made plain: exact values in the units of the plan."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from router_dsl import ast
from router_dsl.check.report import Report

Kind = Literal["number", "count", "tokens", "share", "duration", "money"]

NANO = 1_000_000_000
SCALES = {
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
}
SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}

UNITS: dict[Kind, tuple[dict[str, Decimal], str]] = {
    "number": (SCALES, "a plain number such as `8` or `24k`"),
    "count": (SCALES, "a whole number such as `8` or `24k`"),
    "tokens": (SCALES, "a number of tokens such as `24k` or `128Ki`"),
    "share": ({"%": Decimal("0.01")}, "a percentage such as `40%`"),
    "duration": (SECONDS, "a duration such as `800ms`, `3s` or `5m`"),
    "money": ({"$": Decimal(NANO)}, "an amount such as `$0.90`"),
}

# Plans hold 64-bit integers; no token count, price in nano-dollars or duration of this world is larger.
LARGEST = Decimal(10**18)


def number(
    node: ast.Number,
    kind: Kind,
    of: str,
    report: Report,
    *,
    low: float | None = None,
    high: float | None = None,
) -> int | float | None:
    """Return the value in the plan's unit, None when it is refused.

    Whole values are integers, money is in nano-dollars; shares (in [0, 1]) and durations (seconds) are floats.

    Args:
        node: The number as written.
        kind: Which suffixes and units it may have, and what they mean.
        of: What the number is for, as messages call it, such as "`retry`".
        report: Takes the finding when it is refused.
        low: Least value allowed, in the plan's unit.
        high: Greatest value allowed, in the plan's unit.
    """
    scales, wanted = UNITS[kind]
    scale = scales.get(node.unit)
    if scale is None:
        report.add("E302", f"wrong unit for {of}: `{node.span.text}`", node.span, f"write {wanted}")
        return None
    exact = Decimal(node.value) * scale
    whole = exact == exact.to_integral_value()
    if kind == "money" and not whole and abs(exact) < LARGEST:
        report.add(
            "E307", f"`{node.span.text}` is finer than nine decimals", node.span, "prices are kept in nano-dollars"
        )
        return None
    if kind in ("count", "tokens") and not whole:
        report.add("E307", f"{of} takes a whole number, not `{node.span.text}`", node.span)
        return None
    if (low is not None and exact < Decimal(str(low))) or (high is not None and exact > Decimal(str(high))):
        report.add("E307", f"`{node.span.text}` is out of range for {of}", node.span, _bounds(kind, low, high))
        return None
    if abs(exact) > LARGEST:
        report.add("E307", f"`{node.span.text}` is too large", node.span)
        return None
    return int(exact) if whole and kind not in ("share", "duration") else float(exact)


def _bounds(kind: Kind, low: float | None, high: float | None) -> str:
    if kind == "money" and low == 1 and high is None:
        return "it takes more than $0"
    shown = [None if bound is None else _shown(kind, bound) for bound in (low, high)]
    if shown[0] is not None and shown[1] is not None:
        return f"it takes {shown[0]} to {shown[1]}"
    return f"it takes {shown[0]} or more" if shown[0] is not None else f"it takes {shown[1]} at most"


def _shown(kind: Kind, bound: float) -> str:
    if kind == "share":
        return f"{bound * 100:g}%"
    if kind == "duration":
        return f"{bound * 1000:g}ms" if bound < 1 else f"{bound:g}s"
    return f"${bound / NANO:g}" if kind == "money" else f"{bound:g}"
