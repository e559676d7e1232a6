"""A condition as a function of the facts: closures, for guards, limits, `where` and what no table answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from router_dsl.plan import And, Atom, Cond, Named, Not, Or, Range

Value = str | int | float | bool | tuple[str, ...] | None
Facts = Mapping[str, Value]
Test = Callable[[Facts], bool]
Answer = Callable[[Value], bool]


def condition(cond: Cond) -> Test:
    """Return the condition as a function; it answers every mapping that has the facts, and never raises for a value."""
    match cond:
        case Atom():
            return _of_fact(cond.fact, answer(cond))
        case Not(item):
            test = condition(item)
            return lambda facts: not test(facts)
        case And(items):
            tests = tuple(condition(item) for item in items)
            return lambda facts: all(test(facts) for test in tests)
        case Or(items):
            tests = tuple(condition(item) for item in items)
            return lambda facts: any(test(facts) for test in tests)
        case Named(_, item):
            return condition(item)


def _of_fact(fact: str, answers: Answer) -> Test:
    return lambda facts: answers(facts[fact])


def answer(atom: Atom) -> Answer:
    """Return the question as a function of the fact's value; a value of another kind counts as missing."""
    text = atom.value
    match atom.op:
        case "missing":
            return lambda value: value is None
        case "has":
            return bool
        case "is":
            return lambda value: value is True
        case "eq":
            return _among((atom.value,))
        case "ne":
            return _negated(_among((atom.value,)))
        case "in":
            return _among(atom.items)
        case "not in":
            return _negated(_among(atom.items))
        case "contains":
            return lambda value: (value.__class__ is str or value.__class__ is tuple) and text in value
        case "starts":
            return lambda value: isinstance(value, str) and value.startswith(text)  # type: ignore[arg-type]
        case "ends":
            return lambda value: isinstance(value, str) and value.endswith(text)  # type: ignore[arg-type]
        case "matches":
            return _matcher(str(atom.value))
        case "lt" | "le" | "gt" | "ge":
            return _ordered(atom)


@lru_cache(maxsize=1024)
def _matcher(pattern: str) -> Answer:
    import re2  # its import costs 10 ms that plans without patterns need not pay

    # Bytes: the wrapper maps offsets back for `str`, twice the work, and refuses lone surrogates.
    search = re2.compile(pattern.encode()).search
    return lambda value: isinstance(value, str) and search(value.encode("utf-8", "replace")) is not None


def _negated(answers: Answer) -> Answer:
    return lambda value: not answers(value)


def _ordered(atom: Atom) -> Answer:
    bound = atom.value
    if isinstance(bound, str):
        match atom.op:
            case "lt":
                return lambda value: value.__class__ is str and value < bound
            case "le":
                return lambda value: value.__class__ is str and value <= bound
            case "gt":
                return lambda value: value.__class__ is str and value > bound
            case _:
                return lambda value: value.__class__ is str and value >= bound
    if isinstance(bound, bool) or bound is None:
        return lambda value: False
    match atom.op:
        case "lt":
            return lambda value: value.__class__ in _NUMBERS and value < bound  # type: ignore[operator]
        case "le":
            return lambda value: value.__class__ in _NUMBERS and value <= bound  # type: ignore[operator]
        case "gt":
            return lambda value: value.__class__ in _NUMBERS and value > bound  # type: ignore[operator]
        case _:
            return lambda value: value.__class__ in _NUMBERS and value >= bound  # type: ignore[operator]


_NUMBERS = frozenset((int, float))
"""Classes of numbers; a bool is an int to Python, never to a policy."""


def _among(items: tuple[Range | str | int | float | bool | None, ...]) -> Answer:
    """Return membership in a list of values and ranges."""
    texts = frozenset(item for item in items if isinstance(item, str))
    if len(texts) == len(items):
        if len(items) == 1:
            (only,) = texts
            return lambda value: value == only
        return lambda value: value in texts
    bools = tuple(item for item in items if isinstance(item, bool))
    numbers = frozenset(item for item in items if item.__class__ in _NUMBERS)
    ranges = tuple((item.low, item.high) for item in items if isinstance(item, Range))
    text_ranges = tuple((low, high) for low, high in ranges if isinstance(low, str) and isinstance(high, str))
    number_ranges = tuple(
        (low, high) for low, high in ranges if low.__class__ in _NUMBERS and high.__class__ in _NUMBERS
    )

    def among(value: Value) -> bool:
        if isinstance(value, str):
            return value in texts or any(low <= value <= high for low, high in text_ranges)
        if isinstance(value, bool):
            return value in bools
        if isinstance(value, int | float):
            return value in numbers or any(low <= value <= high for low, high in number_ranges)  # type: ignore[operator]
        return False

    return among
