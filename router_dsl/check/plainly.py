"""What a condition plainly is: always true, never true, the same as another. No search, no false alarm."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field

from router_dsl.plan import And, Atom, Cond, Named, Not, Op, Or, Range

Key = Hashable
"""Equal for conditions that ask the same, whatever their wording."""

OPPOSITE: dict[Op, Op] = {"eq": "ne", "ne": "eq", "in": "not in", "not in": "in"}
Items = tuple[Range | str | int | float | bool, ...]
HOLD_WHEN_MISSING = ("ne", "not in", "missing")


class Members:
    """The items of a list as a key, hashed once."""

    __slots__ = ("_hash", "items")

    def __init__(self, items: frozenset[object]) -> None:
        self.items = items
        self._hash = hash(items)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Members) and (self is other or self.items == other.items)


def together(parts: Sequence[Key]) -> Key:
    """Return the key of parts that must all hold."""
    return parts[0] if len(parts) == 1 else ("and", frozenset(parts))


@dataclass(slots=True)
class Plainly:
    """Answers about conditions; shared lets are looked at once, remembered by identity."""

    _keys: dict[int, tuple[Cond, Key]] = field(default_factory=dict)
    _verdicts: dict[int, tuple[Cond, bool | None]] = field(default_factory=dict)
    _lists: dict[int, tuple[Items, Key]] = field(default_factory=dict)

    def key(self, cond: Cond) -> Key:
        """Return what identifies the condition, whatever its wording and the order of its parts."""
        match cond:
            case Atom():
                return self._atom(cond, cond.op)
            case Named():
                known = self._keys.get(id(cond.item))
                if known is None:
                    known = self._keys[id(cond.item)] = (cond.item, self.key(cond.item))
                return known[1]
            case Not():
                inner = unnamed(cond.item)
                if isinstance(inner, Atom) and inner.op in OPPOSITE:
                    return self._atom(inner, OPPOSITE[inner.op])
                return self.key(inner.item) if isinstance(inner, Not) else ("not", self.key(inner))
            case And():
                return together([self.key(part) for part in conjuncts(cond)])
            case Or():
                return ("or", frozenset([self.key(part) for part in alternatives(cond)]))

    def _atom(self, atom: Atom, op: Op) -> Key:
        return (atom.fact, op, atom.value, self._list(atom.items) if atom.items else None)

    def _list(self, items: Items) -> Key:
        """Return what identifies a list; a shared one is looked at once."""
        known = self._lists.get(id(items))
        if known is None:
            known = self._lists[id(items)] = (items, Members(frozenset(items)))
        return known[1]

    def verdict(self, cond: Cond) -> bool | None:
        """Return True when it always holds, False when it never does, None when that is not plain."""
        match cond:
            case Atom():
                return {"in": False, "not in": True}.get(cond.op) if not cond.items else None
            case Named():
                known = self._verdicts.get(id(cond.item))
                if known is None:
                    known = self._verdicts[id(cond.item)] = (cond.item, self.verdict(cond.item))
                return known[1]
            case Not():
                inner = self.verdict(cond.item)
                return None if inner is None else not inner
            case And():
                parts = [self.verdict(item) for item in cond.items]
                if False in parts or self._contradictory(cond):
                    return False
                return True if all(parts) else None
            case Or():
                parts = [self.verdict(item) for item in cond.items]
                if True in parts or self._covers_both(cond):
                    return True
                return False if all(part is False for part in parts) else None

    def _covers_both(self, cond: Or) -> bool:
        """Whether one alternative is the negation of another."""
        keys = {self.key(item) for item in alternatives(cond)}
        return any(self.key(Not(item)) in keys for item in alternatives(cond))

    def _contradictory(self, cond: And) -> bool:
        """Whether parts that must all hold leave no value to some fact."""
        by_fact: dict[str, list[Atom]] = {}
        denied: list[Atom] = []
        for part in conjuncts(cond):
            atom = unnamed(part.item) if isinstance(part, Not) else part
            if not isinstance(atom, Atom):
                continue
            if part is atom:
                by_fact.setdefault(atom.fact, []).append(atom)
            elif atom.op in OPPOSITE:
                flipped = Atom(atom.fact, OPPOSITE[atom.op], atom.value, atom.items, atom.text)
                by_fact.setdefault(atom.fact, []).append(flipped)
            else:
                denied.append(atom)
        for atom in denied:
            key = self.key(atom)
            if any(self.key(other) == key for other in by_fact.get(atom.fact, ())):
                return True
        return any(len(atoms) > 1 and _no_value_left(atoms) for atoms in by_fact.values())


def unnamed(cond: Cond) -> Cond:
    """Return the condition behind its let's name."""
    while isinstance(cond, Named):
        cond = cond.item
    return cond


