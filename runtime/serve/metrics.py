"""What happened since the start, as plain counters: a request bumps a few numbers, a scrape reads them.

Nothing here knows Prometheus; `exposition` does, and is loaded by the first scrape.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from dataclasses import dataclass, field

from runtime.dispatch.record import Attempt, Copied, Role
from runtime.serve.visit import Visit

# Seconds. To the first token and to the end: from a cache's answer to the longest that anyone waits.
WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0, 25.0, 60.0, 180.0, 600.0)
OVERHEADS_S = (0.0001, 0.0002, 0.0004, 0.0008, 0.0015, 0.003, 0.006, 0.012, 0.025, 0.1, 0.5)

# Tenants may come from clients' headers. What comes after so many is counted together; so is what comes after so many
# combinations of all labels, 20 MB of them.
MOST_TENANTS = 500
MOST_SERIES = 20_000
OTHER = "(other)"

Labels = tuple[str, str, str, str]
"""Policy, rule, endpoint and tenant; empty where there is none."""


@dataclass(slots=True)
class Series:
    """What the requests with the same labels came to; costs in nano-dollars by the role of the attempt."""

    ends: dict[str, int] = field(default_factory=dict)
    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0
    costs: dict[Role, int] = field(default_factory=dict)


@dataclass(slots=True)
class Histogram:
    """How many values were at most each bound, and their sum."""

    bounds: tuple[float, ...]
    counts: list[int]
    total: float = 0.0

    @classmethod
    def over(cls, bounds: tuple[float, ...]) -> Histogram:
        """Return an empty one."""
        return cls(bounds, [0] * (len(bounds) + 1))

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True)
class Timing:
    """How long the answers of one rule and endpoint took."""

    first_token: Histogram = field(default_factory=lambda: Histogram.over(WAITS_S))
    duration: Histogram = field(default_factory=lambda: Histogram.over(WAITS_S))


class Metrics:
    """The counters of one router and its successors.

    Attributes:
        in_flight: Requests that have come and are not over.
        series: By labels.
        timings: By policy, rule and endpoint, of requests that were answered.
        attempts: By endpoint, role and outcome.
        limited: Requests refused, by limit.
        withheld: Attempts that the retry budget did not allow.
        overhead: The router's own time for each answer.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.series: dict[Labels, Series] = {}
        self.timings: dict[tuple[str, str, str], Timing] = {}
        self.attempts: dict[tuple[str, Role, str], int] = {}
        self.limited: dict[str, int] = {}
        self.withheld = 0
        self.overhead = Histogram.over(OVERHEADS_S)
        self._tenants: set[str] = set()

    def count(self, visit: Visit) -> None:
        """Count a request of an inference interface that is over."""
        policy, rule, endpoint = visit.policy.partition("@")[0], visit.rule or "", visit.endpoint or ""
        tenant = self._tenant(visit.tenant)
        ends = self._of(policy, rule, endpoint, tenant).ends
        ends[visit.end] = ends.get(visit.end, 0) + 1
        if visit.overhead_s is not None:
            self.overhead.add(visit.overhead_s)
        record = visit.record
        if record is None:
            return
        self.withheld += record.withheld
        for attempt in record.attempts:
            self._attempt(attempt, policy, rule, tenant)
        if visit.end in ("complete", "cut") and visit.head_s is not None:
            timing = self.timings.get((policy, rule, endpoint))
            if timing is None:
                if len(self.timings) >= MOST_SERIES:
                    policy = rule = endpoint = OTHER
                timing = self.timings.setdefault((policy, rule, endpoint), Timing())
            timing.first_token.add(visit.head_s - visit.began_s)
            timing.duration.add(time.perf_counter() - visit.began_s)

    def refused(self, limit: str) -> None:
        """Count a request that a limit had no room for."""
        self.limited[limit] = self.limited.get(limit, 0) + 1

    def copied(self, note: Copied) -> None:
        """Count a shadow copy that ended; it is the operator's, so it has no tenant."""
        for attempt in note.record.attempts:
            self._attempt(attempt, note.policy, note.rule, "")

    def _attempt(self, attempt: Attempt, policy: str, rule: str, tenant: str) -> None:
        key = (attempt.endpoint, attempt.role, attempt.outcome)
        self.attempts[key] = self.attempts.get(key, 0) + 1
        usage = attempt.usage
        if usage is None:
            return
        series = self._of(policy, rule, attempt.endpoint, tenant)
        series.prompt += usage.prompt
        series.completion += usage.completion
        series.cached += usage.cached
        series.reasoning += usage.reasoning
        if attempt.cost_nusd:
            series.costs[attempt.role] = series.costs.get(attempt.role, 0) + attempt.cost_nusd

    def _of(self, policy: str, rule: str, endpoint: str, tenant: str) -> Series:
        labels = (policy, rule, endpoint, tenant)
        series = self.series.get(labels)
        if series is None:
            if len(self.series) >= MOST_SERIES:
                labels = (OTHER, OTHER, OTHER, OTHER)
            series = self.series.setdefault(labels, Series())
        return series

    def _tenant(self, tenant: str | None) -> str:
        if not tenant or tenant in self._tenants:
            return tenant or ""
        if len(self._tenants) >= MOST_TENANTS:
            return OTHER
        self._tenants.add(tenant)
        return tenant
