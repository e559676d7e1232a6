"""What must not change a decision: dead rules, disjoint neighbours swapped, storing and loading, other labels."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from differential import engines, sampled, shipped, some_facts
from hypothesis import given, settings
from hypothesis import strategies as st

from router_dsl import interpret
from router_dsl.compile import layout
from router_dsl.compile.build import build
from router_dsl.plan import And, Cond, Not, Policy, decode, encode
from router_dsl.strategies import Facts, policy_of, program_of, random_condition
from runtime.decision import engine

SEEDS = st.integers(0, 100_000)


def decisions(policy: Policy, requests: list[Facts]) -> list[list[int]]:
    return [[decide(request) for request in requests] for decide in engines(program_of(policy))]


def conds(policy: Policy) -> list[Cond | None]:
    return [rule.when for rule in policy.rules]


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "BLOCK_TERMS", 32)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(SEEDS, st.data())
def test_a_dead_rule_changes_nothing(seed: int, data: st.DataObject) -> None:
    policy, requests = sampled(seed, requests=30)
    place = data.draw(st.integers(0, len(policy.rules) - 1))
    cond = random_condition(Random(seed), 2, list(requests[0]) or ["tenant"])
    before = conds(policy)
    dead = policy_of([*before[:place], And((cond, Not(cond))), *before[place:]])
    requests = [{**dict.fromkeys(facts_of(dead)), **request} for request in requests]
    shifted = [[rule + (rule >= place) for rule in form] for form in decisions(policy, requests)]
    assert decisions(dead, requests) == shifted


def facts_of(policy: Policy) -> list[str]:
    from router_dsl.compile.terms import facts_of as asked

    return sorted({fact for rule in policy.rules if rule.when is not None for fact in asked(rule.when)})


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(SEEDS, st.data())
def test_disjoint_neighbours_may_swap(seed: int, data: st.DataObject) -> None:
    policy, _ = sampled(seed, requests=0)
    place = data.draw(st.integers(0, len(policy.rules) - 2))
    before = conds(policy)
    one, two = before[place], random_condition(Random(seed), 2)
    assert one is not None
    apart = And((two, Not(one)))
    first, second = [policy_of([*before[:place], *pair, *before[place + 1 :]]) for pair in ((one, apart), (apart, one))]
    requests = some_facts(Random(seed), first, 30)
    swapped = {place: place + 1, place + 1: place}
    assert decisions(second, requests) == [
        [swapped.get(rule, rule) for rule in form] for form in decisions(first, requests)
    ]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_storing_and_loading_changes_nothing(seed: int) -> None:
    policy, requests = sampled(seed, requests=30)
    plan = build(program_of(policy), "00")
    stored = encode(plan)
    assert decode(stored) == plan
    assert encode(decode(stored)) == stored
    direct, loaded = engine.of_tree(plan.trees["main"]), engine.of_tree(decode(stored).trees["main"])
    assert [direct(request) for request in requests] == [loaded(request) for request in requests]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_labels_wording_and_names_change_nothing(seed: int) -> None:
    policy, requests = sampled(seed, requests=30)
    renamed = msgspec.structs.replace(
        policy,
        name="other",
        rules=tuple(
            msgspec.structs.replace(rule, label=f"x{number}", line=1, text="?", file="elsewhere.route")
            for number, rule in enumerate(policy.rules)
        ),
    )
    assert decisions(renamed, requests) == decisions(policy, requests)
    assert shipped(program_of(renamed)).trees["other"] == shipped(program_of(policy)).trees["main"]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_a_rule_decides_only_where_it_holds_and_none_before_it_does(seed: int) -> None:
    policy, requests = sampled(seed, requests=10)
    for request, rule in zip(requests, decisions(policy, requests)[1], strict=True):
        assert interpret.holds(policy.rules[rule].when, request)
        assert not any(interpret.holds(earlier.when, request) for earlier in policy.rules[:rule])
