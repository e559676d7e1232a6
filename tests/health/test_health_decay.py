"""Decayed percentiles and ratios against the plain definition."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.health.clock import LATE_S, LONGEST_S, Clock
from runtime.health.decay import ENOUGH, HIGHEST_S, LOWEST_S, OCTAVES, PER_OCTAVE, Histogram, Ratio, bucket

HALF_LIFE_S = 120.0
WIDTH = 2 ** (1 / PER_OCTAVE)

durations = st.floats(0.001, 1000.0)
gaps = st.floats(0.0, 1e5)
samples = st.lists(st.tuples(gaps, durations), min_size=1, max_size=60)


def recorded(steps: list[tuple[float, float]]) -> tuple[Histogram, list[tuple[float, float]], float]:
    histogram, at_s, seen = Histogram(HALF_LIFE_S), 0.0, []
    for gap, value in steps:
        at_s += gap
        histogram.add(value, at_s)
        seen.append((at_s, value))
    return histogram, seen, at_s


@given(samples, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_a_percentile_is_within_one_bucket_of_the_weighted_one(steps: list[tuple[float, float]], share: float) -> None:
    histogram, seen, now_s = recorded(steps)
    weighted = sorted((value, 2 ** ((at_s - now_s) / HALF_LIFE_S)) for at_s, value in seen)
    total = sum(weight for _, weight in weighted)
    sums = list(accumulate(weight for _, weight in weighted))
    # Where the cumulated weight meets the share within rounding, either neighbour is right.
    near = [
        v
        for (v, w), s in zip(weighted, sums, strict=True)
        if s >= share * total * (1 - 1e-9) and s - w <= share * total * (1 + 1e-9)
    ]
    found = histogram.quantile(share, now_s)
    assert found is not None
    assert min(near) / WIDTH * (1 - 1e-9) <= found <= max(near) * WIDTH * (1 + 1e-9)


@given(samples, st.floats(0.01, 1.0))
def test_a_percentile_lies_in_the_observed_range(steps: list[tuple[float, float]], share: float) -> None:
    histogram, seen, now_s = recorded(steps)
    values = [value for _, value in seen]
    found = histogram.quantile(share, now_s)
    assert found is not None
    assert min(values) * (1 - 1e-9) <= found <= max(values) * (1 + 1e-9)


@given(samples)
def test_percentiles_rise_with_the_share(steps: list[tuple[float, float]]) -> None:
    histogram, _, now_s = recorded(steps)
    found = [histogram.quantile(share, now_s) for share in (0.5, 0.9, 0.95, 0.99)]
    assert found == sorted(found, key=lambda value: value or 0.0)


@given(samples)
def test_evidence_decays_to_nothing(steps: list[tuple[float, float]]) -> None:
    histogram, _, now_s = recorded(steps)
    assert histogram.quantile(0.5, now_s) is not None
    assert histogram.quantile(0.5, now_s + HALF_LIFE_S * 10) is None


def test_a_lone_sample_lasts_one_half_life() -> None:
    histogram = Histogram(HALF_LIFE_S)
    histogram.add(0.2, 50.0)
    assert histogram.quantile(0.95, 50.0 + HALF_LIFE_S - 0.01) == pytest.approx(0.2)
    assert histogram.quantile(0.95, 50.0 + HALF_LIFE_S + 0.01) is None


def test_new_evidence_outweighs_old() -> None:
    histogram = Histogram(HALF_LIFE_S)
    for _ in range(100):
        histogram.add(5.0, 0.0)
    for _ in range(20):
        histogram.add(0.1, HALF_LIFE_S * 4)
    assert histogram.quantile(0.5, HALF_LIFE_S * 4) == pytest.approx(0.1)


@given(st.lists(st.tuples(gaps, st.booleans()), min_size=1, max_size=80))
def test_a_rate_is_the_weighted_share(steps: list[tuple[float, bool]]) -> None:
    ratio, at_s, seen = Ratio(30.0), 0.0, []
    for gap, failed in steps:
        at_s += gap
        ratio.add(float(failed), 1.0, at_s)
        seen.append((at_s, failed))
    weights = [(2 ** ((t - at_s) / 30.0), failed) for t, failed in seen]
    expected = sum(w for w, failed in weights if failed) / sum(w for w, _ in weights)
    assert ratio.at(at_s) == pytest.approx(expected, abs=1e-9)
    assert ratio.evidence(at_s) == pytest.approx(sum(w for w, _ in weights))
    assert ratio.evidence(at_s) >= ENOUGH


def test_clearing_a_ratio_leaves_no_evidence() -> None:
    ratio = Ratio(30.0)
    ratio.add(1.0, 1.0, 5.0)
    ratio.clear()
    assert ratio.at(5.0) is None
    assert ratio.evidence(5.0) == 0.0


def test_late_stamps_are_the_present_and_older_ones_a_clock_set_back() -> None:
    clock = Clock()
    assert clock.advance(1000.0) == 0.0
    assert clock.advance(1010.0) == 10.0
    assert clock.advance(1010.0 - LATE_S / 2) == 10.0
    assert clock.advance(1012.0) == 12.0
    assert clock.advance(500.0) == 12.0
    assert clock.advance(503.0) == 15.0


def test_reading_the_clock_does_not_move_it() -> None:
    clock = Clock()
    assert clock.at(77.0) == 0.0
    clock.advance(100.0)
    assert clock.at(160.0) == 60.0
    assert clock.at(40.0) == 0.0
    assert clock.advance(101.0) == 1.0


@given(st.lists(st.floats(), max_size=40), st.floats())
def test_time_passed_never_runs_back_whatever_the_stamps(stamps: list[float], read: float) -> None:
    clock, passed = Clock(), [0.0]
    for stamp in stamps:
        passed.append(clock.advance(stamp))
        assert passed[-1] <= clock.at(read) <= passed[-1] + LONGEST_S
    assert passed == sorted(passed)


def test_buckets_are_eight_to_a_doubling() -> None:
    for octave in range(10):
        assert bucket(LOWEST_S * 2**octave * 1.0001) == octave * PER_OCTAVE
    assert bucket(0.0) == bucket(LOWEST_S) == 0
    assert bucket(1e9) == bucket(HIGHEST_S) == OCTAVES * PER_OCTAVE


def test_two_durations_that_differ_by_a_fifth_are_told_apart() -> None:
    histogram = Histogram(HALF_LIFE_S)
    for value_s in (1.0, 1.2):
        for _ in range(50):
            histogram.add(value_s, 0.0)
    assert histogram.quantile(0.4, 0.0) == pytest.approx(1.0)
    assert histogram.quantile(0.9, 0.0) == pytest.approx(1.2)
    assert histogram.evidence(HALF_LIFE_S) == pytest.approx(50.0)


def test_the_first_sample_after_a_long_silence_weighs_as_much_as_the_next() -> None:
    histogram, ratio, later_s = Histogram(HALF_LIFE_S), Ratio(HALF_LIFE_S), HALF_LIFE_S * 100
    histogram.add(9.0, 0.0)
    ratio.add(1.0, 1.0, 0.0)
    for value_s, failed in ((1.0, 1.0), (3.0, 0.0)):
        histogram.add(value_s, later_s)
        ratio.add(failed, 1.0, later_s)
    assert histogram.quantile(0.6, later_s) == pytest.approx(3.0)
    assert (histogram.evidence(later_s), ratio.at(later_s)) == (pytest.approx(2.0), pytest.approx(0.5))
