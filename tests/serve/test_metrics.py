"""`/metrics`: what Prometheus reads is what happened, its size is bounded, and not everybody may read it."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runtime.dispatch.record import Attempt, Record, Usage
from runtime.serve import metrics as counters
from runtime.serve.keys import Keys
from runtime.serve.metrics import OTHER, Metrics
from runtime.serve.settings import Settings
from runtime.serve.visit import Visit
from tests.serve.desk import HELLO, Desk

POLICY = """
provider one  { url "sim://one?ttft=1ms"    protocol sim }
provider dead { url "sim://dead?down=true"  protocol sim }
model small { serve one "up-small"  price $1 in $2 out }
model large { serve one "up-large"  price $10 in $20 out }
model shaky { serve dead "x" price $1 in $1 out }
limit calls: when user == anna  1 requests per minute by user
policy chat {
  code:  when user == cody  -> shaky else small  by order
  judge: when user == emil  -> small  escalate to large when truncated
  otherwise -> requested
}
"""


def samples(desk: Desk) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = desk.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def value(found: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str, **labels: str) -> float:
    """Return the sum of the samples that have these labels."""
    return sum(
        number for (each, given), number in found.items() if each == name and labels.items() <= dict(given).items()
    )


def test_a_request_is_counted_where_it_went_with_what_it_cost() -> None:
    desk = Desk(POLICY)
    desk.post({"model": "small", "messages": HELLO, "user": "cody"}, headers={"x-tenant-id": "acme"})
    event = desk.log.last
    found = samples(desk)
    where = {"policy": "chat", "rule": "code", "endpoint": "small@one", "tenant": "acme"}
    assert value(found, "pointsman_requests_total", **where, end="complete") == 1
    assert value(found, "pointsman_tokens_total", **where, kind="prompt") == event["prompt_tokens"]
    assert value(found, "pointsman_tokens_total", **where, kind="completion") == event["completion_tokens"]
    assert value(found, "pointsman_cost_dollars_total", **where, role="plan") == event["cost_usd"]
    assert value(found, "pointsman_attempts_total", endpoint="shaky@dead", outcome="connect") >= 1
    assert value(found, "pointsman_attempts_total", endpoint="small@one", role="plan", outcome="ok") == 1
    assert value(found, "pointsman_duration_seconds_count", rule="code") == 1
    assert value(found, "pointsman_first_token_seconds_bucket", rule="code", le="+Inf") == 1
    assert value(found, "pointsman_overhead_seconds_count") == 1
    assert value(found, "pointsman_requests_in_flight") == 0


def test_escalations_are_told_apart_and_refusals_named() -> None:
    desk = Desk(POLICY)
    desk.post({"model": "small", "messages": HELLO, "user": "emil", "max_tokens": 3})
    for _ in range(3):
        desk.post({"model": "small", "messages": HELLO, "user": "anna"})
    desk.post(raw=b"{")
    found = samples(desk)
    assert value(found, "pointsman_cost_dollars_total", rule="judge", role="escalation", endpoint="large@one") > 0
    assert value(found, "pointsman_limited_total", limit="calls") == 2
    assert value(found, "pointsman_requests_total", end="limited") == 2
    assert value(found, "pointsman_requests_total", end="error", rule="") == 1
    assert value(found, "pointsman_limit_used_ratio", limit="calls") == 1
    assert value(found, "pointsman_limit_values", limit="calls") == 1


def test_endpoints_and_the_build_are_described() -> None:
    desk = Desk(POLICY)
    for _ in range(8):
        desk.post({"model": "shaky", "messages": HELLO})
    found = samples(desk)
    assert value(found, "pointsman_endpoint_in_service", endpoint="small@one") == 1
    assert value(found, "pointsman_endpoint_in_service", endpoint="shaky@dead") == 0
    assert value(found, "pointsman_endpoint_error_ratio", endpoint="shaky@dead") > 0.5
    assert value(found, "pointsman_build_info", policy="chat", digest=("ab" * 32)[:12]) == 1


def test_openmetrics_is_given_to_whoever_asks_for_it() -> None:
    answer = Desk(POLICY).get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


def test_scrapes_are_not_logged() -> None:
    desk = Desk(POLICY)
    desk.get("/metrics")
    assert desk.log.seen == []


def test_a_clients_key_does_not_see_what_the_others_have_used(tmp_path: Path) -> None:
    from tests.serve.test_keyfile import write

    path = write(tmp_path / "keys.toml", anna='tenant = "acme"', ops="metrics = true")
    desk = Desk(POLICY, settings=Settings(keys=Keys.parse("root"), keys_file=str(path)))
    statuses = {
        key: desk.get("/metrics", headers={"authorization": f"Bearer {key}"}).status
        for key in ("anna", "ops", "root", "none")
    }
    assert statuses == {"anna": 403, "ops": 200, "root": 200, "none": 401}


def test_where_everyone_may_ask_only_this_machine_reads_what_they_used() -> None:
    desk = Desk(POLICY, settings=Settings(anonymous=True))
    assert [desk.ask("GET", "/metrics", peer=peer).status for peer in ("127.0.0.1", "10.0.0.7")] == [200, 403]
    assert desk.get("/metrics", headers={"origin": "https://evil.example"}).status == 403


def visit(tenant: str, rule: str = "r") -> Visit:
    attempt = Attempt("e", "ok", 200, 0.0, 0.0, 0.0, "plan", 5, Usage(1, 2))
    return Visit("id", "p@d", "POST", "/", rule=rule, endpoint="e", tenant=tenant, end="complete", record=Record(
        "complete", 200, "e", [attempt], Usage(1, 2), 5
    ))  # fmt: skip


def test_what_clients_can_name_is_bounded_and_nothing_goes_uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "MOST_TENANTS", 3)
    monkeypatch.setattr(counters, "MOST_SERIES", 6)
    found = Metrics()
    for number in range(50):
        found.count(visit(f"tenant-{number}"))
    for number in range(50):
        found.count(visit("tenant-0", f"rule-{number}"))
    assert len(found.series) <= 7
    assert {labels[3] for labels in found.series} == {"tenant-0", "tenant-1", "tenant-2", OTHER}
    assert sum(series.ends["complete"] for series in found.series.values()) == 100
    assert sum(series.costs["plan"] for series in found.series.values()) == 500
