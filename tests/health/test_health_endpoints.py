"""What single events do to an endpoint: breaker, cool-down, limits, measurements."""

from __future__ import annotations

import pytest
from health_programs import program

from runtime.decision.state import State
from runtime.health import breaker, endpoint
from runtime.health.health import STALE_S, USUAL_CAPACITY, Health

LONGEST_FIRST_PAUSE_S = breaker.FIRST_PAUSE_S * (1 + breaker.JITTER)


def made(*limits: int | None) -> Health:
    return Health(program(limits or (None,)))


def fail(health: Health, now_s: float, kind: str = "5xx", times: int = breaker.FAILURES_IN_A_ROW) -> None:
    for _ in range(times):
        health.begin(0, now_s).failure(now_s, kind)


def succeed(health: Health, now_s: float, ttft_s: float = 0.2) -> None:
    health.begin(0, now_s).success(now_s, ttft_s, 50, 1.2)


def why(health: Health, now_s: float) -> object:
    return health.snapshot(now_s)[0]["why_not"]


def test_nothing_is_known_at_first() -> None:
    state: State = made().at(1.0)
    assert state.in_service(0)
    assert state.load(0) == 0.0
    assert [state.measured(0, name) for name in ("ttft.p50", "ttft.p95", "speed", "errors", "queue")] == [None] * 5
    assert state.measured(0, "inflight") == 0.0
    assert not state.is_over("spend")


def test_a_success_is_measured() -> None:
    health = made()
    for _ in range(3):
        health.begin(0, 10.0).success(11.2, ttft_s=0.2, tokens=50, duration_s=1.2)
    state = health.at(11.2)
    assert state.measured(0, "ttft.p50") == pytest.approx(0.2)
    assert state.measured(0, "ttft.p95") == pytest.approx(0.2)
    assert state.measured(0, "speed") == pytest.approx(50.0)
    assert state.measured(0, "errors") == 0.0


def test_an_answer_of_unknown_speed_says_nothing_about_speed() -> None:
    health = made()
    health.begin(0, 1.0).success(2.0)
    health.begin(0, 1.0).success(2.0, ttft_s=1.0, tokens=20, duration_s=1.0)
    health.begin(0, 1.0).success(2.0, ttft_s=0.0, tokens=1, duration_s=1.0)
    health.begin(0, 1.0).success(2.0, ttft_s=float("nan"), tokens=9, duration_s=float("inf"))
    assert health.at(2.0).measured(0, "speed") is None
    assert health.at(2.0).measured(0, "ttft.p50") == pytest.approx(1.0)


def test_one_failure_is_an_anecdote_and_three_are_a_rate() -> None:
    health = made()
    succeed(health, 1.0)
    fail(health, 1.0, times=1)
    assert health.at(1.0).measured(0, "errors") is None
    succeed(health, 1.0)
    assert health.at(1.0).measured(0, "errors") == pytest.approx(1 / 3)


@pytest.mark.parametrize("kind", ["5xx", "timeout", "connect", "lost", "cut", "empty", "malformed", "setup"])
def test_failures_in_a_row_open_and_the_pause_ends_by_itself(kind: str) -> None:
    health = made()
    fail(health, 5.0, kind, times=breaker.FAILURES_IN_A_ROW - 1)
    assert health.at(5.0).in_service(0)
    fail(health, 5.0, kind, times=1)
    assert not health.at(5.0).in_service(0)
    assert why(health, 5.0) == "breaker open"
    assert not health.at(5.0 + breaker.FIRST_PAUSE_S * (1 - breaker.JITTER) - 0.01).in_service(0)
    assert health.at(5.0 + LONGEST_FIRST_PAUSE_S).in_service(0)


def test_a_success_between_failures_keeps_it_closed() -> None:
    health = made()
    for now_s in range(4):
        fail(health, float(now_s), times=breaker.FAILURES_IN_A_ROW - 1)
        succeed(health, float(now_s))
        succeed(health, float(now_s))
        succeed(health, float(now_s))
    assert health.at(4.0).in_service(0)


