"""Limits: never more than stated in any window, room exactly when promised, settled whatever happens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router_dsl.plan import Atom, Limit, Program
from runtime.limits import limits as room
from runtime.limits.limits import Limits, Need, Refusal, Reservation
from runtime.limits.window import SLOTS, Window


def program(*limits: Limit) -> Program:
    return Program("p", (), (), (), (), (), (), limits, (), (), ())


def limit(
    amount: int, unit: str = "requests", *, soft: bool = False, per_s: int = 60, when: Atom | None = None
) -> Limit:
    return Limit("l", when, amount, unit, per_s, ("user",), soft)  # type: ignore[arg-type]


def need(tokens: int = 0, cost_nusd: int = 0) -> object:
    return lambda: Need(tokens, cost_nusd)


ANNA, OTTO = {"user": "anna"}, {"user": "otto"}


@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(1, 12)), max_size=60),
    st.integers(1, 20),
    st.sampled_from([1, 60, 3600]),
)
def test_no_window_of_the_stated_length_ever_holds_more_than_the_limit(
    steps: list[tuple[float, int]], most: int, per_s: int
) -> None:
    window, now_s, taken = Window(most, per_s), 0.0, []
    for pause_s, amount in steps:
        now_s += pause_s
        if window.wait_s(amount, now_s) == 0:
            window.take(amount, now_s)
            taken.append((now_s, amount))
    for start_s, _ in taken:
        assert sum(amount for at_s, amount in taken if start_s <= at_s < start_s + per_s) <= most


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 5)), max_size=40), st.integers(5, 20))
def test_what_did_not_fit_fits_when_it_was_promised_to(steps: list[tuple[float, int]], most: int) -> None:
    window, now_s = Window(most, 60), 0.0
    for pause_s, amount in steps:
        now_s += pause_s
        wait_s = window.wait_s(amount, now_s)
        if wait_s == 0:
            window.take(amount, now_s)
        else:
            assert wait_s <= 60 + 60 / SLOTS + 1e-6
            assert window.wait_s(amount, now_s + wait_s + 1e-6) == 0
            now_s += wait_s + 1e-6


def test_a_request_larger_than_the_limit_never_fits() -> None:
    assert Window(5, 60).wait_s(6, 0.0) == float("inf")


@given(st.lists(st.floats(-1e6, 1e6), max_size=30))
def test_a_clock_that_jumps_neither_frees_nor_breaks(times: list[float]) -> None:
    window = Window(3, 60)
    for now_s in times:
        if window.wait_s(1, now_s) == 0:
            window.take(1, now_s)
        assert 0 <= window.used <= 3


def test_a_clock_set_back_does_not_date_back_what_is_used() -> None:
    window = Window(2, 60)
    window.take(1, 0.0)
    window.take(1, -600.0)
    assert window.wait_s(1, 1.0) > 0


@given(st.lists(st.integers(1, 500), min_size=1, max_size=40), st.lists(st.integers(0, 500), min_size=40, max_size=40))
def test_requests_in_flight_together_never_overshoot(estimates: list[int], used: list[int]) -> None:
    limits, flying, spent = Limits(program(limit(1000, "tokens"))), [], 0
    for estimate, really in zip(estimates, used, strict=False):
        found = limits.reserve(ANNA, need(estimate), 0.0)  # type: ignore[arg-type]
        if isinstance(found, Reservation):
            flying.append((found, min(really, estimate)))
        if len(flying) > 5:
            reservation, tokens = flying.pop(0)
            reservation.settle((tokens, 0))
            spent += tokens
    for reservation, tokens in flying:
        reservation.settle((tokens, 0))
        spent += tokens
    assert spent <= 1000


def test_each_value_of_the_facts_has_its_own_room() -> None:
    limits = Limits(program(limit(1)))
    assert isinstance(limits.reserve(ANNA, need(), 0.0), Reservation)  # type: ignore[arg-type]
    refusal = limits.reserve(ANNA, need(), 1.0)  # type: ignore[arg-type]
    assert isinstance(refusal, Refusal)
    assert (refusal.name, refusal.rooms[0].limit, refusal.rooms[0].remaining) == ("l", 1, 0)
    assert 59 <= refusal.wait_s <= 61
    assert isinstance(limits.reserve(OTTO, need(), 1.0), Reservation)  # type: ignore[arg-type]
    assert isinstance(limits.reserve(ANNA, need(), 1.0 + refusal.wait_s), Reservation)  # type: ignore[arg-type]


def test_a_refused_request_takes_nothing_from_its_other_limits() -> None:
    tight, wide = limit(1), limit(3)
    limits = Limits(program(wide, tight))
    assert isinstance(limits.reserve(ANNA, need(), 0.0), Reservation)  # type: ignore[arg-type]
    for _ in range(5):
        assert isinstance(limits.reserve(ANNA, need(), 0.0), Refusal)  # type: ignore[arg-type]
    assert Limits(program(wide)).reserve(ANNA, need(), 0.0) is not None  # type: ignore[arg-type]
    (_, _, windows) = limits._limits[0]
    assert windows[("anna",)].used == 1


def test_a_soft_limit_refuses_nobody_and_says_when_it_is_over() -> None:
    limits = Limits(program(limit(100, "tokens", soft=True)))
    assert not limits.is_over("l", ANNA, 0.0)
    for _ in range(3):
        assert isinstance(limits.reserve(ANNA, need(60), 0.0), Reservation)  # type: ignore[arg-type]
    assert limits.is_over("l", ANNA, 0.0)
    assert not limits.is_over("l", OTTO, 0.0)
    assert not limits.is_over("l", ANNA, 62.0)


def test_settling_gives_back_what_was_not_used_and_once() -> None:
    limits = Limits(program(limit(100, "tokens"), limit(1000, "$")))
    found = limits.reserve(ANNA, need(90, 900), 0.0)  # type: ignore[arg-type]
    assert isinstance(found, Reservation)
    found.settle((10, 100))
    found.settle((0, 0))
    assert isinstance(limits.reserve(ANNA, need(90, 900), 0.0), Reservation)  # type: ignore[arg-type]
    assert isinstance(limits.reserve(ANNA, need(1, 1), 0.0), Refusal)  # type: ignore[arg-type]


def test_a_limit_whose_condition_fails_counts_nobody() -> None:
    limits = Limits(program(limit(1, when=Atom("plan", "eq", "trial", (), "plan == trial"))))
    for _ in range(3):
        assert isinstance(limits.reserve({**ANNA, "plan": "pro"}, need(), 0.0), Reservation)  # type: ignore[arg-type]
    limits.reserve({**ANNA, "plan": "trial"}, need(), 0.0)  # type: ignore[arg-type]
    assert isinstance(limits.reserve({**ANNA, "plan": "trial"}, need(), 0.0), Refusal)  # type: ignore[arg-type]


def test_the_number_of_remembered_values_is_bounded() -> None:
    old, room.MOST_WINDOWS = room.MOST_WINDOWS, 50
    try:
        limits = Limits(program(limit(1)))
        for i in range(500):
            limits.reserve({"user": f"user-{i}"}, need(), float(i) / 100)  # type: ignore[arg-type]
        assert len(limits._limits[0][2]) <= 50
    finally:
        room.MOST_WINDOWS = old


def test_where_there_is_room_in_plenty_nobody_looks_closely_and_where_there_is_not_everybody_does() -> None:
    limits, looked = Limits(program(limit(1_000_000, "tokens"))), []

    def closely() -> Need:
        looked.append(1)
        return Need(500, 0)

    held = limits.reserve(ANNA, closely, 0.0, lambda: Need(1000, 0))
    assert isinstance(held, Reservation)
    assert (looked, held.held[0][3]) == ([], 1000)
    held = limits.reserve(ANNA, closely, 0.0, lambda: Need(1000, 0))
    assert isinstance(held, Reservation)
    assert (looked, held.held[0][3]) == ([1], 500)
    held = limits.reserve(OTTO, closely, 0.0, lambda: None)
    assert isinstance(held, Reservation)
    assert (looked, held.held[0][3]) == ([1, 1], 500)


def test_a_client_is_told_its_room_in_the_limits_it_falls_under() -> None:
    trial = Atom("plan", "eq", "trial", (), "plan == trial")
    limits = Limits(program(limit(5), limit(9, when=trial)))
    assert limits.rooms({**ANNA, "plan": "pro"}, 0.0) == [("l", room.Room("requests", 5, 5, 0.0), 60)]
    for _ in range(2):
        limits.reserve({**ANNA, "plan": "trial"}, need(), 30.0)  # type: ignore[arg-type]
    told = limits.rooms({**ANNA, "plan": "trial"}, 30.0)
    assert [(each.limit, each.remaining) for _, each, _ in told] == [(5, 3), (9, 7)]
    assert all(60.0 <= each.reset_s <= 61.0 for _, each, _ in told)
    assert [each.remaining for _, each, _ in limits.rooms({**ANNA, "plan": "trial"}, 92.0)] == [5, 9]


def test_the_limits_of_the_next_plan_go_on_with_what_was_counted_at_their_own_amount() -> None:
    first = Limits(program(limit(3)))
    for _ in range(2):
        first.reserve(ANNA, need(), 0.0)  # type: ignore[arg-type]
    same, larger = Limits(program(limit(3)), heir_of=first), Limits(program(limit(4)), heir_of=first)
    other = Limits(program(limit(3, "tokens")), heir_of=first)
    assert same.rooms(ANNA, 0.0)[0][1].remaining == 1
    assert larger.rooms(ANNA, 0.0)[0][1].remaining == 2
    assert other.rooms(ANNA, 0.0)[0][1].remaining == 3
    for _ in range(2):
        assert isinstance(larger.reserve(ANNA, need(), 0.0), Reservation)  # type: ignore[arg-type]
    assert isinstance(larger.reserve(ANNA, need(), 0.0), Refusal)  # type: ignore[arg-type]