def conjuncts(cond: Cond) -> Iterator[Cond]:
    """Give the parts that must all hold."""
    cond = unnamed(cond)
    if isinstance(cond, And):
        for item in cond.items:
            yield from conjuncts(item)
    else:
        yield cond


def alternatives(cond: Cond) -> Iterator[Cond]:
    """Give the parts of which one must hold."""
    cond = unnamed(cond)
    if isinstance(cond, Or):
        for item in cond.items:
            yield from alternatives(item)
    else:
        yield cond


def _no_value_left(atoms: list[Atom]) -> bool:
    ops = {atom.op for atom in atoms}
    if "missing" in ops and any(op not in HOLD_WHEN_MISSING for op in ops):
        return True
    candidates = _candidates(atoms)
    if candidates is not None:
        return not any(all(_admits(atom, value) for atom in atoms) for value in candidates)
    return _empty_interval(atoms)


def _candidates(atoms: list[Atom]) -> tuple[object, ...] | None:
    """Return the values that the shortest list of single values leaves, None when there is no such list."""
    lists: list[tuple[object, ...]] = [(atom.value,) for atom in atoms if atom.op == "eq"]
    lists += [atom.items for atom in atoms if atom.op == "in" and not any(isinstance(i, Range) for i in atom.items)]
    return min(lists, key=len) if lists else None


def _admits(atom: Atom, value: object) -> bool:
    """Whether a present value passes the question; True also where that is not looked into."""
    match atom.op:
        case "eq":
            return value == atom.value
        case "ne":
            return value != atom.value
        case "in":
            return any(_within(value, item) for item in atom.items)
        case "not in":
            return not any(_within(value, item) for item in atom.items)
        case "is":
            return value is True
        case "lt" | "le" | "gt" | "ge":
            return _within(value, _interval(atom)) and not (atom.op in ("lt", "gt") and value == atom.value)
        case "missing":
            return False
        case _:
            return True


def _within(value: object, item: object) -> bool:
    if not isinstance(item, Range):
        return value == item
    if isinstance(value, str) and isinstance(item.low, str) and isinstance(item.high, str):
        return item.low <= value <= item.high
    if isinstance(value, int | float) and not isinstance(item.low, str) and not isinstance(item.high, str):
        return item.low <= value <= item.high
    # Dates are bounded on one side only by `lt`, `gt` and their like: the other end is any text.
    return isinstance(value, str) and (item.low if isinstance(item.low, str) else "") <= value <= (
        item.high if isinstance(item.high, str) else "\U0010ffff"
    )


def _interval(atom: Atom) -> Range:
    """Return the values an ordering question admits, its bound included."""
    bound = atom.value
    assert isinstance(bound, str | int | float)
    infinite = float("inf")
    return Range(bound, infinite) if atom.op in ("gt", "ge") else Range(-infinite, bound)


def _empty_interval(atoms: list[Atom]) -> bool:
    """Whether lower bounds lie above upper ones; only for numbers, and single ranges of `in`."""
    lows: list[tuple[float, int]] = []
    highs: list[tuple[float, int]] = []
    for atom in atoms:
        if atom.op in ("gt", "ge") and isinstance(atom.value, int | float):
            lows.append((atom.value, int(atom.op == "gt")))
        elif atom.op in ("lt", "le") and isinstance(atom.value, int | float):
            highs.append((atom.value, -int(atom.op == "lt")))
        elif atom.op == "in" and len(atom.items) == 1 and isinstance(atom.items[0], Range):
            low, high = atom.items[0].low, atom.items[0].high
            if not isinstance(low, str) and not isinstance(high, str):
                lows.append((low, 0))
                highs.append((high, 0))
    return bool(lows and highs) and max(lows) > min(highs)
