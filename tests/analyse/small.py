"""Small policies and every request there is to them: what the analyses say is counted out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce
from itertools import product
from operator import and_, or_
from random import Random

import msgspec

from router_dsl.interpret import holds
from router_dsl.plan import And, Atom, Cond, FactDecl, Named, Not, Op, Or, Program, Range, Scalar
from router_dsl.strategies import policy_of, program_of

Point = dict[str, Scalar | None]

VALUES: dict[str, Sequence[Scalar | None]] = {
    "user": (None, "", "a", "b", "ab", "x"),
    "turns": (None, -1, 0, 0.5, 1, 1.5, 2, 2.5, 3, 4),
    "stream": (None, False, True),
    "plan": (None, "trial", "pro"),
}
"""Every class of every question has a value here."""

WORDS = tuple("".join(letters) for size in range(5) for letters in product("abx", repeat=size))
TEXTS: dict[str, Sequence[Scalar | None]] = {
    "user": (None, *WORDS),
    "stream": (None, False, True),
    "plan": (None, "trial", "pro"),
}
"""The same where texts are asked for their parts: `a`, `b` and `ab`, at the start, at the end or anywhere."""


def all_points(values: dict[str, Sequence[Scalar | None]]) -> list[Point]:
    return [dict(zip(values, some, strict=True)) for some in product(*values.values())]


POINTS, TEXT_POINTS = all_points(VALUES), all_points(TEXTS)

PLAN = FactDecl("plan", "one of", ("trial", "pro"), "key.plan")

_WORDS = ("a", "b", "")
_NUMBERS = (0, 1, 2, 3)


def atom(fact: str, op: Op, value: Scalar | None = None, *items: Range | Scalar) -> Atom:
    return Atom(fact, op, value, items, f"{fact} {op} {value if value is not None else list(items)}")


def random_atom(random: Random, *, texts: bool) -> Atom:
    """Return a question about one of the facts; with `texts` also what no table answers."""
    fact = random.choice(list(TEXTS if texts else VALUES))
    if random.random() < 0.15:
        return atom(fact, random.choice(("has", "missing")))
    if fact == "stream":
        return atom(fact, "is") if random.random() < 0.6 else atom(fact, "eq", random.random() < 0.5)
    if fact == "turns":
        if random.random() < 0.5:
            return atom(fact, random.choice(("lt", "le", "gt", "ge", "eq", "ne")), random.choice(_NUMBERS))
        low, high = sorted(random.choices(_NUMBERS, k=2))
        return atom(fact, random.choice(("in", "not in")), None, Range(low, high), random.choice(_NUMBERS))
    words = ("trial", "pro") if fact == "plan" else _WORDS
    if texts and fact == "user" and random.random() < 0.4:
        return atom(fact, random.choice(("contains", "ends", "starts", "starts")), random.choice(("a", "b", "ab")))
    if random.random() < 0.5:
        return atom(fact, random.choice(("eq", "ne")), random.choice(words))
    return atom(fact, random.choice(("in", "not in")), None, *random.choices(words, k=2))


def random_cond(random: Random, depth: int, *, texts: bool = False) -> Cond:
    if depth == 0 or random.random() < 0.2:
        return random_atom(random, texts=texts)
    shape = random.random()
    if shape < 0.15:
        return Not(random_cond(random, depth - 1, texts=texts))
    if shape < 0.2:
        return Named("named", random_cond(random, depth - 1, texts=texts))
    items = tuple(random_cond(random, depth - 1, texts=texts) for _ in range(random.choice((2, 2, 3))))
    return And(items) if shape < 0.65 else Or(items)


def random_program(seed: int, *, texts: bool = False) -> Program:
    random = Random(seed)
    conds = [random_cond(random, random.choice((0, 1, 1, 2)), texts=texts) for _ in range(random.randint(1, 6))]
    return with_plan(program_of(policy_of([*conds, None])))


def with_plan(program: Program) -> Program:
    return msgspec.structs.replace(program, facts=(PLAN,))


@lru_cache(maxsize=8192)
def truth(cond: Cond | None, *, texts: bool = False) -> int:
    """Return of which points a condition holds, one bit each."""
    points = TEXT_POINTS if texts else POINTS
    if cond is None:
        return (1 << len(points)) - 1
    match cond:
        case Not(item):
            return truth(None, texts=texts) & ~truth(item, texts=texts)
        case Named(_, item):
            return truth(item, texts=texts)
        case And(items) | Or(items):
            parts = [truth(item, texts=texts) for item in items]
            return reduce(and_ if isinstance(cond, And) else or_, parts)
        case _:
            return sum(1 << index for index, point in enumerate(points) if holds(cond, point))