def test_half_of_enough_attempts_failing_opens() -> None:
    health = made()
    for _ in range(5):
        assert health.at(1.0).in_service(0)
        succeed(health, 1.0)
        fail(health, 1.0, times=1)
    assert not health.at(1.0).in_service(0)


def test_exactly_one_probe_after_the_pause() -> None:
    health = made()
    fail(health, 5.0)
    probe = health.begin(0, 8.0)
    assert not health.at(8.0).in_service(0)
    assert why(health, 8.0) == "probing"
    stray = health.begin(0, 8.0)
    stray.failure(8.1, "5xx")
    assert why(health, 8.1) == "probing"
    probe.success(8.5)
    assert health.at(8.5).in_service(0)


def test_a_failed_probe_doubles_the_pause_up_to_the_longest() -> None:
    health, now_s, pauses = made(), 5.0, []
    fail(health, now_s)
    for _ in range(9):
        pauses.append(float(health.snapshot(now_s)[0]["back_in_s"] or 0.0))
        now_s += pauses[-1] + 0.01
        health.begin(0, now_s).failure(now_s, "timeout")
    for index, pause_s in enumerate(pauses):
        nominal_s = min(breaker.FIRST_PAUSE_S * 2**index, breaker.LONGEST_PAUSE_S)
        assert nominal_s * (1 - breaker.JITTER) <= pause_s + 0.001
        assert pause_s - 0.001 <= nominal_s * (1 + breaker.JITTER)


def test_pauses_start_small_again_after_a_good_minute() -> None:
    health = made()
    fail(health, 0.0)
    health.begin(0, 3.0).failure(3.0, "5xx")
    health.begin(0, 8.0).success(8.0)
    fail(health, 10.0)
    assert not health.at(10.0 + LONGEST_FIRST_PAUSE_S).in_service(0), "relapse within the minute"
    health.begin(0, 30.0).success(30.0)
    fail(health, 31.0 + breaker.FORGIVEN_AFTER_S)
    assert health.at(31.0 + breaker.FORGIVEN_AFTER_S + LONGEST_FIRST_PAUSE_S).in_service(0)


def test_a_probe_without_a_verdict_lets_the_next_one_through() -> None:
    health = made()
    fail(health, 5.0)
    probe = health.begin(0, 8.0)
    assert not health.at(8.1).in_service(0)
    probe.ignore(8.1)
    assert health.at(8.1).in_service(0)


def test_a_probe_that_never_ends_blocks_for_its_lease_only() -> None:
    health = made()
    fail(health, 5.0)
    lost = health.begin(0, 8.0)
    assert not health.at(8.0 + breaker.PROBE_LEASE_S - 0.1).in_service(0)
    assert health.at(8.0 + breaker.PROBE_LEASE_S).in_service(0)
    health.begin(0, 70.0).success(70.5)
    lost.failure(71.0, "timeout")
    assert health.at(71.0).in_service(0)


def test_stragglers_of_an_outage_neither_close_nor_reopen() -> None:
    health = made()
    old = [health.begin(0, 1.0) for _ in range(6)]
    fail(health, 5.0)
    old[0].success(5.1)
    assert why(health, 5.1) == "breaker open"
    health.begin(0, 8.0).success(8.0)
    for permit in old[1:]:
        permit.failure(8.1, "timeout")
    assert health.at(8.1).in_service(0)


def test_a_last_resort_attempt_that_works_closes_the_breaker() -> None:
    health = made()
    fail(health, 5.0)
    health.begin(0, 5.5).success(5.9)
    assert health.at(5.9).in_service(0)


def test_last_resort_failures_do_not_extend_the_pause() -> None:
    health = made()
    fail(health, 5.0)
    before = health.snapshot(5.5)[0]["back_in_s"]
    fail(health, 5.5, times=10)
    assert health.snapshot(5.5)[0]["back_in_s"] == before


