"""A block of terms, ready to decide: look-ups AND masks together, and the lowest bit left is the answer."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from operator import itemgetter

from router_dsl.plan import Block
from runtime.decision.engine_conditions import Facts, Value
from runtime.decision.engine_source import Source
from runtime.decision.engine_tables import Question, Table, lazy_tables, needs

Find = Callable[..., int]
"""From the facts, and the terms that may decide (all, unless said), to the rule that does; -1 when none holds."""

_MEMO_COLUMNS = 3
"""From this many texts on the AND over them is remembered: one look-up then costs less than theirs."""

_MEMO_POINTS = 64
"""Texts a column may know to take part: one that knows more (`tenant`) tells requests apart, and none would recur."""

_MEMO_ENTRIES = 4096
"""Combinations remembered; the memo starts anew when clients send more, for it keeps their texts alive."""


def finder(block: Block) -> Find:
    """Return the block as a function written for it, for the blocks that every request is put to."""
    full = (1 << len(block.rules)) - 1
    source = Source("find")
    source.begin(f"facts, alive={source.name(full)}")
    tables = [Table(column, len(block.rules)) for column in block.columns]
    texts = [table for table in tables if table.knows_texts and len(table.column.points) <= _MEMO_POINTS]
    if len(texts) >= _MEMO_COLUMNS:
        _write_memo(source, texts)
        tables = [table for table in tables if table not in texts]
    for table in tables:
        _write(source, table)
    lazy = lazy_tables(block)
    # The number of the first term alive, from 1; 0 when there is none.
    source.line("first = (alive & -alive).bit_length()")
    if lazy:
        look_up_need = f"need = {source.name(needs(block, lazy))}[first]"
        source.line(look_up_need)
    for fact in lazy:
        # Nested: when nothing can refuse the first term any more, it decides.
        source.enter(f"if need >= {fact.bit}:")
        if fact is not lazy[-1]:
            decided, asking = source.name(fact.decided), source.name(fact.asking)
            source.enter(f"if need & {fact.bit} or {source.name(_matters)}(alive, {decided}, {asking}):")
        _write(source, fact.table)
        source.line("first = (alive & -alive).bit_length()")
        if fact is not lazy[-1]:
            source.line(look_up_need)
            source.leave()
    source.leave(to=0)
    source.line(f"return {source.name((-1, *block.rules))}[first]")
    return source.function()


def case_finder(block: Block) -> Find:
    """Return the block as a loop over its look-ups, for the cases of a switch: too many to write code for."""
    rules = (-1, *block.rules)
    full = (1 << len(block.rules)) - 1
    tables = [Table(column, len(block.rules)) for column in block.columns]
    texts = [(table.fact, *table.texts()) for table in tables if table.knows_texts]
    others = [table.ask() for table in tables if not table.knows_texts]
    found = lazy_tables(block)
    need_of = needs(block, found)
    lazy = [(fact.bit, fact.decided, fact.asking, fact.table.ask()) for fact in found]

    def find(facts: Facts, alive: int = full) -> int:
        for fact, get, other in texts:
            alive &= get(facts[fact], other)
        for ask in others:
            alive &= ask(facts)
        first = (alive & -alive).bit_length()
        for bit, decided, asking, ask in lazy:
            need = need_of[first]
            if need < bit:
                break
            if need & bit or _matters(alive, decided, asking):
                alive &= ask(facts)
                first = (alive & -alive).bit_length()
        return rules[first]

    return find


def limited(rules: Sequence[int], before: int) -> int:
    """Return the terms of a block whose rule comes before rule `before`, as a mask."""
    return (1 << bisect_right(rules, before - 1)) - 1


def _matters(alive: int, decided: int, asking: int) -> int:
    """Return the terms alive that ask and come before the first that nothing can refuse any more."""
    settled = alive & decided
    return alive & asking & ((settled & -settled) - 1 if settled else -1)


def _write(source: Source, table: Table | Question) -> None:
    """Add a look-up."""
    if isinstance(table, Question):
        no, yes = (source.name(mask) for mask in table.masks)
        source.line(f"alive &= {yes} if {source.name(table.test)}(facts) else {no}")
        return
    fact = source.name(table.fact)
    if table.knows_texts:
        get, other = table.texts()
        source.line(f"alive &= {source.name(get)}(facts[{fact}], {source.name(other)})")
        return
    source.line(f"value = facts[{fact}]")
    rest = f"{source.name(table.missing)} if value is None else {source.name(table.rest())}(value)"
    if table.knows_numbers:
        starts, spans = source.name(table.starts), source.name(table.spans)
        span = f"{spans}[{source.name(bisect_right)}({starts}, value)]"
        source.line(f"alive &= {span} if value.__class__ is {source.name(int)} else {rest}")
    else:
        false, true = (source.name(mask) for mask in table.bools())
        source.line(f"alive &= {true} if value is True else {false} if value is False else {rest}")


def _write_memo(source: Source, texts: Sequence[Table]) -> None:
    """Add the look-ups of several tables of texts at once."""
    lookups = [table.texts() for table in texts]
    memo: dict[tuple[Value, ...], int] = {}

    def combine(values: tuple[Value, ...]) -> int:
        mask = -1
        for value, (get, other) in zip(values, lookups, strict=True):
            mask &= get(value, other)
        if len(memo) >= _MEMO_ENTRIES:
            memo.clear()
        memo[values] = mask
        return mask

    source.line(f"values = {source.name(itemgetter(*(table.fact for table in texts)))}(facts)")
    source.line(f"known = {source.name(memo.get)}(values)")
    source.line(f"alive &= {source.name(combine)}(values) if known is None else known")
