"""What is drawn for property tests: requests that decode, facts at the edges, policies that compile."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, find, given, settings

from router_dsl import interpret
from router_dsl.compile.build import build
from router_dsl.plan import Atom, Program
from router_dsl.strategies import facts, policy_of, program_of, programs, requests

LONG = Atom("prompt.tokens", "gt", 8000, (), "prompt.tokens > 8k")
TRIAL = Atom("header.x-plan", "eq", "trial", (), "header.x-plan == trial")
PROGRAM = program_of(policy_of([LONG, TRIAL, None]))


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(programs())
def test_every_program_drawn_compiles(program: Program) -> None:
    assert set(build(program, "").trees) == {"main"}


@settings(max_examples=100, deadline=None)
@given(facts(PROGRAM))
def test_facts_drawn_are_those_the_policy_asks(drawn: dict[str, object]) -> None:
    assert set(drawn) == {"prompt.tokens", "header.x-plan"}


@pytest.mark.parametrize("rule", [0, 1, 2])
def test_facts_drawn_reach_every_rule(rule: int) -> None:
    policy = PROGRAM.policies[0]
    assert find(facts(PROGRAM), lambda drawn: interpret.decide(policy, drawn) == rule)


@pytest.mark.parametrize("value", [8000, 8001, None])
def test_facts_drawn_stand_on_both_sides_of_a_bound(value: int | None) -> None:
    assert find(facts(PROGRAM), lambda drawn: drawn["prompt.tokens"] == value)["prompt.tokens"] == value


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests(PROGRAM))
def test_requests_drawn_are_what_explain_takes(request: dict[str, object]) -> None:
    assert set(request) == {"path", "headers", "body", "key", "client_ip", "now", "random"}
    again = json.loads(json.dumps(request))
    assert again == request
    assert again["body"]["messages"][0]["role"] == "user"
    assert all(isinstance(value, str) for value in again["headers"].values())


@pytest.mark.slow
def test_requests_drawn_carry_the_headers_the_policy_asks() -> None:
    found = find(requests(PROGRAM), lambda request: request["headers"].get("x-plan") == "trial")  # type: ignore[attr-defined]
    assert found["path"] == "/v1/chat/completions"
