"""One fact as classes: its values fall into stretches on which no question of the policy changes its answer."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from router_dsl.analyse.domain import Domain, first_address, first_date
from router_dsl.compile.columns import LOWEST_NUMBER, Turns, behind, turns_of
from router_dsl.fields import request_field
from router_dsl.interpret import Value, holds
from router_dsl.plan import Atom

MISSING = 0
"""The class of a missing fact; the others follow in the order of their values."""

_ELSE = "x"


@dataclass(slots=True)
class Attribute:
    """The classes of one fact. Sets of classes are bit masks.

    Attributes:
        fact: Its name.
        domain: What it can be.
        values: A value of each class; None where there is none, as for the class of a missing fact.
        starts: First values of the classes that are stretches, of texts or numbers; empty where classes are values.
        full: The classes that have a value in the domain.
        real: The classes that a request over the wire can bring.
        baseline: The class of the value that a request has unless it says otherwise.
    """

    fact: str
    domain: Domain
    values: list[Value]
    starts: Sequence[str] | Sequence[int | float]
    full: int = 0
    real: int = 0
    baseline: int = MISSING
    _points: dict[str, int] = field(default_factory=dict)
    _masks: dict[Atom, int] = field(default_factory=dict)

    @property
    def is_ordered(self) -> bool:
        """Whether its classes are stretches of ordered values."""
        return bool(self.starts)

    def mask(self, atom: Atom) -> int:
        """Return the classes on which a question that is no probe has the answer yes."""
        found = self._masks.get(atom)
        if found is None:
            found = self._masks[atom] = self._mask(atom) & self.full
        return found

    def _mask(self, atom: Atom) -> int:
        if self.starts:
            return self._of_stretches(atom, turns_of(atom))
        if self._points and atom.op not in ("has", "missing"):
            # Texts are many: only its own points can have another answer than any other text.
            found = self._bits(atom, (MISSING, 1, 2))
            if found & 4:
                found |= self._all_points
            for point in turns_of(atom).points:
                number = self._points.get(point, 2 if point else 1)
                found = found & ~(1 << number) | (1 << number if holds(atom, {self.fact: point}) else 0)
            return found
        return self._bits(atom, range(len(self.values)))

    @property
    def _all_points(self) -> int:
        return ((1 << len(self.values)) - 1) & ~0b111

    def _bits(self, atom: Atom, classes: Sequence[int]) -> int:
        return sum(1 << number for number in classes if holds(atom, {self.fact: self.values[number]}))

    def _of_stretches(self, atom: Atom, turns: Turns) -> int:
        """Return the mask of a question stretch by stretch: between two turns of its own it never changes."""
        texts = isinstance(self.starts[0], str)
        own: list[str | int | float] = sorted(turns.starts) if texts else sorted(turns.numbers)
        marks = [self.starts[0], *(turn for turn in own if turn > self.starts[0])]  # type: ignore[operator]
        found = 1 if holds(atom, {self.fact: None}) else 0
        for number, mark in enumerate(marks):
            if holds(atom, {self.fact: mark}):
                low = 1 + bisect_left(self.starts, mark)
                high = 1 + len(self.starts)
                if number + 1 < len(marks):
                    high = 1 + bisect_left(self.starts, marks[number + 1])
                found |= (1 << high) - (1 << low)
        return found

    def class_of(self, value: Value) -> int:
        """Return the class of a value of the domain."""
        if value is None:
            return MISSING
        if self.starts:
            return bisect_right(self.starts, value)
        if self.domain.kind == "text":
            return self._points.get(str(value), 2 if value else 1)
        return self.values.index(value)

    def plainest(self, mask: int) -> int:
        """Return the class of a mask that is easiest to say: a present one, no empty text, no value that is named."""
        if self.domain.kind == "text" and not self.starts and mask & 4:
            return 2
        left = mask & ~1
        if self.domain.kind == "text" and left & ~2:
            left &= ~2
        chosen = left or mask
        return (chosen & -chosen).bit_length() - 1

    def end(self, number: int) -> str | int | float | None:
        """Return the first value behind a stretch, None when nothing is."""
        return self.starts[number] if number < len(self.starts) else None

    def prefix(self, number: int) -> str:
        """Return what all texts of a class begin with."""
        if not self.starts or number == MISSING:
            return ""
        low, high = self.starts[number - 1], self.end(number)
        assert isinstance(low, str)
        for size in range(len(low), 0, -1):
            bound = behind(low[:size])
            if bound and high is not None and isinstance(high, str) and high <= bound[0]:
                return low[:size]
        return ""

    def whole_range(self, number: int, *, real: bool) -> tuple[float, float]:
        """Return the least and the greatest whole number of a class of numbers.

        Args:
            number: The class.
            real: Only those that a request over the wire can bring.
        """
        low, high = self.starts[number - 1], self.end(number)
        assert isinstance(low, int | float)
        floor = self.domain.low if real else 0 if self.domain.kind == "whole" else -math.inf
        ceiling = self.domain.high if real else math.inf
        least = max(floor, math.ceil(low) if math.isfinite(low) else low)
        if high is None:
            return least, ceiling
        assert isinstance(high, int | float)
        return least, min(ceiling, math.ceil(high) - 1)


def attribute(fact: str, domain: Domain, turns: Turns) -> Attribute:
    """Return the classes of a fact.

    Args:
        fact: Its name.
        domain: What it can be.
        turns: Where any question's answer changes.
    """
    match domain.kind:
        case "bool":
            found = Attribute(fact, domain, [None, False, True], ())
        case "set":
            found = Attribute(fact, domain, [None, (), (_ELSE,)], ())
        case "one of":
            found = Attribute(fact, domain, [None, *domain.values], ())
        case "text" if not turns.ordered:
            points = sorted(turns.points - {""})
            found = Attribute(fact, domain, [None, "", _other(fact, turns.points), *points], ())
            found._points = {point: 3 + index for index, point in enumerate(points)}
        case "number" | "whole" | "share":
            numbers = [LOWEST_NUMBER, *sorted(turns.numbers)]
            found = Attribute(fact, domain, [None, *map(_plain, numbers)], numbers)
        case _:
            texts = ["", *sorted(turns.starts)]
            found = Attribute(fact, domain, [None, *texts], texts)
    _choose(found)
    return found


def _other(fact: str, points: set[str]) -> str:
    """Return a text that no question names: the usual value where there is one."""
    field = request_field(fact)
    usual = field.baseline if field is not None else None
    found = usual if isinstance(usual, str) else _ELSE
    while found in points:
        found += _ELSE
    return found


def _plain(number: int | float) -> int | float:
    return int(number) if math.isfinite(number) and number == int(number) else number


def _choose(attribute: Attribute) -> None:
    """Give each class its value, and find out which classes there are."""
    domain = attribute.domain
    field = request_field(attribute.fact)
    usual = field.baseline if field is not None else None
    attribute.full = attribute.real = 1
    if domain.always:
        attribute.real = 0
    for number in range(1, len(attribute.values)):
        value, is_real = _value(attribute, number)
        attribute.values[number] = value
        if value is not None:
            attribute.full |= 1 << number
            attribute.real |= is_real << number
    if usual is not None or not domain.always:
        number = attribute.class_of(usual)
        attribute.baseline = number
        if number != MISSING and attribute.real >> number & 1:
            attribute.values[number] = usual
    elif attribute.real:
        attribute.baseline = attribute.plainest(attribute.real)


def _value(attribute: Attribute, number: int) -> tuple[Value, bool]:
    """Return a value of a class, the first that a request can bring if there is one, and whether it can."""
    domain, start = attribute.domain, attribute.values[number]
    if not attribute.starts:
        return start, True
    end = attribute.end(number)
    if isinstance(start, str):
        if domain.kind == "ip":
            found = first_address(start, end)  # type: ignore[arg-type]
        elif domain.kind == "date":
            found = first_date(start, end)  # type: ignore[arg-type]
        else:
            found = start
        return found, found is not None
    assert isinstance(start, int | float)
    if domain.whole:
        least, most = attribute.whole_range(number, real=True)
        if least <= most:
            return int(least), True
        least, most = attribute.whole_range(number, real=False)
        if domain.kind == "whole":
            return (int(least) if least <= most else None), False
        return _inside(start, end), False
    low = max(start, domain.low)
    if domain.kind == "share" and (low > 1 or (end is not None and end <= 0)):  # type: ignore[operator]
        return None, False
    value = _inside(low, end)
    return value, domain.low <= value <= domain.high


def _inside(low: int | float, end: object) -> int | float:
    """Return a number of `[low, end)` that is easy to read."""
    if not math.isfinite(low):
        bound = end if isinstance(end, int | float) else 1
        return 0 if bound > 0 else _plain(math.floor(bound) - 1)
    whole = math.ceil(low)
    if isinstance(end, int | float) and whole >= end:
        tidy = round(low, 6)
        return tidy if low <= tidy < end else low
    return whole
