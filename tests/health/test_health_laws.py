"""Laws that hold under hostile schedules: late, twice, out of order, clock backwards, absurd numbers."""

from __future__ import annotations

import pytest
from health_programs import program
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from runtime.health.breaker import LONGEST_PAUSE_S, PROBE_LEASE_S
from runtime.health.clock import LATE_S
from runtime.health.endpoint import LONGEST_RETRY_AFTER_S, PERMIT_LEASE_S, Permit
from runtime.health.health import Health

LIMITS = (None, 2, 1)
ENDPOINTS = st.integers(0, len(LIMITS) - 1)
NAMES = ("ttft.p50", "ttft.p95", "speed", "errors", "inflight", "queue")
BOUND_S = max(LONGEST_PAUSE_S * 2, PROBE_LEASE_S, LONGEST_RETRY_AFTER_S, PERMIT_LEASE_S)

steps = st.one_of(
    st.floats(0.0, 5.0),
    st.floats(0.0, 2000.0),
    st.floats(-5.0, 0.0),
    st.floats(-1e6, 1e6),
    st.just(1e18),
    st.just(-1e18),
)
numbers = st.one_of(st.none(), st.floats(0.0, 30.0), st.floats())
kinds = st.sampled_from(["429", "5xx", "timeout", "connect", "lost", "cut", "empty", "malformed"])


class Endings(RuleBasedStateMachine):
    """Permits begun and ended in any order at any time; the model counts what is in flight."""

    permits = Bundle("permits")
    ended = Bundle("ended")

    @initialize(start_s=st.floats(-1e9, 1e9))
    def start(self, start_s: float) -> None:
        self.health = Health(program(LIMITS))
        self.now_s = start_s
        self.open: dict[Permit, int] = {}
        self.ttfts: list[list[float]] = [[] for _ in LIMITS]
        self.begun_long_ago = False

    @rule(step_s=steps)
    def time_passes(self, step_s: float) -> None:
        self.now_s += step_s
        self.begun_long_ago |= abs(step_s) >= 5.0

    @rule(target=permits, endpoint=ENDPOINTS)
    def begin(self, endpoint: int) -> Permit:
        was_in_service = self.health.at(self.now_s).in_service(endpoint)
        mode = self.health.snapshot(self.now_s)[endpoint]["why_not"]
        permit = self.health.begin(endpoint, self.now_s)
        self.open[permit] = endpoint
        if not was_in_service and mode == "probing":
            assert not self.health.at(self.now_s).in_service(endpoint), "a probe is in flight: no second one is invited"
        return permit

    @rule(
        target=ended,
        permit=consumes(permits),
        ttft_s=numbers,
        tokens=st.one_of(st.none(), st.integers(-5, 10**6)),
        duration_s=numbers,
    )
    def success(self, permit: Permit, ttft_s: float | None, tokens: int | None, duration_s: float | None) -> Permit:
        if ttft_s is not None and 0.0 < ttft_s < float("inf"):
            self.ttfts[self.open[permit]].append(ttft_s)
        permit.success(self.now_s, ttft_s, tokens, duration_s)
        self.open.pop(permit)
        return permit

    @rule(target=ended, permit=consumes(permits), kind=kinds, retry_after_s=numbers)
    def failure(self, permit: Permit, kind: str, retry_after_s: float | None) -> Permit:
        endpoint = self.open.pop(permit)
        before = self.health.snapshot(self.now_s)[endpoint]
        permit.failure(self.now_s, kind, retry_after_s)
        after = self.health.snapshot(self.now_s)[endpoint]
        if before["why_not"] in ("cooling down", "breaker open"):
            assert float(after["back_in_s"] or 0.0) >= float(before["back_in_s"] or 0.0) - 0.01, (
                "deadlines only move out"
            )
        return permit

    @rule(target=ended, permit=consumes(permits))
    def ignore(self, permit: Permit) -> Permit:
        permit.ignore(self.now_s)
        self.open.pop(permit)
        return permit

    @rule(permit=ended, way=st.sampled_from(["success", "failure", "ignore"]))
    def end_again(self, permit: Permit, way: str) -> None:
        before = self.health.snapshot(self.now_s)
        if way == "success":
            permit.success(self.now_s, 1.0, 10, 2.0)
        elif way == "failure":
            permit.failure(self.now_s, "5xx", 60.0)
        else:
            permit.ignore(self.now_s)
        assert self.health.snapshot(self.now_s) == before

    @rule(later_s=st.floats(0.0, 1e12))
    def reading_changes_nothing(self, later_s: float) -> None:
        before = self.health.snapshot(self.now_s)
        state = self.health.at(self.now_s + later_s)
        for endpoint in range(len(LIMITS)):
            state.in_service(endpoint)
            for name in NAMES:
                state.measured(endpoint, name)
        self.health.snapshot(self.now_s + later_s)
        assert self.health.snapshot(self.now_s) == before

    @rule(endpoint=ENDPOINTS)
    def it_comes_back_and_forgets(self, endpoint: int) -> None:
        """On a copy of time: begin at another endpoint so that a clock set back is noticed, then only wait."""
        self.health.begin((endpoint + 1) % len(LIMITS), self.now_s).ignore(self.now_s)
        if abs(self.now_s) > 1e15:
            return  # adding seconds to such a stamp does not change it
        later = self.health.at(self.now_s + BOUND_S + LATE_S)
        assert later.in_service(endpoint)
        assert later.measured(endpoint, "inflight") == 0.0
        forgotten = self.health.at(self.now_s + 80_000.0)
        assert [forgotten.measured(endpoint, name) for name in ("ttft.p50", "ttft.p95", "speed", "errors")] == [
            None
        ] * 4

    @invariant()
    def counts_and_measures_make_sense(self) -> None:
        state = self.health.at(self.now_s)
        for endpoint in range(len(LIMITS)):
            inflight = state.measured(endpoint, "inflight")
            assert inflight is not None
            assert 0 <= inflight <= sum(1 for e in self.open.values() if e == endpoint)
            if not self.begun_long_ago:
                assert inflight == sum(1 for e in self.open.values() if e == endpoint)
            assert state.load(endpoint) >= 0.0
            errors, speed = state.measured(endpoint, "errors"), state.measured(endpoint, "speed")
            assert errors is None or 0.0 <= errors <= 1.0 + 1e-9
            assert speed is None or speed > 0.0
            for name in ("ttft.p50", "ttft.p95"):
                value, seen = state.measured(endpoint, name), self.ttfts[endpoint]
                assert value is None or min(seen) * (1 - 1e-9) <= value <= max(seen) * (1 + 1e-9)


