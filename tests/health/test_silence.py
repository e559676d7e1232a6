"""An endpoint that has fallen silent is tried after the others, long before any deadline passes."""

from __future__ import annotations

import pytest
from health_programs import program
from hypothesis import given
from hypothesis import strategies as st

from runtime.health.endpoint import Permit
from runtime.health.health import Health
from runtime.health.silence import ENOUGH_WAITING, LEASE_S, LEAST_S, PAUSE_S, Silence

USUAL_S = 0.5
LONG_S = 4 * USUAL_S * 1.1


def known(samples: int = 20) -> Health:
    """Health of an endpoint whose first token usually takes half a second."""
    health = Health(program((None,)))
    for _ in range(samples):
        health.begin(0, 0.0).success(USUAL_S, USUAL_S, 10, 1.0)
    return health


def why(health: Health, now_s: float) -> object:
    return health.snapshot(now_s)[0]["why_not"]


def begun(health: Health, *at_s: float) -> list[Permit]:
    return [health.begin(0, when_s) for when_s in at_s]


def test_two_that_wait_far_longer_than_usual_are_silence() -> None:
    health = known()
    begun(health, 10.0, 10.1, 12.0)
    assert why(health, 10.1 + 1.9) is None
    assert why(health, 10.1 + LONG_S) == "silent"
    assert not health.at(10.1 + LONG_S).in_service(0)
    assert health.at(10.1 + LONG_S).is_well(0)


def test_one_that_waits_is_a_long_prompt() -> None:
    health = known()
    begun(health, 10.0)
    assert why(health, 100.0) is None


def test_what_is_usual_must_be_known() -> None:
    health = known(samples=2)
    begun(health, 10.0, 10.0, 13.9)
    assert why(health, 14.0) is None
    health = known(samples=6)
    begun(health, 10.0, 10.0, 13.9)
    assert why(health, 14.0) == "silent"


@pytest.mark.parametrize("sign", ["stream", "unary", "success"])
def test_any_answer_ends_it(sign: str) -> None:
    health = known()
    one, *_ = begun(health, 10.0, 10.0, 10.0, 12.2)
    at_s = 10.0 + LONG_S + 0.5
    assert why(health, at_s) == "silent"
    if sign == "success":
        one.success(at_s)
    else:
        one.hear(at_s, is_stream=sign == "stream")
    assert why(health, at_s) is None


@pytest.mark.parametrize("end", ["failure", "ignore"])
def test_those_that_ended_do_not_wait(end: str) -> None:
    health = known()
    for permit in begun(health, 10.0, 10.0, 12.2)[:2]:
        if end == "failure":
            permit.failure(12.3, "timeout first token")
        else:
            permit.ignore(12.3)
    assert why(health, 10.0 + LONG_S + 1.0) is None


def test_after_a_pause_one_may_find_out_and_only_one() -> None:
    health = known()
    begun(health, 10.0, 10.0)
    now_s = 10.0 + LONG_S
    assert why(health, now_s) is None, "the last one was sent long enough ago for another"
    begun(health, now_s)
    assert why(health, now_s + 0.01) == "silent"
    assert health.snapshot(now_s + 0.5)[0]["back_in_s"] == pytest.approx(PAUSE_S - 0.5)
    assert why(health, now_s + PAUSE_S) is None


def test_twenty_a_second_to_one_that_hangs_cost_few_before_it_is_known() -> None:
    health = Health(program((None,)))
    for at in range(80):
        health.begin(0, at * 0.05).success(at * 0.05 + 0.002, 0.002, 10, 0.004)
    sent = 0
    for at in range(20):
        now_s = 10.0 + at * 0.05
        if health.at(now_s).in_service(0):
            health.begin(0, now_s)
            sent += 1
    assert sent <= 4


@given(st.lists(st.floats(0.0, 1e4), min_size=1, max_size=30), st.floats(0.0, 10.0))
def test_silence_needs_two_waiting_and_time(asked_s: list[float], usual_s: float) -> None:
    silence, asked_s = Silence(), sorted(asked_s)
    for number, at_s in enumerate(asked_s):
        silence.ask(number, at_s)
        until_s = silence.until_s(usual_s, at_s)
        if until_s > at_s:
            assert silence.waiting >= ENOUGH_WAITING
            assert at_s - asked_s[0] > LEAST_S
    for number in range(len(asked_s)):
        silence.end(number)
    assert silence.waiting == 0


def test_attempts_that_nobody_ends_are_forgotten() -> None:
    silence = Silence()
    for number in range(100):
        silence.ask(number, 0.0)
    silence.ask("later", LEASE_S)
    assert silence.waiting == 1
