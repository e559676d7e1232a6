"""A column of a block with its masks unpacked: the look-ups that it is asked through."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_

from router_dsl.plan import Block, Column, Probe, unpack_masks
from runtime.decision.engine_conditions import Facts, Value, condition


class Table:
    """One column, ready to be asked.

    Attributes:
        knows_texts: It is about single texts alone, so that one dict answers it. `knows_numbers`: about numbers alone.
        missing: The terms that a missing fact leaves.
        starts, spans: First numbers of the intervals but the first, and the terms each interval leaves.
    """

    def __init__(self, column: Column, terms: int) -> None:
        self.fact = column.fact
        self.column = column
        self.masks = masks = unpack_masks(column.masks, terms)
        self.missing = masks[column.missing]
        self.starts = column.numbers
        self.spans = [masks[number] for number in column.number_spans]
        self.knows_texts = not (column.spans or column.number_spans or column.bools)
        self.knows_numbers = bool(column.number_spans) and not (column.spans or column.points or column.bools)

    def texts(self) -> tuple[Callable[[Value, int], int], int]:
        """Return a look-up for any value of a table of texts, and the mask of values it does not know."""
        column, masks = self.column, self.masks
        table: dict[Value, int] = {None: self.missing}
        if column.empty != column.other:
            # 0 is also 0.0 and false.
            table |= dict.fromkeys(("", 0, ()), masks[column.empty])
        table |= {point: masks[number] for point, number in column.points.items()}
        return table.get, masks[column.other]

    def bools(self) -> tuple[int, int]:
        """Return the masks of false and true."""
        false, true = self.column.bools or (self.column.empty, self.column.other)
        return self.masks[false], self.masks[true]

    def rest(self) -> Callable[[Value], int]:
        """Return the look-up for any value that is not missing."""
        column, masks = self.column, self.masks
        empty, other = masks[column.empty], masks[column.other]
        false, true = self.bools()
        points = {point: masks[number] for point, number in column.points.items()}
        text_starts, text_spans = column.starts, [masks[number] for number in column.spans]
        starts, spans = self.starts, self.spans

        def look(value: Value) -> int:
            if value is True:
                return true
            if value is False:
                return false
            if isinstance(value, str):
                if text_spans:
                    return text_spans[bisect_right(text_starts, value)]
                found = points.get(value)
                if found is not None:
                    return found
            # NaN is not equal to itself; no condition takes it for a number.
            elif spans and isinstance(value, int | float) and value == value:
                return spans[bisect_right(starts, value)]
            return other if value else empty

        return look

    def ask(self) -> Callable[[Facts], int]:
        """Return the look-up as a function of the facts."""
        fact, missing = self.fact, self.missing
        if self.knows_texts:
            get, other = self.texts()
            return lambda facts: get(facts[fact], other)
        rest = self.rest()
        if not self.knows_numbers:
            return lambda facts: missing if (value := facts[fact]) is None else rest(value)
        starts, spans = self.starts, self.spans

        def ask(facts: Facts) -> int:
            value = facts[fact]
            if value.__class__ is int:
                return spans[bisect_right(starts, value)]
            return missing if value is None else rest(value)

        return ask


class Question:
    """A probe, ready to be asked; `masks` are the terms that the answers no and yes leave."""

    def __init__(self, probe: Probe, terms: int) -> None:
        self.masks = unpack_masks(probe.masks, terms)
        self.test = condition(probe.cond)

    def ask(self) -> Callable[[Facts], int]:
        """Return the question as a function of the facts."""
        (no, yes), test = self.masks, self.test
        return lambda facts: yes if test(facts) else no


@dataclass(frozen=True, slots=True)
class Lazy:
    """A fact that costs something.

    Attributes:
        bit: 1, 2, 4, … in the order of asking; a term's need is the sum of its facts' bits.
        asking: The terms that ask it. `decided`: those that ask neither it nor a later one.
    """

    table: Table | Question
    bit: int
    asking: int
    decided: int


def lazy_tables(block: Block) -> list[Lazy]:
    """Return the facts of a block that cost something, cheapest first."""
    terms = len(block.rules)
    decided = full = (1 << terms) - 1
    found: list[Lazy] = []
    for number, item in reversed(list(enumerate(block.lazy))):
        table = Table(item, terms) if isinstance(item, Column) else Question(item, terms)
        asking = full & ~reduce(and_, table.masks)
        decided &= ~asking
        found.append(Lazy(table, 1 << number, asking, decided))
    return found[::-1]


def needs(block: Block, lazy: Sequence[Lazy]) -> list[int]:
    """Return each term's need, behind a first 0 for no term at all."""
    found = [0] * (len(block.rules) + 1)
    for fact in lazy:
        for number, asks in enumerate(reversed(f"{fact.asking:b}"), 1):
            if asks == "1":
                found[number] += fact.bit
    return found