class OneProbe(RuleBasedStateMachine):
    """Callers who only go where the endpoint is in service: after an opening at most one goes at a time."""

    permits = Bundle("permits")

    @initialize()
    def start(self) -> None:
        self.health = Health(program((None,)))
        self.now_s = 0.0
        self.is_open = False
        self.since_opening: dict[Permit, float] = {}
        for _ in range(3):
            self.health.begin(0, 0.0).failure(0.0, "5xx")
        self.is_open = True

    @rule(step_s=st.floats(0.0, 20.0))
    def time_passes(self, step_s: float) -> None:
        self.now_s += step_s

    @rule(target=permits)
    def ask(self) -> Permit | None:
        if not self.health.at(self.now_s).in_service(0):
            return None
        permit = self.health.begin(0, self.now_s)
        if self.is_open:
            live = [begun_s for begun_s in self.since_opening.values() if self.now_s - begun_s < PROBE_LEASE_S]
            assert not live, "two probes in flight"
            self.since_opening[permit] = self.now_s
        return permit

    @rule(permit=consumes(permits), good=st.sampled_from(["success", "failure", "ignore"]))
    def end(self, permit: Permit | None, good: str) -> None:
        if permit is None:
            return
        was_probe = self.since_opening.pop(permit, None) is not None
        if good == "success":
            permit.success(self.now_s, 0.1, 10, 1.0)
        elif good == "failure":
            permit.failure(self.now_s, "lost")
        else:
            permit.ignore(self.now_s)
        if self.is_open and was_probe and good == "success":
            self.is_open = self.health.snapshot(self.now_s)[0]["why_not"] is not None
            self.since_opening.clear()
        elif not self.is_open and self.health.snapshot(self.now_s)[0]["why_not"] == "breaker open":
            self.is_open = True
            self.since_opening.clear()


TestEndings = pytest.mark.slow(Endings.TestCase)
TestEndings.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOneProbe = pytest.mark.slow(OneProbe.TestCase)
TestOneProbe.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
