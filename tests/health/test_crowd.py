"""The limit that an endpoint's own slowness sets: laws under any samples, and what it does in front of a queue."""

from __future__ import annotations

import heapq
import random
from collections import deque
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.health.crowd import (
    BACK_OFF,
    FLOOR,
    HOLD_S,
    IN_A_ROW,
    MOST_SAMPLES,
    TOLERANCE,
    WINDOW_S,
    WINDOW_SAMPLES,
    Crowd,
)

counts = st.integers(1, 5000)
steps = st.floats(0.0, 2.0)
samples = st.lists(st.tuples(st.floats(1e-6, 1e6), counts, steps), max_size=400)


def window(crowd: Crowd, now_s: float, ttft_s: float, among: int) -> float:
    """Feed one whole window, of attempts that all begin in it, and return when it ended."""
    for _ in range(WINDOW_SAMPLES):
        crowd.sample(ttft_s, among, now_s + ttft_s)
        now_s += 1.001 * WINDOW_S / (WINDOW_SAMPLES - 1)
    return now_s + ttft_s


def crowded(crowd: Crowd, now_s: float, ttft_s: float, among: int) -> float:
    """Feed as many windows as it takes to believe it."""
    for _ in range(IN_A_ROW):
        now_s = window(crowd, now_s, ttft_s, among)
    return now_s


def calm(crowd: Crowd, ttft_s: float = 0.2, among: int = 10, windows: int = 15) -> float:
    now_s = 0.0
    for _ in range(windows):
        now_s = window(crowd, now_s, ttft_s, among)
    return now_s


# --- laws -----------------------------------------------------------------------------------------


@given(samples, st.lists(st.tuples(counts, st.floats(0, 1000)), max_size=5))
def test_a_limit_is_never_below_the_floor(
    found: list[tuple[float, int, float]], drops: list[tuple[int, float]]
) -> None:
    crowd, now_s = Crowd(), 0.0
    for ttft_s, among, step_s in found:
        now_s += step_s
        crowd.sample(ttft_s, among, now_s)
        if drops and among % 7 == 0:
            crowd.drop(drops[0][0], now_s - drops[0][1], now_s)
        assert crowd.limit(now_s) >= FLOOR


@given(st.floats(1e-3, 100), st.lists(st.tuples(st.floats(1, TOLERANCE), counts, steps), max_size=400))
def test_what_does_not_slow_down_is_never_limited_however_full(
    usual_s: float, found: list[tuple[float, int, float]]
) -> None:
    crowd, now_s = Crowd(), 0.0
    for times, among, step_s in found:
        now_s += step_s
        crowd.sample(usual_s * times, among, now_s)
        assert crowd.limit(now_s) == inf


@given(counts, samples)
def test_slowness_without_more_in_flight_is_never_blamed_on_the_crowd(
    among: int, found: list[tuple[float, int, float]]
) -> None:
    crowd, now_s = Crowd(), 0.0
    for ttft_s, _, step_s in found:
        now_s += step_s
        crowd.sample(ttft_s, among, now_s)
        assert crowd.limit(now_s) == inf


@given(samples, st.floats(HOLD_S, 1e6))
def test_every_limit_fades_by_itself(found: list[tuple[float, int, float]], later_s: float) -> None:
    crowd, now_s = Crowd(), 0.0
    for ttft_s, among, step_s in found:
        now_s += step_s
        crowd.sample(ttft_s, among, now_s)
    before = crowd.limit(now_s)
    assert crowd.limit(now_s + later_s) == inf
    assert crowd.limit(now_s) == before, "asking changes nothing"


@given(samples)
def test_memory_is_bounded(found: list[tuple[float, int, float]]) -> None:
    crowd = Crowd()
    for ttft_s, among, _ in found:
        crowd.sample(ttft_s, among, 0.0)
    assert len(crowd._samples) < MOST_SAMPLES


# --- cases ----------------------------------------------------------------------------------------


def test_a_crowd_that_slows_it_down_narrows_it_and_calm_widens_it_again() -> None:
    crowd = Crowd()
    now_s = calm(crowd)
    assert crowd.limit(now_s) == inf
    for _ in range(IN_A_ROW - 1):
        now_s = window(crowd, now_s, 0.8, 40)
    assert crowd.limit(now_s) == inf, "that may have been chance"
    now_s = window(crowd, now_s, 0.8, 40)
    narrow = crowd.limit(now_s)
    assert 20 <= narrow < 40
    now_s = crowded(crowd, now_s, 0.3, 24)
    assert narrow < crowd.limit(now_s) < inf


def test_it_is_not_narrowed_before_it_is_known_what_is_usual() -> None:
    crowd = Crowd()
    now_s = calm(crowd, windows=3)
    now_s = crowded(crowd, now_s, 5.0, 400)
    assert crowd.limit(now_s) == inf


