"""Every decision of the engine is the interpreter's, over generated policies and requests at their edges."""

from __future__ import annotations

import pytest
from differential import disagreements, engines, sampled
from hypothesis import given, settings
from hypothesis import strategies as st

from router_dsl import interpret
from router_dsl.compile import layout
from router_dsl.interpret import holds
from router_dsl.strategies import conditions, facts, policy_of, program_of, programs
from runtime.decision.engine import condition

REQUESTS = 100


def check_seeds(seeds: range) -> None:
    for seed in seeds:
        policy, requests = sampled(seed, requests=REQUESTS)
        for request, meant, decided in disagreements(policy, requests):
            pytest.fail(f"seed {seed}: rule {meant} is meant, rule {decided} decides {request}")


@pytest.mark.slow
def test_decides_as_the_rules_do() -> None:
    check_seeds(range(200))


@pytest.mark.slow
def test_decides_as_the_rules_do_through_switches_and_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "BLOCK_TERMS", 8)
    check_seeds(range(160, 320))


@pytest.mark.long
def test_decides_as_the_rules_do_at_length() -> None:
    check_seeds(range(10_000, 15_000))


@pytest.mark.long
@pytest.mark.parametrize("terms", [2, 5, 16, 64, 100])
def test_decides_as_the_rules_do_through_blocks_of_any_size(terms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "BLOCK_TERMS", terms)
    check_seeds(range(terms * 100_000, terms * 100_000 + 1_000))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_decides_as_the_rules_do_and_shrinks_when_not(data: st.DataObject) -> None:
    program = data.draw(programs(most_rules=4))
    forms = engines(program)
    for request in data.draw(st.lists(facts(program), min_size=5, max_size=5)):
        meant = interpret.decide(program.policies[0], request)
        assert [decide(request) for decide in forms] == [meant, meant]


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_condition_compiled_holds_when_the_condition_does(data: st.DataObject) -> None:
    cond = data.draw(conditions())
    test = condition(cond)
    for request in data.draw(st.lists(facts(program_of(policy_of([cond, None]))), min_size=5, max_size=5)):
        assert bool(test(request)) == holds(cond, request)