def test_429_cools_down_without_touching_breaker_or_error_rate() -> None:
    health = made()
    fail(health, 5.0, "429", times=50)
    assert why(health, 5.0) == "cooling down"
    assert health.at(5.0).measured(0, "errors") is None
    assert health.at(5.0 + endpoint.FIRST_COOL_S).in_service(0)


def test_refusals_that_come_straight_back_cool_down_longer() -> None:
    health, now_s, pauses = made(), 5.0, []
    for _ in range(7):
        health.begin(0, now_s).failure(now_s + 0.01, "429")
        now_s += 0.01
        pauses.append(float(health.snapshot(now_s)[0]["back_in_s"] or 0.0))
        now_s += pauses[-1]
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 30, 30], abs=0.01)
    succeed(health, now_s)
    health.begin(0, now_s + 1).failure(now_s + 1, "429")
    assert health.snapshot(now_s + 1)[0]["back_in_s"] == pytest.approx(1)


@pytest.mark.parametrize("kind", ["429", "5xx"])
def test_retry_after_is_honoured_and_a_shorter_one_does_not_undo_it(kind: str) -> None:
    health = made()
    health.begin(0, 5.0).failure(5.0, kind, retry_after_s=60.0)
    health.begin(0, 6.0).failure(6.0, kind, retry_after_s=1.0)
    assert not health.at(64.9).in_service(0)
    assert health.at(65.0).in_service(0)


@pytest.mark.parametrize("absurd_s", [1e9, float("inf")])
def test_retry_after_is_bounded(absurd_s: float) -> None:
    health = made()
    health.begin(0, 5.0).failure(5.0, "429", retry_after_s=absurd_s)
    assert health.at(5.0 + endpoint.LONGEST_RETRY_AFTER_S).in_service(0)


@pytest.mark.parametrize("none", [0.0, -5.0, float("nan")])
def test_a_senseless_retry_after_counts_as_unsaid(none: float) -> None:
    health = made()
    health.begin(0, 5.0).failure(5.0, "429", retry_after_s=none)
    assert health.snapshot(5.0)[0]["back_in_s"] == endpoint.FIRST_COOL_S


def test_a_probe_that_is_refused_is_no_verdict() -> None:
    health = made()
    fail(health, 5.0)
    health.begin(0, 8.0).failure(8.0, "429", retry_after_s=3.0)
    assert why(health, 8.0) == "cooling down"
    assert health.at(11.0).in_service(0)
    health.begin(0, 11.0)
    assert why(health, 11.0) == "probing"


def test_a_full_provider_is_out_of_service_until_a_slot_is_free() -> None:
    health = made(2)
    first, _ = health.begin(0, 1.0), health.begin(0, 1.0)
    assert why(health, 1.0) == "full"
    assert not health.at(1.0).in_service(0)
    assert health.at(1.0).load(0) == 1.0
    first.ignore(2.0)
    assert health.at(2.0).in_service(0)
    assert health.at(2.0).load(0) == 0.5


def test_a_permit_that_never_ends_gives_its_slot_back() -> None:
    health = made(1)
    health.begin(0, 1.0)
    assert not health.at(1.0 + endpoint.PERMIT_LEASE_S - 1).in_service(0)
    assert health.at(1.0 + endpoint.PERMIT_LEASE_S).in_service(0)
    assert health.at(1.0 + endpoint.PERMIT_LEASE_S).measured(0, "inflight") == 0.0


def test_an_unlimited_provider_is_never_full() -> None:
    health = made()
    for _ in range(2 * USUAL_CAPACITY):
        health.begin(0, 1.0)
    assert health.at(1.0).in_service(0)
    assert health.at(1.0).load(0) == 2.0


def test_a_second_end_changes_nothing() -> None:
    health = made(3)
    permit = health.begin(0, 1.0)
    permit.success(2.0, 0.5, 10, 1.0)
    before = health.snapshot(2.0)
    permit.failure(2.0, "5xx", 500.0)
    permit.ignore(2.0)
    permit.success(2.0, 9.0, 10, 10.0)
    assert health.snapshot(2.0) == before


