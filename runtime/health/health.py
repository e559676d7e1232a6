"""What is known about every endpoint: one writer, no timers; a read projects what was recorded to its instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from router_dsl import plan
from runtime.health.clock import Clock
from runtime.health.endpoint import EndpointHealth, Permit, Report, Slots

# `load` of a provider without `limit N concurrent`: a share of what one replica of a current inference server
# usually batches, so that loads of limited and unlimited providers can be compared.
USUAL_CAPACITY = 64

# Of an endpoint that another is preferred to. Two percent of one request a second ask it once in 50 s; at this age its
# few samples still weigh something (their half-life is 120 s), so that their median is of several.
STALE_S = 30.0

QUANTILES = {"ttft.p50": 0.50, "ttft.p75": 0.75, "ttft.p90": 0.90, "ttft.p95": 0.95, "ttft.p99": 0.99}


class Snapshot:
    """Health as it stands at one instant; implements `runtime.decision.state.State`."""

    __slots__ = ("_endpoints", "_now_s")

    def __init__(self, endpoints: Sequence[EndpointHealth], now_s: float) -> None:
        self._endpoints = endpoints
        self._now_s = now_s

    def in_service(self, endpoint: int) -> bool:
        """Whether it should be tried in its regular place: breaker closed or due, not cooling down, full or silent."""
        return self._endpoints[endpoint].serves(self._now_s)

    def is_well(self, endpoint: int) -> bool:
        """Whether nothing is wrong with it: in service, or merely full or silent for now."""
        return self._now_s >= self._endpoints[endpoint].blocked_until_s

    def measured(self, endpoint: int, name: str) -> float | None:
        """Return a measured endpoint fact (`ttft.p50`, `speed`, `errors`, `inflight`, …), None while unknown."""
        found = self._endpoints[endpoint]
        share = QUANTILES.get(name)
        if share is not None:
            return found.ttft.quantile(share, self._now_s)
        if name == "speed":
            return found.speed.at(self._now_s)
        if name == "errors":
            return found.errors.at(self._now_s)
        if name == "inflight":
            return float(found.own.used(self._now_s))
        if name == "queue" and (report := found.reported(self._now_s)) is not None:
            return report.waiting
        return None

    def load(self, endpoint: int) -> float:
        """Return requests in flight over capacity.

        That is the provider's limit. Without one it is what the endpoint was seen to take, else `USUAL_CAPACITY`, and
        in flight is what its server reports where that is more than our own.
        """
        found = self._endpoints[endpoint]
        shared = found.shared
        if shared is None:
            limit = found.crowd.limit(self._now_s)
            return found.busy(self._now_s) / (USUAL_CAPACITY if limit == inf else limit)
        return shared.used(self._now_s) / max(shared.limit, 1)

    def is_stale(self, endpoint: int) -> bool:
        """Whether nobody has asked it for so long that what is known of it is old."""
        return self._now_s - self._endpoints[endpoint].asked_s >= STALE_S

    def is_over(self, limit: str) -> bool:
        """Limits are not health: never."""
        return False


class Health:
    """The health of every endpoint of a program, as this instance has seen it; owned by one `Router`."""

    __slots__ = ("_clock", "_endpoints", "_ids", "_program", "_seed")

    def __init__(self, program: plan.Program, seed: int = 0, *, heir_of: Health | None = None) -> None:
        """Start without knowing anything, or with what is known of the endpoints that another program had, too.

        Args:
            program: Its endpoints and providers; indices are the program's.
            seed: Differs between instances, so that their probes do not come all at once.
            heir_of: Whose endpoints live on here; attempts that it began go on counting.
        """
        self._program = program
        self._clock: Clock = Clock() if heir_of is None else heir_of._clock
        self._seed: int = seed if heir_of is None else heir_of._seed
        self._ids = tuple(endpoint.id for endpoint in program.endpoints)
        known = {} if heir_of is None else heir_of._known()
        shared = self._slots(known)
        self._endpoints = tuple(self._endpoint(endpoint, shared, known) for endpoint in program.endpoints)

    def _slots(self, known: Mapping[object, EndpointHealth]) -> tuple[Slots | None, ...]:
        """Return the slots of every provider; those of one that stays keep what is in flight."""
        providers = self._program.providers
        found: list[Slots | None] = [None if one.limit is None else Slots(one.limit) for one in providers]
        for endpoint in self._program.endpoints:
            heritage, limit = known.get(self._identity(endpoint)), providers[endpoint.provider].limit
            if limit is not None and heritage is not None and heritage.shared is not None:
                found[endpoint.provider] = heritage.shared
                heritage.shared.limit = limit
        return tuple(found)

    def _endpoint(
        self, endpoint: plan.Endpoint, shared: Sequence[Slots | None], known: Mapping[object, EndpointHealth]
    ) -> EndpointHealth:
        found = known.get(self._identity(endpoint))
        if found is None:
            habit = self._program.providers[endpoint.provider].cold
            return EndpointHealth(f"{self._seed}:{endpoint.id}", shared[endpoint.provider], habit)
        found.shared = shared[endpoint.provider]
        return found

    def _known(self) -> dict[object, EndpointHealth]:
        return {
            self._identity(endpoint): found
            for endpoint, found in zip(self._program.endpoints, self._endpoints, strict=True)
        }

    def _identity(self, endpoint: plan.Endpoint) -> object:
        """Return what makes an endpoint the same in two programs: its name, where it is and what it is asked for."""
        provider = self._program.providers[endpoint.provider]
        return endpoint.id, provider.url, provider.cold, endpoint.upstream

    def begin(self, endpoint: int, now_s: float) -> Permit:
        """Return the permit of an attempt that starts now; never refuses.

        Whether an endpoint should be tried is `at(now_s).in_service(endpoint)`, asked right before.
        """
        found, at_s = self._endpoints[endpoint], self._clock.advance(now_s)
        permit = Permit(found, self._clock, at_s)
        found.own.take(permit, at_s)
        found.silence.ask(permit, at_s)
        found.asked_s = at_s
        if found.shared is not None:
            found.shared.take(permit, at_s)
        found.breaker.begin(permit, at_s)
        found.settle()
        return permit

    def report(self, endpoint: int, waiting: float | None, running: float | None, now_s: float) -> None:
        """Note what an endpoint's server says of its load: requests that wait, and that it works on."""
        self._endpoints[endpoint].report = Report(waiting, running, self._clock.advance(now_s))

    def warn(self, endpoint: str, for_s: float, now_s: float) -> None:
        """Take it from other instances that an endpoint fails, for so long; what is found here counts for more."""
        if endpoint in self._ids:
            self._endpoints[self._ids.index(endpoint)].warn(for_s, self._clock.advance(now_s))

    def found(self, now_s: float) -> dict[str, float]:
        """Return which endpoints this instance itself found failing or asking to be left alone, for how long still."""
        at_s = self._clock.at(now_s)
        left = {name: each.blocked_until_s - at_s for name, each in zip(self._ids, self._endpoints, strict=True)}
        return {name: left_s for name, left_s in left.items() if left_s > 0.0}

    def wake_due(self, endpoint: int, now_s: float) -> bool:
        """Whether an endpoint sleeps and is to be woken now: True once for a long while, for whoever then does it."""
        return self._endpoints[endpoint].cold.wake_due(self._clock.at(now_s))

    def at(self, now_s: float) -> Snapshot:
        """Return the state at `now_s`; asking changes nothing."""
        return Snapshot(self._endpoints, self._clock.at(now_s))

    def snapshot(self, now_s: float) -> list[dict[str, str | float | bool | None]]:
        """Return one record for each endpoint, for an operator's page: times in seconds, `errors` in [0, 1]."""
        at_s = self._clock.at(now_s)
        state = Snapshot(self._endpoints, at_s)
        records: list[dict[str, str | float | bool | None]] = []
        for index, (name, found) in enumerate(zip(self._ids, self._endpoints, strict=True)):
            why, left_s = found.why_not(at_s)
            records.append(
                {
                    "endpoint": name,
                    "in_service": why is None,
                    "why_not": why,
                    "back_in_s": round(left_s, 3) if why else None,
                    "ttft_p50_s": state.measured(index, "ttft.p50"),
                    "ttft_p95_s": state.measured(index, "ttft.p95"),
                    "tokens_per_s": state.measured(index, "speed"),
                    "error_rate": state.measured(index, "errors"),
                    "inflight": found.own.used(at_s),
                    "takes": None if (limit := found.crowd.limit(at_s)) == inf else int(limit),
                }
            )
        return records
