"""Endpoints that scale to zero: sleep is no defect, ends by itself, and is ended once."""

from __future__ import annotations

import msgspec
import pytest
from health_programs import program
from hypothesis import given
from hypothesis import strategies as st

from runtime.health.cold import PARK_PAUSE_S, PARKED_S, REJECT_PAUSE_S, SCALING_UP, SILENT, WAKE_AGAIN_S, Cold
from runtime.health.health import Health


def health(habit: str | None) -> Health:
    found = program([None])
    (provider,) = found.providers
    return Health(msgspec.structs.replace(found, providers=(msgspec.structs.replace(provider, cold=habit),)))


def fail(known: Health, now_s: float, kind: str, retry_after_s: float | None = None) -> None:
    known.begin(0, now_s).failure(now_s, kind, retry_after_s)


@pytest.mark.parametrize(
    ("habit", "kind", "pause_s"), [("reject", SCALING_UP, REJECT_PAUSE_S), ("park", SILENT, PARK_PAUSE_S)]
)
def test_sleep_cools_down_and_is_no_failure(habit: str, kind: str, pause_s: float) -> None:
    known = health(habit)
    for now_s in (0.0, 100.0, 200.0, 300.0):
        fail(known, now_s, kind)
        assert known.at(now_s).measured(0, "errors") is None
        assert not known.at(now_s + pause_s - 0.1).in_service(0)
        assert known.at(now_s + pause_s + 0.1).in_service(0)


def test_a_longer_wish_of_the_provider_stands() -> None:
    known = health("reject")
    fail(known, 0.0, SCALING_UP, 60.0)
    assert not known.at(59.0).in_service(0)
    fail(health("reject"), 0.0, SCALING_UP, 1.0)


@pytest.mark.parametrize(
    ("habit", "kind"),
    [(None, SCALING_UP), (None, SILENT), ("reject", SILENT), ("park", SCALING_UP), ("reject", "5xx"), ("park", "5xx")],
)
def test_anything_else_is_a_failure_and_wakes_nobody(habit: str | None, kind: str) -> None:
    known = health(habit)
    for _ in range(3):
        fail(known, 0.0, kind)
    assert known.at(0.0).measured(0, "errors") == 1.0
    assert not known.wake_due(0, 0.0)


def test_what_is_silent_for_longer_than_anybody_parks_is_broken() -> None:
    known = health("park")
    fail(known, 0.0, SILENT)
    for _ in range(3):
        fail(known, PARKED_S, SILENT)
    assert known.at(PARKED_S).measured(0, "errors") == 1.0
    assert not known.at(PARKED_S + 1.0).in_service(0)


def test_a_success_ends_the_sleep() -> None:
    known = health("park")
    fail(known, 0.0, SILENT)
    assert known.wake_due(0, 0.0)
    known.begin(0, 40.0).success(40.0, 1.0)
    fail(known, PARKED_S + 50.0, SILENT)
    assert known.wake_due(0, PARKED_S + 50.0), "a new sleep"


def test_a_cold_probe_leaves_the_breaker_to_the_next() -> None:
    known = health("reject")
    for _ in range(3):
        fail(known, 0.0, "5xx")
    fail(known, 3.0, SCALING_UP)
    assert known.at(14.0).in_service(0)


@given(
    st.lists(st.tuples(st.sampled_from(["sleep", "ask", "ask", "serve"]), st.sampled_from([0.0, 1.0, 100.0, 400.0])))
)
def test_it_is_woken_once_in_a_sleep_and_never_awake(steps: list[tuple[str, float]]) -> None:
    cold, now_s, asleep, woken_s = Cold("reject"), 0.0, False, None
    for what, later_s in steps:
        now_s += later_s
        if what == "sleep":
            assert cold.pause_s(SCALING_UP, now_s) == REJECT_PAUSE_S
            asleep = True
        elif what == "serve":
            cold.served()
            asleep, woken_s = False, None
        else:
            due = asleep and (woken_s is None or now_s - woken_s >= WAKE_AGAIN_S)
            assert cold.wake_due(now_s) == due
            woken_s = now_s if due else woken_s