def test_a_clock_set_back_neither_freezes_nor_extends_a_pause() -> None:
    health = made(None, None)
    fail(health, 10_000.0)
    health.begin(1, 100.0).success(100.0)
    assert not health.at(100.0).in_service(0)
    assert health.at(100.0 + LONGEST_FIRST_PAUSE_S).in_service(0)


def test_instances_probe_at_different_times() -> None:
    pauses = set()
    for seed in range(20):
        health = Health(program((None,)), seed)
        fail(health, 5.0)
        pauses.add(health.snapshot(5.0)[0]["back_in_s"])
    assert len(pauses) > 15


def test_the_snapshot_names_every_endpoint() -> None:
    health = made(None, 4)
    fail(health, 5.0)
    first, second = health.snapshot(5.0)
    assert (first["endpoint"], first["in_service"], first["why_not"]) == ("m@p0", False, "breaker open")
    assert (second["endpoint"], second["in_service"], second["why_not"]) == ("m@p1", True, None)
    assert second["inflight"] == 0


def test_an_endpoint_that_nobody_asked_for_long_is_stale() -> None:
    health = made(None, None)
    assert health.at(1.0).is_stale(0)
    permit = health.begin(0, 10.0)
    assert not health.at(10.0 + STALE_S - 0.1).is_stale(0)
    assert health.at(10.0).is_stale(1)
    permit.success(12.0, 0.5)
    assert health.at(10.0 + STALE_S).is_stale(0)


def test_speed_is_tokens_over_time_and_not_the_mean_of_speeds() -> None:
    health = made()
    for tokens, generation_s in ((10, 2.0), (30, 3.0)):
        health.begin(0, 1.0).success(1.0, 0.5, tokens, 0.5 + generation_s)
    assert health.at(1.0).measured(0, "speed") == pytest.approx(40 / 5)


def test_a_wish_of_less_than_a_second_is_honoured() -> None:
    health = made()
    health.begin(0, 1.0).failure(1.0, "5xx", 0.5)
    assert not health.at(1.4).in_service(0)
    assert health.at(1.5).in_service(0)


def test_it_is_back_at_the_very_instant_that_was_promised() -> None:
    health = made()
    health.begin(0, 1.0).failure(1.0, "429", 2.0)
    assert why(health, 2.999) == "cooling down"
    told = health.snapshot(3.0)[0]
    assert (told["why_not"], told["in_service"], told["back_in_s"]) == (None, True, None)


def test_refusals_of_a_crowd_leave_a_limit_behind() -> None:
    health = made()
    permits = [health.begin(0, 1.0) for _ in range(40)]
    permits[-1].failure(1.0, "429")
    for permit in permits[:2]:
        permit.ignore(1.0)
    later_s = 1.0 + endpoint.FIRST_COOL_S
    assert why(health, later_s) == "full", "36 of its 40 are the limit, and 37 are in flight"
    assert health.snapshot(later_s)[0]["back_in_s"] == 0.0
    assert health.snapshot(later_s)[0]["takes"] == 36
    permits[2].ignore(1.0)
    permits[3].ignore(1.0)
    assert health.at(later_s).in_service(0)


def test_the_97th_and_the_99th_percentile_of_many_are_apart() -> None:
    health = made()
    for number in range(100):
        succeed(health, 1.0, 0.1 if number < 97 else 3.0)
    assert health.at(1.0).measured(0, "ttft.p95") == pytest.approx(0.1, rel=0.1)
    assert health.at(1.0).measured(0, "ttft.p99") == pytest.approx(3.0, rel=0.1)
    assert health.at(1.0).measured(0, "ttft.p50") == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("is_stream", [True, False], ids=["streams", "whole"])
