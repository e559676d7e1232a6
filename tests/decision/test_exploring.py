"""Finding out about endpoints of which nothing recent is known: who, how seldom, and that it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from desk import Desk
from hypothesis import given
from hypothesis import strategies as st

from runtime.decision import ordering
from runtime.decision.explain import record
from runtime.decision.facts import Facts
from runtime.decision.rehearsal import baseline_call
from runtime.decision.route import Route, route
from runtime.decision.state import Calm

DRAWS = [i / 2000 for i in range(2000)]


@dataclass
class World(Calm):
    """Endpoints by index: times to first token, who is stale, who is out of service."""

    ttft_s: dict[int, float] = field(default_factory=dict)
    stale: frozenset[int] = frozenset()
    down: frozenset[int] = frozenset()

    def in_service(self, endpoint: int) -> bool:
        return endpoint not in self.down

    def measured(self, endpoint: int, name: str) -> float | None:
        return self.ttft_s.get(endpoint)

    def is_stale(self, endpoint: int) -> bool:
        return endpoint in self.stale


def routes(action: str, world: World) -> list[Route]:
    policy = Desk(f"policy p {{ otherwise -> {action} }}")
    facts = Facts(baseline_call(), policy.book.program, world, {"model": None})
    return [route(policy.book, None, facts, world, draw) for draw in DRAWS]


def share(found: list[Route], holds: Callable[[Route], bool]) -> float:
    return sum(holds(each) for each in found) / len(found)


everyone = st.integers(0, 7)


@given(
    st.permutations(range(8)),
    st.frozensets(everyone),
    st.frozensets(everyone),
    st.floats(0, 1, exclude_max=True),
)
def test_at_most_two_percent_go_elsewhere_and_only_where_it_is_worth_it(
    ordered: list[int], stale: frozenset[int], down: frozenset[int], start: float
) -> None:
    world = World(stale=stale, down=down)
    draws = [(start + i / 500) % 1.0 for i in range(500)]
    found = [ordering.curiosity(ordered, world, ordering.Draw(draw)) for draw in draws]
    chosen = [each for each in found if each is not None]
    first = next((e for e in ordered if e not in down), None)
    worth = (stale - down) - {first}
    assert len(chosen) <= ordering.EXPLORE * 500 + 1
    assert set(chosen) <= worth
    if worth:
        assert len(chosen) >= ordering.EXPLORE * 500 - 1


def test_all_that_are_stale_have_their_share() -> None:
    draws = [i / 100_000 for i in range(100_000)]
    world = World(stale=frozenset(range(1, 5)))
    found = [ordering.curiosity(range(5), world, ordering.Draw(draw)) for draw in draws]
    for endpoint in range(1, 5):
        assert found.count(endpoint) == pytest.approx(100_000 * ordering.EXPLORE / 4, rel=0.02)


@pytest.mark.parametrize("by", ["latency", "speed", "price 70%, latency 30%"])
def test_an_endpoint_that_was_slow_once_is_asked_again(by: str) -> None:
    """`big` is eu, us, asia by index 0, 1, 2 or in some order: whoever is first, the others are found out about."""
    calm = World(ttft_s={0: 0.1, 1: 0.2, 2: 0.3})
    usual = routes(f"big by {by}", calm)[0]
    curious = routes(f"big by {by}", World(ttft_s=calm.ttft_s, stale=frozenset({0, 1, 2})))
    explored = [each for each in curious if each.candidates[0] != usual.candidates[0]]
    assert len(explored) / len(DRAWS) == pytest.approx(ordering.EXPLORE, abs=0.001)
    for each in explored:
        first, *rest = [candidate.endpoint for candidate in each.candidates]
        assert each.explores == first
        assert rest == [c.endpoint for c in usual.candidates if c.endpoint != first], "the rest keeps its order"
    assert all(each.explores is None for each in curious if each not in explored)


def test_what_was_asked_lately_is_left_where_it_is() -> None:
    assert (
        share(routes("big by latency", World(ttft_s={0: 0.1, 1: 0.2, 2: 0.3})), lambda r: r.explores is not None) == 0
    )


@pytest.mark.parametrize("action", ["big by price", "big by order", "big by weight", "big by latency sticky by user"])
def test_other_orders_are_not_curious(action: str) -> None:
    world = World(ttft_s={0: 0.1, 1: 0.2}, stale=frozenset(range(4)))
    policy = Desk(f"policy p {{ otherwise -> {action} }}")
    facts = Facts(baseline_call(), policy.book.program, world, {"model": None, "user": "u"})
    assert all(route(policy.book, None, facts, world, draw).explores is None for draw in DRAWS[::20])


def test_only_the_first_target_is_explored() -> None:
    world = World(ttft_s={0: 0.1, 1: 0.2, 2: 0.3}, stale=frozenset(range(4)))
    found = routes("small else big by latency", world)
    assert share(found, lambda r: r.explores is not None) == 0
    assert len({tuple(r.candidates) for r in found}) == 1


def test_the_decision_record_tells_it() -> None:
    world = World(ttft_s={0: 0.1, 1: 0.2, 2: 0.3}, stale=frozenset({0, 1, 2}))
    policy = Desk("policy p { otherwise -> big by latency }")
    facts = Facts(baseline_call(), policy.book.program, world, {"model": None})
    told = [record(policy.book, route(policy.book, None, facts, world, draw), facts) for draw in (0.5, 0.999)]
    assert "explores" not in told[0]
    assert told[1]["explores"] == told[1]["candidates"][0]  # type: ignore[index]
