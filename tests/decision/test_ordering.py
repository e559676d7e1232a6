"""How the endpoints of one target are ordered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_dsl.plan import Endpoint
from runtime.decision import ordering
from runtime.decision.state import Calm

unit = st.floats(min_value=0.0, max_value=1.0, exclude_max=True)


def endpoint(name: str, weight: float = 1.0) -> Endpoint:
    return Endpoint(
        id=name, model="m", provider=0, label=None, upstream="u", price_in=None, price_out=None, price_cached=None,
        region=None, context=None, output=None, quantization=None, zdr=False, supports=None, tags=(), weight=weight,
    )  # fmt: skip


TABLE = [endpoint(f"m@p{i}") for i in range(12)]


class Measured(Calm):
    def __init__(self, **values: float | None) -> None:
        self.values = values

    def measured(self, endpoint: int, name: str) -> float | None:
        return self.values.get(f"e{endpoint}")

    def load(self, endpoint: int) -> float:
        return self.values.get(f"e{endpoint}") or 0.0


def ordered(by: str, costs: list[float | None], state: object | None = None, u: float = 0.0) -> list[int]:
    return ordering.order(
        list(range(len(costs))), ((by, 1.0),), costs.__getitem__, TABLE, state or Calm(), ordering.Draw(u)
    )  # type: ignore[arg-type]


def test_price_puts_the_cheapest_first_and_keeps_ties_as_written() -> None:
    assert ordered("price", [3.0, 1.0, 3.0, 0.0]) == [3, 1, 0, 2]


def test_an_endpoint_without_a_price_counts_as_the_median() -> None:
    assert ordered("price", [1.0, None, 5.0, 9.0]) == [0, 1, 2, 3]
    assert ordered("price", [9.0, None, 5.0, 1.0]) == [3, 1, 2, 0]


def test_latency_and_speed_look_in_opposite_directions() -> None:
    state = Measured(e0=0.5, e1=0.1, e2=None)
    assert ordered("latency", [None] * 3, state) == [1, 2, 0]
    assert ordered("speed", [None] * 3, state) == [0, 2, 1]


def test_shares_weigh_metrics_between_their_best_and_worst() -> None:
    state = Measured(e0=1.0, e1=0.1, e2=0.1)
    costs = [1.0, 1.1, 9.0]
    shares = (("price", 0.3), ("latency", 0.7))
    assert ordering.order([0, 1, 2], shares, costs.__getitem__, TABLE, state, ordering.Draw(0.0)) == [1, 2, 0]


@given(st.lists(st.one_of(st.none(), st.just(0.0), st.floats(1, 1e15)), min_size=1, max_size=8), unit)
@pytest.mark.parametrize("metric", ["price", "latency", "speed", "load", "weight", "order", "random", "balance"])
def test_an_order_holds_every_endpoint_once(metric: str, costs: list[float | None], u: float) -> None:
    assert sorted(ordered(metric, costs, u=u)) == list(range(len(costs)))


def test_balance_draws_with_weight_one_over_price_squared() -> None:
    first = [ordered("balance", [1.0, 2.0], u=i / 1000)[0] for i in range(1000)]
    assert first.count(0) == 800


def test_balance_lets_free_endpoints_share_with_priced_ones() -> None:
    first = [ordered("balance", [0.0, 1.0], u=i / 1010)[0] for i in range(1010)]
    assert first.count(1) == 10


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=6), unit)
def test_a_draw_leaves_a_number_that_is_still_uniform(weights: list[float], u: float) -> None:
    draw = ordering.Draw(u)
    index = draw.pick(weights)
    assert 0.0 <= draw.u <= 1.0
    below = sum(weights[:index])
    assert (below + draw.u * weights[index]) / sum(weights) == pytest.approx(u, abs=1e-9)


@given(st.text(), st.integers(2, 12), st.data())
def test_only_the_keys_of_a_leaving_endpoint_move(key: str, count: int, data: st.DataObject) -> None:
    everyone = list(range(count))
    gone = data.draw(st.sampled_from(everyone))
    before = ordering.rendezvous(key, everyone, TABLE)
    after = ordering.rendezvous(key, [e for e in everyone if e != gone], TABLE)
    assert after == [e for e in before if e != gone]


def test_rendezvous_spreads_keys_evenly() -> None:
    held = [ordering.rendezvous(f"user-{i}", range(4), TABLE)[0] for i in range(4000)]
    assert all(850 < held.count(e) < 1150 for e in range(4))
