"""A block of terms, ready to be asked: look-ups AND masks together, and the lowest bit left decides."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from operator import itemgetter

from router_dsl.plan import Block, Column, Probe, unpack_masks
from runtime.decision.engine_conditions import Facts, Value, condition

Find = Callable[[Facts, int], int]
"""From the facts and the terms that may decide to the rule that does; -1 when none of them holds."""

_MEMO_TERMS = 256
"""From this many terms on the AND over the texts is remembered: before, the ANDs cost less than the look-up."""

_MEMO_ENTRIES = 1024
"""Combinations remembered; the memo starts anew when clients send more, for it keeps their texts alive."""


def finder(block: Block) -> Find:
    """Return the block as a function."""
    rules = block.rules
    texts = [(c.fact, *_texts(c)) for c in block.columns if _asks_points(c)]
    numbers = [(c.fact, c.numbers, *_numbers(c)) for c in block.columns if _asks_numbers(c)]
    others = [(c.fact, _look(c)) for c in block.columns if not _asks_points(c) and not _asks_numbers(c)]
    lazy = _lazy(block)
    remembers = len(texts) > 1 and len(rules) >= _MEMO_TERMS
    pick = itemgetter(*(fact for fact, _, _ in texts)) if remembers else None
    memo: dict[tuple[Value, ...], int] = {}
    recall = memo.get

    def combine(values: tuple[Value, ...]) -> int:
        mask = -1
        for value, (_, get, other) in zip(values, texts, strict=True):
            mask &= get(value, other)
        if len(memo) >= _MEMO_ENTRIES:
            memo.clear()
        memo[values] = mask
        return mask

    def find(facts: Facts, alive: int) -> int:
        if pick is None:
            for fact, get, other in texts:
                alive &= get(facts[fact], other)
        else:
            values = pick(facts)
            mask = recall(values)
            alive &= combine(values) if mask is None else mask
        for fact, starts, masks, rest in numbers:
            value = facts[fact]
            kind = value.__class__
            # NaN is not equal to itself; no condition takes it for a number.
            if kind is int or (kind is float and value == value):
                alive &= masks[bisect_right(starts, value)]  # type: ignore[type-var]
            else:
                alive &= rest(value)
        for fact, look in others:
            alive &= look(facts[fact])
        for asking, undecided, ask in lazy:
            settled = alive & ~undecided
            if settled:
                # What stands behind a term that nothing can refuse any more cannot decide.
                alive &= ((settled & -settled) << 1) - 1
            if alive & asking:
                alive &= ask(facts)
        return rules[(alive & -alive).bit_length() - 1] if alive else -1

    return find


def _asks_points(column: Column) -> bool:
    return not (column.spans or column.number_spans or column.bools)


def _asks_numbers(column: Column) -> bool:
    return bool(column.number_spans) and not (column.spans or column.points or column.bools)


def _texts(column: Column) -> tuple[Callable[[Value, int], int], int]:
    """Return a look-up by value and the mask of values it does not know."""
    masks = unpack_masks(column.masks)
    table: dict[Value, int] = {None: masks[column.missing]}
    if column.empty != column.other:
        # 0 is also 0.0 and false.
        table |= dict.fromkeys(("", 0, ()), masks[column.empty])
    table |= {point: masks[number] for point, number in column.points.items()}
    return table.get, masks[column.other]


def _numbers(column: Column) -> tuple[list[int], Callable[[Value], int]]:
    """Return the masks of the intervals, and a look-up for what is no number."""
    masks = unpack_masks(column.masks)
    missing, empty, other = masks[column.missing], masks[column.empty], masks[column.other]

    def rest(value: Value) -> int:
        return missing if value is None else other if value else empty

    return [masks[number] for number in column.number_spans], rest


def _look(column: Column) -> Callable[[Value], int]:
    """Return the look-up of any column."""
    masks = unpack_masks(column.masks)
    if _asks_points(column):
        get, unknown = _texts(column)
        return lambda value: get(value, unknown)
    missing, empty, other = masks[column.missing], masks[column.empty], masks[column.other]
    starts, spans = column.starts, [masks[number] for number in column.spans]
    numbers, number_spans = column.numbers, [masks[number] for number in column.number_spans]
    points = {point: masks[number] for point, number in column.points.items()}
    false, true = (masks[number] for number in column.bools) if column.bools else (empty, other)

    def look(value: Value) -> int:
        if value is None:
            return missing
        if value is True:
            return true
        if value is False:
            return false
        if isinstance(value, str):
            if spans:
                return spans[bisect_right(starts, value)]
            found = points.get(value)
            if found is not None:
                return found
        elif number_spans and isinstance(value, int | float) and value == value:
            return number_spans[bisect_right(numbers, value)]
        return other if value else empty

    return look


def _lazy(block: Block) -> list[tuple[int, int, Callable[[Facts], int]]]:
    """Return, for each fact that costs something, the terms that ask it, those that ask it or a later one, and how."""
    full = (1 << len(block.rules)) - 1
    found: list[tuple[int, int, Callable[[Facts], int]]] = []
    undecided = 0
    for table in reversed(block.lazy):
        asking = 0
        for mask in unpack_masks(table.masks):
            asking |= full & ~mask
        undecided |= asking
        found.append((asking, undecided, _ask(table)))
    return found[::-1]


def _ask(table: Column | Probe) -> Callable[[Facts], int]:
    if isinstance(table, Probe):
        no, yes = unpack_masks(table.masks)
        test = condition(table.cond)
        return lambda facts: yes if test(facts) else no
    fact, look = table.fact, _look(table)
    return lambda facts: look(facts[fact])


def limited(rules: Sequence[int], before: int) -> int:
    """Return the terms of a block whose rule comes before rule `before`, as a mask."""
    return (1 << bisect_right(rules, before - 1)) - 1