def test_a_limit_that_does_not_help_is_lifted_and_the_new_pace_is_usual() -> None:
    crowd = Crowd()
    now_s = crowded(crowd, calm(crowd), 2.0, 100)
    assert crowd.limit(now_s) < inf
    now_s = crowded(crowd, now_s, 2.0, 90)
    assert crowd.limit(now_s) < 60, "and narrower"
    now_s = crowded(crowd, now_s, 2.0, 79)  # four fifths of the first, and as slow as ever
    assert crowd.limit(now_s) == inf
    for _ in range(15):
        now_s = window(crowd, now_s, 2.0, 60)
    assert crowd.limit(now_s) == inf


def test_the_slow_ones_that_are_left_of_a_wave_say_nothing_about_now() -> None:
    crowd = Crowd()
    now_s = calm(crowd)
    for _ in range(10 * WINDOW_SAMPLES):
        crowd.sample(30.0, 400, now_s)  # begun long before
        now_s += 0.05
    assert crowd.limit(now_s) == inf
    for _ in range(10 * WINDOW_SAMPLES):
        crowd.sample(2.0, 400, now_s)  # and so the others may be, but not all of them
        now_s += 0.05
    assert crowd.limit(now_s) < inf


def test_a_window_that_does_not_fill_is_begun_anew() -> None:
    crowd = Crowd()
    now_s = crowded(crowd, calm(crowd), 0.25, 40)
    for _ in range(40):
        crowd.sample(5.0, 40, now_s)
        now_s += 10.0  # seven in a minute
    assert crowd.limit(now_s) == inf


def test_refusals_narrow_it_once_for_each_burst() -> None:
    crowd = Crowd()
    for _ in range(50):
        crowd.drop(100, begun_s=1.0, now_s=2.0)
    assert crowd.limit(2.0) == 100 * BACK_OFF
    crowd.drop(100, begun_s=2.5, now_s=3.0)
    assert crowd.limit(3.0) == 100 * BACK_OFF**2


@pytest.mark.parametrize("among", [1, int(FLOOR)])
def test_a_refusal_of_few_says_nothing_about_a_crowd(among: int) -> None:
    crowd = Crowd()
    crowd.drop(among, begun_s=1.0, now_s=2.0)
    assert crowd.limit(2.0) == inf


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_scattered_times_of_a_healthy_endpoint_under_waves_of_traffic_limit_next_to_nobody(sigma: float) -> None:
    """Lognormal times to first token, one prompt in ten eight times as long, 5 and 60 requests a second by turns."""
    rng, crowd, now_s, inflight, full, asked = random.Random(5), Crowd(), 0.0, 0, 0, 0
    coming: list[tuple[float, float, int]] = []  # when, and of a first token how late and among how many; else 0
    while now_s < 600.0:
        now_s += rng.expovariate(5 if int(now_s / 60) % 2 == 0 else 60)
        while coming and coming[0][0] <= now_s:
            at_s, ttft_s, among = heapq.heappop(coming)
            if among:
                crowd.sample(ttft_s, among, at_s)
            else:
                inflight -= 1
        inflight += 1
        asked += 1
        full += inflight > crowd.limit(now_s)
        ttft_s = rng.lognormvariate(-0.7, sigma) * (8 if rng.random() < 0.1 else 1)
        heapq.heappush(coming, (now_s + ttft_s, ttft_s, inflight))
        heapq.heappush(coming, (now_s + ttft_s + rng.expovariate(0.1), 0.0, 0))
    assert full / asked < 0.01


@pytest.mark.parametrize("slots", [16, 64])
def test_in_front_of_a_queue_it_settles_near_what_the_server_takes(slots: int) -> None:
    """A server that works on `slots` requests at once, 0.2 s each, and queues the rest; three times that many ask."""
    crowd, now_s, service_s = Crowd(), 0.0, 0.2
    busy: deque[tuple[float, float, int]] = deque()  # first token at, begun at, among
    free_s = [0.0] * slots
    held: list[int] = []
    for tick in range(12_000):
        now_s = tick * 0.01
        wanted = slots // 2 if now_s < 30 else 3 * slots
        while busy and busy[0][0] <= now_s:
            at_s, begun_s, among = busy.popleft()
            crowd.sample(at_s - begun_s, among, now_s)
        while len(busy) < min(wanted, crowd.limit(now_s)):
            start_s = max(now_s, min(free_s))
            free_s[free_s.index(min(free_s))] = start_s + service_s
            busy.append((start_s + service_s, now_s, len(busy) + 1))
        if now_s > 60:
            held.append(len(busy))
    assert 0.9 * slots <= sum(held) / len(held) <= 2.6 * slots


def test_after_a_limit_in_vain_the_new_fullness_is_usual_too() -> None:
    crowd = Crowd()
    now_s = crowded(crowd, calm(crowd), 2.0, 100)
    now_s = crowded(crowd, now_s, 2.0, 50)
    for _ in range(15):
        now_s = window(crowd, now_s, 2.0, 60)
    now_s = crowded(crowd, now_s, 5.0, 55)  # slower, but no fuller than it is by now
    assert crowd.limit(now_s) == inf


def test_a_limit_that_nobody_confirms_is_gone() -> None:
    crowd = Crowd()
    now_s = crowded(crowd, calm(crowd), 0.8, 40)
    assert crowd.limit(now_s + HOLD_S - 0.5) < inf
    assert crowd.limit(now_s + HOLD_S) == inf
