"""In which order the endpoints of one target are tried: metrics, draws, rendezvous hashing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import nextafter
from statistics import median

from router_dsl.plan import Endpoint, Metric
from runtime.decision.state import State

# A free endpoint would draw all the traffic under 1/price². Counting it as ten times cheaper than the
# cheapest priced one keeps the others in the draw, with 1 % of its weight.
FREE_DISCOUNT = 10.0

MEASURED_AS: dict[Metric, str] = {"latency": "ttft.p50", "speed": "speed"}


# Of the requests that are ordered by what was measured: so many may go to an endpoint that would not be first, to learn
# how it is by now. An endpoint that was slow once would otherwise never be asked again, and a new one never first.
EXPLORE = 0.02


@dataclass(slots=True)
class Draw:
    """The one random number of a request, spent in pieces that stay independent.

    Attributes:
        u: What is left of it, uniform in [0, 1).
    """

    u: float

    def pick(self, weights: Sequence[float]) -> int:
        """Return an index drawn with the given weights (>= 0, not all zero) and keep the rest of the number."""
        point = self.u * sum(weights)
        for index, weight in enumerate(weights):
            if point < weight:
                self.u = point / weight
                return index
            point -= weight
        # Rounding left the point just past the end: the end of the last arm that has any weight.
        self.u = nextafter(1.0, 0.0)
        return max(i for i, weight in enumerate(weights) if weight > 0)


def unit_hash(*parts: str) -> float:
    """Return a number in [0, 1) that depends on the texts alone, the same in every process."""
    digest = blake2b("\x00".join(parts).encode("utf-8", "surrogatepass"), digest_size=7).digest()
    return int.from_bytes(digest, "big") / (1 << 56)


def rendezvous(key: str, endpoints: Sequence[int], table: Sequence[Endpoint]) -> list[int]:
    """Return the endpoints by highest random weight for `key`.

    When one of N endpoints leaves, only the keys it held move.

    Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998.
    """
    return sorted(endpoints, key=lambda e: unit_hash(key, table[e].id), reverse=True)


def settled(
    endpoints: tuple[int, ...], by: Sequence[tuple[Metric, float]], table: Sequence[Endpoint]
) -> tuple[int, ...] | None:
    """Return the order that `by` gives for every request, or None when it depends on the request or on health.

    `price` is settled where no endpoint is cheaper to read and dearer to write than another.
    """
    metric = by[0][0] if len(by) == 1 else None
    if metric == "order" or len(endpoints) < 2:
        return endpoints
    if metric != "price":
        return None
    prices = {e: (table[e].price_in, table[e].price_out) for e in endpoints}
    if any(price is None for pair in prices.values() for price in pair):
        return None
    ordered = tuple(sorted(endpoints, key=lambda e: prices[e]))
    out = [prices[e][1] or 0 for e in ordered]
    return ordered if out == sorted(out) else None


def order(
    endpoints: Sequence[int],
    by: Sequence[tuple[Metric, float]],
    cost: Callable[[int], float | None],
    table: Sequence[Endpoint],
    state: State,
    draw: Draw,
) -> list[int]:
    """Return the endpoints of one target in the order of `by`; ties keep the order written.

    Args:
        cost: Estimated cost of this request at an endpoint, None when unpriced; the unit does not matter.
    """
    if len(endpoints) < 2:
        return list(endpoints)
    if len(by) > 1:
        return _by_shares(endpoints, by, cost, table, state)
    metric = by[0][0]
    if metric == "order":
        return list(endpoints)
    if metric == "random":
        return _drawn(endpoints, [1.0] * len(endpoints), draw)
    if metric == "weight":
        return _drawn(endpoints, [table[e].weight for e in endpoints], draw)
    if metric == "balance":
        return _drawn(endpoints, _balance_weights([cost(e) for e in endpoints]), draw)
    values = _values(metric, endpoints, cost, table, state)
    return [endpoint for _, endpoint in sorted(zip(values, endpoints, strict=True), key=lambda pair: pair[0])]


def is_measured(by: Sequence[tuple[Metric, float]]) -> bool:
    """Whether an order depends on what was measured of the endpoints."""
    return any(metric in MEASURED_AS for metric, _ in by)


def curiosity(ordered: Sequence[int], state: State, draw: Draw) -> int | None:
    """Return the endpoint that is asked before the first of an order, to find out how it is; mostly None.

    Only those in service of which nothing recent is known are worth it. At most `EXPLORE` of all draws choose one.
    """
    first = next((endpoint for endpoint in ordered if state.in_service(endpoint)), None)
    stale = [e for e in ordered if e != first and state.is_stale(e) and state.in_service(e)]
    if not stale or not draw.pick((1.0 - EXPLORE, EXPLORE)):
        return None
    return stale[draw.pick([1.0] * len(stale))]


def _drawn(endpoints: Sequence[int], weights: Sequence[float], draw: Draw) -> list[int]:
    """Draw all endpoints one after the other, without putting back; weight 0 goes last, in order."""
    left, weights, drawn = list(endpoints), list(weights), []
    while left and any(weights):
        index = draw.pick(weights)
        drawn.append(left.pop(index))
        weights.pop(index)
    return drawn + left


def _balance_weights(costs: Sequence[float | None]) -> list[float]:
    """Weight 1/price², free ones ten times cheaper than the cheapest priced, unpriced ones as the median."""
    known = [c for c in costs if c is not None]
    positive = [c for c in known if c > 0]
    if not positive:
        return [1.0] * len(costs)
    floor = min(positive) / FREE_DISCOUNT
    middle = max(median(known), floor)
    return [(floor / (middle if c is None else max(c, floor))) ** 2 for c in costs]


def _values(
    metric: Metric,
    endpoints: Sequence[int],
    cost: Callable[[int], float | None],
    table: Sequence[Endpoint],
    state: State,
) -> list[float]:
    """Give each endpoint a number, lower is better; without data it counts as the median of the measured ones."""
    if metric == "load":
        return [state.load(e) for e in endpoints]
    if metric == "weight":
        return [-table[e].weight for e in endpoints]
    if metric == "order":
        return [float(i) for i in range(len(endpoints))]
    found = [cost(e) for e in endpoints] if metric in ("price", "balance") else _measured(metric, endpoints, state)
    known = [value for value in found if value is not None]
    middle = median(known) if known else 0.0
    return [middle if value is None else value for value in found]


def _measured(metric: Metric, endpoints: Sequence[int], state: State) -> list[float | None]:
    name = MEASURED_AS[metric]
    sign = -1.0 if metric == "speed" else 1.0
    return [None if (value := state.measured(e, name)) is None else sign * value for e in endpoints]


def _by_shares(
    endpoints: Sequence[int],
    by: Sequence[tuple[Metric, float]],
    cost: Callable[[int], float | None],
    table: Sequence[Endpoint],
    state: State,
) -> list[int]:
    """Order by the weighted sum of the metrics, each scaled to [0, 1] between its best and its worst."""
    scores = [0.0] * len(endpoints)
    for metric, share in by:
        values = _values(metric, endpoints, cost, table, state)
        best, worst = min(values), max(values)
        if worst > best:
            for i, value in enumerate(values):
                scores[i] += share * (value - best) / (worst - best)
    return [endpoint for _, endpoint in sorted(zip(scores, endpoints, strict=True), key=lambda pair: pair[0])]
