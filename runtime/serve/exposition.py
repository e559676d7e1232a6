"""The counters and the state of things as Prometheus reads them; loaded by the first scrape."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from router_dsl.plan import NANO
from runtime.serve.metrics import Histogram, Metrics
from runtime.serve.router import Router
from runtime.serve.visit import DIGEST_CHARS

REQUEST = ("policy", "rule", "endpoint", "tenant")


def render(router: Router, accept: str) -> tuple[bytes, str]:
    """Return the page and its content type.

    May run beside the event loop: whatever can grow meanwhile is copied first, which the interpreter does in one step.

    Args:
        router: Whose numbers they are.
        accept: The scraper's `Accept` header: OpenMetrics or the older text format.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Page(router))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Page(Collector):
    def __init__(self, router: Router) -> None:
        self._router = router

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it stands."""
        yield from _requests(self._router.metrics)
        yield from _timings(self._router.metrics)
        yield from _endpoints(self._router)
        yield from _others(self._router)


def _requests(metrics: Metrics) -> Iterator[Metric]:
    requests = _counter("requests", "Requests that are over, by how they ended.", (*REQUEST, "end"))
    tokens = _counter("tokens", "Tokens as the providers counted them, of all attempts.", (*REQUEST, "kind"))
    cost = _counter("cost_dollars", "Cost by the policy's prices, by the role of the attempt.", (*REQUEST, "role"))
    for labels, series in list(metrics.series.items()):
        for end, count in list(series.ends.items()):
            requests.add_metric((*labels, end), count)
        for kind in ("prompt", "completion", "cached", "reasoning"):
            if count := getattr(series, kind):
                tokens.add_metric((*labels, kind), count)
        for role, nusd in list(series.costs.items()):
            cost.add_metric((*labels, role), nusd / NANO)
    attempts = _counter("attempts", "Requests to providers, by how they ended.", ("endpoint", "role", "outcome"))
    for key, count in list(metrics.attempts.items()):
        attempts.add_metric(key, count)
    limited = _counter("limited", "Requests that a limit had no room for.", ("limit",))
    for name, count in list(metrics.limited.items()):
        limited.add_metric((name,), count)
    withheld = _counter("attempts_withheld", "Attempts that the retry budget did not allow.", ())
    withheld.add_metric((), metrics.withheld)
    flying = GaugeMetricFamily("pointsman_requests_in_flight", "Requests that are not over.", metrics.in_flight)
    yield from (requests, tokens, cost, attempts, limited, withheld, flying)


def _timings(metrics: Metrics) -> Iterator[Metric]:
    by = ("policy", "rule", "endpoint")
    first = _histogram("first_token", "From the request to the head of its answer.", by)
    whole = _histogram("duration", "From the request to the end of its answer.", by)
    own = _histogram("overhead", "The router's own share of the time to the head.", ())
    for labels, timing in list(metrics.timings.items()):
        _add(first, labels, timing.first_token)
        _add(whole, labels, timing.duration)
    _add(own, (), metrics.overhead)
    yield from (first, whole, own)


def _endpoints(router: Router) -> Iterator[Metric]:
    now_s = router.clock.now_s()
    state = router.health.at(now_s)
    gauges = {
        name: GaugeMetricFamily(f"pointsman_endpoint_{name}", about, labels=("endpoint",))
        for name, about in (
            (
                "in_service",
                "1 when it is tried in its regular place, 0 when its breaker is open, it cools down or is full.",
            ),
            ("in_flight", "Attempts under way."),
            ("error_ratio", "Share of recent attempts that failed, older ones counting less."),
            ("first_token_p50_seconds", "Median time to first token, recently."),
            ("first_token_p95_seconds", "95th percentile of the time to first token, recently."),
        )
    }
    for index, endpoint in enumerate(router.book.endpoints):
        if not router.is_configured(index):
            continue
        gauges["in_service"].add_metric((endpoint.id,), state.in_service(index))
        for name, fact in (
            ("in_flight", "inflight"),
            ("error_ratio", "errors"),
            ("first_token_p50_seconds", "ttft.p50"),
            ("first_token_p95_seconds", "ttft.p95"),
        ):
            if (value := state.measured(index, fact)) is not None:
                gauges[name].add_metric((endpoint.id,), value)
    yield from gauges.values()


def _others(router: Router) -> Iterator[Metric]:
    fullest = GaugeMetricFamily(
        "pointsman_limit_used_ratio",
        "Used share of a limit, of the value of its facts that has used most.",
        labels=("limit",),
    )
    values = GaugeMetricFamily(
        "pointsman_limit_values", "Values of a limit's facts that are counted.", labels=("limit",)
    )
    for name, count, share in router.limits.used(router.clock.now_s()):
        fullest.add_metric((name,), share)
        values.add_metric((name,), count)
    keys = GaugeMetricFamily("pointsman_keys", "Clients' keys that are known.", len(router.keyring.keys))
    build = GaugeMetricFamily(
        "pointsman_build_info", "What is running.", labels=("version", "python", "policy", "digest")
    )
    plan = router.book.plan
    build.add_metric((_version(), platform.python_version(), router.book.default, plan.digest[:DIGEST_CHARS]), 1)
    yield from (fullest, values, keys, build)
    if router.renewal is not None:
        plans = _counter("plans", "Plans that were found at the policy's source, and checks that found none.", ("end",))
        for end, count in asdict(router.renewal.counts).items():
            plans.add_metric((end,), count)
        yield plans


def _counter(name: str, about: str, labels: Iterable[str]) -> CounterMetricFamily:
    return CounterMetricFamily(f"pointsman_{name}", about, labels=tuple(labels))


def _histogram(name: str, about: str, labels: Iterable[str]) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"pointsman_{name}_seconds", about, labels=tuple(labels))


def _add(family: HistogramMetricFamily, labels: tuple[str, ...], found: Histogram) -> None:
    counts, total, so_far = list(found.counts), found.total, 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, found.bounds), "+Inf"), counts, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    family.add_metric(labels, buckets, total)


def _version() -> str:
    try:
        return version("pointsman")
    except PackageNotFoundError:
        return "source"