def test_first_tokens_of_streams_tell_of_a_crowd_and_whole_answers_do_not(is_stream: bool) -> None:
    health, now_s = made(), 0.0

    def ask(times: int, ttft_s: float) -> None:
        nonlocal now_s
        for _ in range(times):
            permit = health.begin(0, now_s)
            permit.hear(now_s + ttft_s, is_stream=is_stream)
            permit.hear(now_s + 50.0, is_stream=is_stream)  # its first word was said before
            permit.ignore(now_s + ttft_s)
            now_s += ttft_s + 0.05

    others = [health.begin(0, 0.0) for _ in range(10)]
    ask(300, 0.05)
    others += [health.begin(0, now_s) for _ in range(40)]
    for permit in others:
        permit.hear(now_s, is_stream=False)  # nothing is silent here
    ask(80, 0.4)
    takes = health.snapshot(now_s)[0]["takes"]
    assert (takes is None) == (not is_stream)
    if takes is not None:
        assert 10 <= int(takes) < 50
        assert health.at(now_s).load(0) == 50 / health._endpoints[0].crowd.limit(now_s)


def test_times_that_cannot_be_are_not_measured() -> None:
    health = made()
    for ttft_s in (float("inf"), 0.0, -1.0, float("nan")):
        health.begin(0, 1.0).success(1.0, ttft_s)
    assert health.at(1.0).measured(0, "ttft.p50") is None
    assert health.at(1.0).measured(0, "errors") == 0.0


def test_an_heir_goes_on_with_the_time_of_its_forebear() -> None:
    health = made()
    health.begin(0, 100.0).failure(100.0, "429", 5.0)
    heir = Health(program((None,)), heir_of=health)
    assert not heir.at(104.9).in_service(0)
    assert heir.at(105.1).in_service(0)


def test_a_report_counts_for_the_load_where_it_is_more_than_our_own_and_for_a_while() -> None:
    health = made()
    health.report(0, 30.0, 2.0, 1.0)
    assert health.at(1.0).load(0) == 32 / USUAL_CAPACITY
    permits = [health.begin(0, 1.0) for _ in range(40)]
    assert health.at(1.0).load(0) == 40 / USUAL_CAPACITY
    for permit in permits:
        permit.ignore(1.0)
    last_s = 1.0 + endpoint.REPORT_LASTS_S
    assert health.at(last_s - 0.01).measured(0, "queue") == 30.0
    assert (health.at(last_s).measured(0, "queue"), health.at(last_s).load(0)) == (None, 0.0)
    health.report(0, None, 3.0, last_s)
    assert (health.at(last_s).measured(0, "queue"), health.at(last_s).load(0)) == (None, 3 / USUAL_CAPACITY)


def test_pauses_of_many_instances_spread_evenly_to_either_side() -> None:
    pauses = []
    for seed in range(400):
        health = Health(program((None,)), seed=seed)
        fail(health, 0.0)
        pauses.append(float(str(health.snapshot(0.0)[0]["back_in_s"])) / breaker.FIRST_PAUSE_S)
    assert min(pauses) == pytest.approx(1 - breaker.JITTER, abs=0.02)
    assert max(pauses) == pytest.approx(1 + breaker.JITTER, abs=0.02)
    assert sum(pauses) / len(pauses) == pytest.approx(1.0, abs=0.02)


def test_what_opened_a_breaker_is_forgiven_once_a_probe_has_succeeded() -> None:
    health = made()
    fail(health, 0.0)
    later_s = LONGEST_FIRST_PAUSE_S + 0.1
    succeed(health, later_s)
    fail(health, later_s, times=breaker.FAILURES_IN_A_ROW - 1)
    assert health.at(later_s).in_service(0)
    fail(health, later_s, times=1)
    assert not health.at(later_s).in_service(0)


def test_an_answer_without_an_end_has_no_speed() -> None:
    health = made()
    health.begin(0, 1.0).success(1.0, 0.5, 9, float("inf"))
    assert health.at(1.0).measured(0, "speed") is None
