"""Laws of the budget for further attempts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.flow.budget import Budget

# What comes next: a request or a wish to spend, and how much later; clocks step back.
STEPS = st.lists(
    st.tuples(st.sampled_from(["earn", "spend", "spend"]), st.sampled_from([0.0, 0.0, 0.01, 1.0, 60.0, -5.0])),
    max_size=200,
)


@given(
    share=st.sampled_from([0.0, 0.01, 0.1, 0.2, 0.5, 1.0]),
    stock=st.sampled_from([1.0, 10.0]),
    refill=st.sampled_from([0.0, 1.0]),
    full=st.booleans(),
    steps=STEPS,
)
def test_no_more_is_spent_than_was_given(
    share: float, stock: float, refill: float, full: bool, steps: list[tuple[str, float]]
) -> None:
    budget, now_s, passed_s, earned, spent = Budget(share, stock, refill, full=full), 100.0, 0.0, 0, 0
    for what, later_s in steps:
        now_s += later_s
        passed_s += max(0.0, later_s)
        if what == "earn":
            budget.earn(now_s)
            earned += 1
        else:
            spent += budget.spend(now_s)
        assert spent <= (stock if full else 0.0) + share * earned + refill * passed_s + 1e-6


def test_a_share_of_the_requests_and_no_more() -> None:
    budget = Budget(0.1, 1.0)
    spent = 0
    for place in range(200):
        budget.earn(place / 1000)
        spent += budget.spend(place / 1000)
    assert spent == 20


def test_rare_requests_save_up_for_one_attempt() -> None:
    budget = Budget(0.25, 1.0)
    for minute in range(4):
        assert not budget.spend(minute * 60.0)
        budget.earn(minute * 60.0)
    assert budget.spend(100_000.0)


def test_what_a_storm_earned_fades() -> None:
    budget = Budget(0.2, 1.0)
    for _ in range(1000):
        budget.earn(0.0)
    assert sum(budget.spend(0.0) for _ in range(50)) == 50
    assert sum(budget.spend(70.0) for _ in range(50)) == 1


def test_the_stock_comes_back_by_itself() -> None:
    budget = Budget(0.0, 3.0, 1.0, full=True)
    assert [budget.spend(0.0) for _ in range(4)] == [True, True, True, False]
    assert [budget.spend(1.0) for _ in range(2)] == [True, False]
    assert [budget.spend(100.0) for _ in range(4)] == [True, True, True, False]


def test_what_is_earned_late_has_not_faded() -> None:
    budget = Budget(0.5, 1.0)
    for _ in range(4):
        budget.earn(0.0)
    budget.earn(1000.0)  # what was above the stock is gone by now; this half is new
    budget.earn(1000.0)
    assert [budget.spend(1000.0) for _ in range(3)] == [True, True, False]


def test_what_is_saved_above_the_stock_fades_by_half_and_the_stock_does_not() -> None:
    budget = Budget(1.0, 1.0, half_life_s=10.0)
    for _ in range(5):
        budget.earn(0.0)
    assert [budget.spend(10.0) for _ in range(4)] == [True, True, True, False]  # 1 + 4 / 2
    budget = Budget(1.0, 1.0, half_life_s=10.0)
    budget.earn(0.0)
    assert [budget.spend(1000.0) for _ in range(2)] == [True, False]
