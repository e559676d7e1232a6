"""Boxes in words: what an author would say of the requests in them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

from router_dsl.analyse.attribute import MISSING, Attribute
from router_dsl.analyse.search import runs
from router_dsl.analyse.space import YES, Probe, Space

_MOST_NAMED = 4

_OPERATORS = {"contains": "contains", "ends": "ends with", "matches": "matches"}


def said(space: Space, box: Mapping[int, int]) -> str:
    """Return what the requests of a box have in common, on one line: `task is code, prompt.tokens > 8,000`."""
    parts = []
    for number, axis in enumerate(space.axes):
        mask = box.get(number, space.full[number])
        if not isinstance(axis, Attribute):
            parts += [] if mask == space.full[number] else [_of_probe(axis, mask == YES)]
        elif mask & axis.real != axis.real:
            # Of what no request brings nobody wants to hear, unless the region is of nothing else.
            real = mask & axis.real
            parts.append(_of_fact(axis, real or mask, axis.real if real else axis.full))
    return ", ".join(parts) or "all requests"


def merged(boxes: Sequence[Mapping[int, int]]) -> list[dict[int, int]]:
    """Return fewer boxes that hold the same: two that differ along one axis only are one."""
    left = [dict(box) for box in boxes]
    again = True
    while again:
        again = False
        for one, other in combinations(left, 2):
            axes = {axis for axis in one.keys() | other.keys() if one.get(axis) != other.get(axis)}
            if not axes or (len(axes) == 1 and axes <= one.keys() & other.keys()):
                left = [box for box in left if box is not one and box is not other]
                left.append({**one, **{axis: one[axis] | other[axis] for axis in axes}})
                again = True
                break
    return left


def _of_probe(probe: Probe, yes: bool) -> str:
    atom = probe.atom
    value = f"/{atom.value}/" if atom.op == "matches" else f"`{atom.value}`"
    told = f"{atom.fact} {_OPERATORS[atom.op]} {value}"
    return told if yes else f"not {told}"


def _of_fact(axis: Attribute, mask: int, full: int) -> str:
    name, missing = axis.fact, bool(mask >> MISSING & 1)
    left, whole = mask & ~1, full & ~1
    if not left:
        return f"{name} is missing"
    if left == whole:
        return f"{name} is there"
    if axis.domain.kind == "bool":
        told = name if left == 1 << 2 else f"not {name}"
        return f"{told} or missing" if missing and full & 1 else told
    if axis.starts and not isinstance(axis.starts[0], str):
        told = f"{name} {_stretches(axis, left)}"
    elif _is_open(axis, left) or (axis.domain.kind == "one of" and left.bit_count() > (whole & ~left).bit_count()):
        told = f"{name} is not {_values(axis, whole & ~left)}"
        return told if missing or not full & 1 else f"{told} nor missing"
    else:
        told = f"{name} is {_values(axis, left)}"
    return f"{told} or missing" if missing else told


def _is_open(axis: Attribute, mask: int) -> bool:
    """Whether a mask of texts has those that nobody names."""
    return axis.domain.kind == "text" and not axis.starts and bool(mask >> 2 & 1)


def _values(axis: Attribute, mask: int) -> str:
    named = []
    for low, high in runs(mask):
        if axis.starts:
            named.append(_between(axis, low, high))
        else:
            named += [_shown(axis.values[number]) for number in range(low, high)]
    if len(named) > _MOST_NAMED:
        named = [*named[: _MOST_NAMED - 1], f"{len(named) - _MOST_NAMED + 1} others"]
    return " or ".join(named)


def _between(axis: Attribute, low: int, high: int) -> str:
    start, end = axis.starts[low - 1], axis.end(high - 1)
    if end == f"{start}\0":
        return _shown(start)
    return f"from {_shown(axis.values[low])}" + ("" if end is None else f" to before {_shown(end)}")


def _shown(value: object) -> str:
    text = str(value).replace("\0", "")
    return f"`{text}`" if text else "empty"


def _stretches(axis: Attribute, mask: int) -> str:
    told = []
    for low, high in runs(mask):
        first, end = axis.starts[low - 1], axis.end(high - 1)
        assert not isinstance(first, str)
        assert not isinstance(end, str)
        told.append(_range(first, end))
    return " or ".join(told[:_MOST_NAMED])


def _range(first: float, end: float | None) -> str:
    """Return a stretch of numbers; a bound just above a number says that the number itself is not in it."""
    low, above = _plain(first)
    if end is None:
        return f"{'>' if above else '>='} {low}"
    high, closed = _plain(end)
    if first == -math.inf:
        return f"{'<=' if closed else '<'} {high}"
    if not above and closed and low == high:
        return f"== {low}"
    return f"{'>' if above else '>='} {low} and {'<=' if closed else '<'} {high}"


def _plain(turn: float) -> tuple[str, bool]:
    """Return the number a turn stands at or just above, and which of the two."""
    if not math.isfinite(turn):
        return str(turn), False
    below = math.nextafter(turn, -math.inf)
    # The bound behind a number that somebody wrote is the next one there is, and takes all its digits to write.
    is_above = len(repr(below)) < len(repr(float(turn)))
    number = below if is_above else turn
    return f"{number:,.9g}" if abs(number) < 1e15 else str(number), is_above
