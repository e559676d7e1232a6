"""Which alternatives a rule has, and when they are too many."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from router_dsl.compile.build import build, refusals
from router_dsl.compile.terms import MOST_TERMS, CompileError, count_ways, plain, terms
from router_dsl.interpret import holds
from router_dsl.plan import And, Atom, Cond, Named, Not, Or
from router_dsl.strategies import conditions, policy_of, program_of


def ask(fact: str, value: str) -> Atom:
    return Atom(fact, "eq", value, (), f"{fact} == {value}")


def ways(cond: Cond) -> int:
    return len(terms(0, policy_of([cond, None]).rules[0]))


def wide(width: int) -> Cond:
    return And(tuple(Or((ask(f"a{number}", "x"), ask(f"b{number}", "x"))) for number in range(width)))


A, B, C = ask("a", "x"), ask("b", "x"), ask("c", "x")


@pytest.mark.parametrize(
    ("cond", "expected"),
    [
        (A, 1),
        (And((A, B)), 1),
        (Or((A, B)), 2),
        (Or((A, ask("a", "y"), ask("a", "z"))), 1),
        (Not(And((A, B))), 2),
        (Not(Or((A, B))), 1),
        (Not(And((A, ask("a", "y")))), 1),
        (And((Or((A, B)), Or((B, C)))), 4),
        (Or((A, A, B)), 2),
        (Named("n", Or((A, Named("m", B)))), 2),
        (Not(Named("n", Not(Named("m", Or((A, B)))))), 2),
        (And((Or((A, ask("a", "y"))), Or((B, ask("b", "y"))))), 1),
        (wide(8), 256),
    ],
)
def test_a_rule_has_an_alternative_for_each_choice_between_facts(cond: Cond, expected: int) -> None:
    assert ways(cond) == expected


def test_a_rule_with_too_many_alternatives_is_refused_with_what_to_do() -> None:
    rule = policy_of([wide(9), None]).rules[0]
    with pytest.raises(CompileError) as caught:
        terms(0, rule)
    error = caught.value
    assert (error.code, error.file, error.line, error.label) == ("E601", "main.route", 1, "r0")
    assert error.message == f"`r0` can hold in 512 different ways, and a rule may have {MOST_TERMS}"
    assert "split the rule" in error.help
    with pytest.raises(CompileError):
        build(program_of(policy_of([wide(9), None])), "")


def test_a_rule_with_a_great_many_alternatives_is_refused_at_once() -> None:
    rule = policy_of([wide(300), None]).rules[0]
    with pytest.raises(CompileError, match="more than a billion"):
        terms(0, rule)


def test_every_rule_that_is_refused_is_found() -> None:
    policy = policy_of([wide(9), A, wide(10), None])
    found = []
    for index, rule in enumerate(policy.rules):
        try:
            terms(index, rule)
        except CompileError as error:
            found.append(error.label)
    assert found == ["r0", "r2"]
    assert refusals(program_of(policy_of([A, None])), []) == []


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(conditions(depth=4))
def test_plain_conditions_mean_the_same(cond: Cond) -> None:
    assert count_ways(plain(cond)) >= 1
    for value in (None, "a", "ab", 0, 1, 8000, True):
        facts = dict.fromkeys(_facts(cond), value)
        assert holds(plain(cond), facts) == holds(cond, facts)


def _facts(cond: Cond) -> list[str]:
    from router_dsl.compile.terms import facts_of

    return sorted(facts_of(cond))
