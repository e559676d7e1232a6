"""What other instances say of an endpoint is weak evidence: it holds for seconds, and what is found here ends it."""

from __future__ import annotations

import pytest

from runtime.health.endpoint import WARNED_S
from runtime.health.health import Health
from tests.serve.desk import compiled

PROGRAM = compiled().program
NAME = PROGRAM.endpoints[0].id


def test_a_warning_takes_an_endpoint_out_of_service_for_seconds() -> None:
    health = Health(PROGRAM)
    health.warn(NAME, 3.0, 100.0)
    assert not health.at(101.0).in_service(0)
    assert health.snapshot(101.0)[0]["why_not"] == "warned of"
    assert health.at(103.1).in_service(0)
    health.warn(NAME, 3600.0, 200.0)
    assert health.at(200.0 + WARNED_S + 0.1).in_service(0)


def test_an_answer_that_it_gives_here_ends_a_warning_and_the_next_one_is_not_believed() -> None:
    health = Health(PROGRAM)
    health.warn(NAME, 8.0, 100.0)
    health.begin(0, 101.0).success(102.0, 0.1)
    assert health.at(102.0).in_service(0)
    health.warn(NAME, 8.0, 103.0)
    assert health.at(103.0).in_service(0)
    health.warn(NAME, 8.0, 101.0 + WARNED_S + 0.1)
    assert not health.at(112.0).in_service(0)


def test_what_was_only_heard_is_not_told_on() -> None:
    health = Health(PROGRAM)
    health.warn(NAME, 8.0, 100.0)
    assert health.found(101.0) == {}
    for at_s in range(10):
        health.begin(1, 101.0 + at_s / 10).failure(101.0 + at_s / 10, "status 503")
    assert list(health.found(102.0)) == [PROGRAM.endpoints[1].id]


@pytest.mark.parametrize("name", ["unknown@one", ""])
def test_endpoints_of_another_plan_are_ignored(name: str) -> None:
    Health(PROGRAM).warn(name, 8.0, 100.0)
