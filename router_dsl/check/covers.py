"""Which earlier rules plainly hold whenever a later one does: part by part, without search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from router_dsl.check.plainly import OPPOSITE, Key, Plainly, alternatives, conjuncts, unnamed
from router_dsl.interpret import holds
from router_dsl.plan import Atom, Cond, Not, Range, Scalar

# Wide questions: another value, list or bound may be inside theirs. The others cover only what asks the same.
_WIDE = ("lt", "le", "gt", "ge", "in", "ne", "not in")

# A generated policy has thousands of rules of a few shapes; whoever writes by hand has fewer of either.
_MOST_SHAPES = 64
_MOST_ALIKE = 32


@dataclass(frozen=True, slots=True)
class _Way:
    """One way in which an earlier rule holds: all of `wide` and what it was filed under."""

    wide: tuple[Atom, ...]
    label: str


@dataclass(slots=True)
class Taken:
    """The ways in which the rules so far hold.

    They are filed by what their narrow parts ask (fact and operator), then by those parts themselves.
    """

    plainly: Plainly
    _filed: dict[frozenset[tuple[object, object]], dict[frozenset[Key], list[_Way]]] = field(default_factory=dict)

    def add(self, cond: Cond, label: str) -> None:
        """Take in the condition of a rule."""
        ways = [list(conjuncts(way)) for way in alternatives(cond)]
        for way in ways if len(ways) == 1 else [[cond], *ways]:
            asked = [_positive(part) for part in way]
            wide = tuple(atom for atom in asked if atom is not None and atom.op in _WIDE)
            narrow = frozenset(
                self.plainly.key(part)
                for part, atom in zip(way, asked, strict=True)
                if atom is None or atom.op not in _WIDE
            )
            shape = frozenset(_asked(key) for key in narrow)
            if shape not in self._filed and len(self._filed) >= _MOST_SHAPES:
                continue
            alike = self._filed.setdefault(shape, {}).setdefault(narrow, [])
            if len(alike) < _MOST_ALIKE:
                alike.append(_Way(wide, label))

    def covering(self, cond: Cond) -> list[str]:
        """Return the rules of which one holds whenever the condition does; empty when some case is left."""
        ways = list(alternatives(cond))
        if len(ways) > 1 and (whole := self._owner([cond])) is not None:
            return [whole]
        found: dict[str, None] = {}
        for way in ways:
            owner = self._owner(list(conjuncts(way)))
            if owner is None:
                return []
            found[owner] = None
        return list(found)

    def _owner(self, parts: Sequence[Cond]) -> str | None:
        keys = {self.plainly.key(part) for part in parts}
        atoms = [_positive(part) for part in parts]
        for shape, filed in self._filed.items():
            narrow = frozenset([key for key in keys if _asked(key) in shape]) if shape else frozenset()
            for way in filed.get(narrow, ()):
                if all(any(implies(atom, asked) for atom in atoms if atom is not None) for asked in way.wide):
                    return way.label
        return None


def _asked(key: Key) -> tuple[object, object]:
    assert isinstance(key, tuple)
    return key[0], key[1]


def _positive(cond: Cond) -> Atom | None:
    """Return the question of a part, turned round where it is denied and can be."""
    cond = unnamed(cond)
    if isinstance(cond, Not) and isinstance(inner := unnamed(cond.item), Atom) and inner.op in OPPOSITE:
        return Atom(inner.fact, OPPOSITE[inner.op], inner.value, inner.items, inner.text)
    return cond if isinstance(cond, Atom) else None


def implies(one: Atom, other: Atom) -> bool:
    """Whether the second question plainly has the answer yes whenever the first has."""
    if one.fact != other.fact:
        return False
    if one.op in _EXCLUDING:
        return other.op in _EXCLUDING and _excluded(other) <= _excluded(one)
    values = _values(one)
    if values is not None:
        return all(holds(other, {other.fact: value}) for value in values)
    inside, around = _stretches(one), _stretches(other)
    return bool(inside) and all(any(_lies_within(stretch, outer) for outer in around) for stretch in inside)


_EXCLUDING = ("ne", "not in")


def _excluded(atom: Atom) -> frozenset[object]:
    return frozenset(atom.items if atom.op == "not in" else (atom.value,))


def _values(atom: Atom) -> tuple[Scalar, ...] | None:
    """Return the only values that the question admits, None when it lists none."""
    if atom.op == "eq" and atom.value is not None:
        return (atom.value,)
    if atom.op == "is":
        return (True,)
    single = tuple(item for item in atom.items if not isinstance(item, Range)) if atom.op == "in" else ()
    return single if single and len(single) == len(atom.items) else None


_End = tuple[Scalar, int] | None
"""Where a stretch of values begins or ends, 1 or -1 behind it when the bound itself is outside; None for no end."""


def _stretches(atom: Atom) -> list[tuple[_End, _End]]:
    """Return the stretches of values that an ordering question or a list admits; none for other questions."""
    bound = atom.value
    match atom.op:
        case "gt" | "ge" if bound is not None:
            return [((bound, int(atom.op == "gt")), None)]
        case "lt" | "le" if bound is not None:
            return [(None, (bound, -int(atom.op == "lt")))]
        case "in":
            ranges = [item if isinstance(item, Range) else Range(item, item) for item in atom.items]
            return [((item.low, 0), (item.high, 0)) for item in ranges]
        case _:
            return []


def _lies_within(inner: tuple[_End, _End], outer: tuple[_End, _End]) -> bool:
    (low, high), (least, most) = inner, outer
    # Both ask the same fact, so their ends are of one type.
    return (least is None or (low is not None and low >= least)) and (
        most is None or (high is not None and high <= most)
    )
