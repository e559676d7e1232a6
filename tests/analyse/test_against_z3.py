"""Larger policies than can be counted out: a theorem prover has to agree about every rule that never decides."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
import z3

from router_dsl.analyse import regions as regions_module
from router_dsl.analyse.regions import regions_of
from router_dsl.analyse.rules import never_deciding
from router_dsl.plan import And, Atom, Cond, FactDecl, Named, Not, Op, Or, Policy, Program, Range
from router_dsl.strategies import policy_of, program_of

TEXTS = {"tenant": 12, "header.x-a": 8, "user": 6}
NUMBERS = ("turns", "tools", "level")
BOOLS = ("stream",)
LEVEL = FactDecl("level", "number", (), "key.level")


def ask(fact: str, op: Op, value: str | int | None = None, *items: Range | str) -> Atom:
    return Atom(fact, op, value, items, "")


def random_atom(random: Random) -> Atom:
    fact = random.choice((*TEXTS, *TEXTS, *NUMBERS, *NUMBERS, *BOOLS))
    if fact in TEXTS:
        words = [f"{fact}-{number}" for number in range(TEXTS[fact])]
        if random.random() < 0.5:
            return ask(fact, random.choice(("eq", "eq", "ne")), random.choice(words))
        return ask(fact, random.choice(("in", "not in")), None, *random.sample(words, random.randint(2, 5)))
    if fact in BOOLS:
        return ask(fact, "is")
    if random.random() < 0.6:
        return ask(fact, random.choice(("lt", "le", "gt", "ge")), random.randint(0, 20))
    low = random.randint(0, 20)
    return ask(fact, random.choice(("in", "not in")), None, Range(low, low + random.randint(0, 8)))


def random_cond(random: Random, depth: int) -> Cond:
    if not depth or random.random() < 0.1:
        return random_atom(random)
    items = tuple(random_cond(random, depth - 1) for _ in range(random.randint(2, 3)))
    shape = random.random()
    return Not(Or(items)) if shape < 0.1 else And(items) if shape < 0.75 else Or(items)


def random_program(seed: int, rules: int) -> Program:
    random = Random(seed)
    conds = [random_cond(random, random.choice((1, 1, 2))) for _ in range(rules)]
    return msgspec.structs.replace(program_of(policy_of([*conds, None])), facts=(LEVEL,))


class Meaning:
    """Conditions as formulas: a fact is there or not, and has a value if it is."""

    def __init__(self) -> None:
        self.there = {fact: z3.Bool(f"there {fact}") for fact in (*TEXTS, *NUMBERS, *BOOLS)}
        self.text = {fact: z3.Int(f"text {fact}") for fact in TEXTS}
        self.number = {fact: z3.Real(fact) for fact in NUMBERS}
        self.bool = {fact: z3.Bool(fact) for fact in BOOLS}

    def of(self, cond: Cond | None) -> z3.BoolRef:
        match cond:
            case None:
                return z3.BoolVal(True)
            case Not(item):
                return z3.Not(self.of(item))
            case Named(_, item):
                return self.of(item)
            case And(items):
                return z3.And(*map(self.of, items))
            case Or(items):
                return z3.Or(*map(self.of, items))
            case Atom():
                return self._atom(cond)

    def _atom(self, atom: Atom) -> z3.BoolRef:
        fact = atom.fact
        if atom.op in ("ne", "not in"):
            positive: Op = "eq" if atom.op == "ne" else "in"
            return z3.Not(self._atom(Atom(fact, positive, atom.value, atom.items, "")))
        if fact in BOOLS:
            return z3.And(self.there[fact], self.bool[fact])
        items = atom.items or (atom.value,)
        if fact in TEXTS:
            found = [self.text[fact] == int(str(item).rpartition("-")[2]) for item in items]
        elif atom.op == "in":
            found = [z3.And(self.number[fact] >= i.low, self.number[fact] <= i.high) for i in items]  # type: ignore[union-attr]
        else:
            value, bound = self.number[fact], atom.value
            found = [{"lt": value < bound, "le": value <= bound, "gt": value > bound, "ge": value >= bound}[atom.op]]
        return z3.And(self.there[fact], z3.Or(*found))


def dead_by_prover(policy: Policy) -> set[int]:
    meaning, solver = Meaning(), z3.Solver()
    dead = set()
    for index, rule in enumerate(policy.rules):
        holds = meaning.of(rule.when)
        solver.push()
        solver.add(holds)
        if solver.check() == z3.unsat:
            dead.add(index)
        solver.pop()
        solver.add(z3.Not(holds))
    return dead


def check_seeds(seeds: range, rules: int) -> int:
    count = 0
    for seed in seeds:
        program = random_program(seed, rules)
        policy = program.policies[0]
        found = list(never_deciding(regions_of(program), policy))
        assert {dead.why for dead in found} <= {"empty", "covered"}, seed
        assert {dead.rule for dead in found} == dead_by_prover(policy), seed
        count += len(found)
    return count


@pytest.mark.slow
def test_a_prover_agrees_which_rules_never_decide() -> None:
    assert check_seeds(range(200), 20) > 60


@pytest.mark.slow
def test_a_prover_agrees_where_the_solver_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router_dsl.analyse.rules.MANY", 0)
    monkeypatch.setattr(regions_module, "STEPS_EACH", 50)
    assert check_seeds(range(1_000, 1_030), 30) > 10


@pytest.mark.long
def test_a_prover_agrees_which_rules_never_decide_at_length() -> None:
    check_seeds(range(10_000, 12_000), 60)
    check_seeds(range(20_000, 20_100), 300)
