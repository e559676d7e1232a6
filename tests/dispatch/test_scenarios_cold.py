"""Whole requests past deployments that scale to zero: served from warm ones while the cold one wakes, then back."""

from __future__ import annotations

import asyncio
import json

import pytest

from runtime.dispatch.record import Woken
from tests.dispatch.bench import STREAM, UNARY, Bench, run
from tests.dispatch.truth import ends_well, outcomes
from tests.providers import scripted as say
from tests.providers.client import FakeClient

FIREWORKS = json.dumps({"error": {"code": "DEPLOYMENT_SCALING_UP", "message": "scaling up from zero"}}).encode()
SCALING_UP = say.status(503, body=FIREWORKS)


def in_service(bench: Bench) -> bool:
    return bench.health.at(bench.clock.now_s()).in_service(0)


@pytest.mark.parametrize("body", [UNARY, STREAM], ids=["unary", "stream"])
def test_one_that_is_scaling_up_is_passed_by_and_woken_once(body: dict[str, object]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(SCALING_UP, say.whole(202, b"{}"))
        bench.providers[1].fallback = say.either("warm")
        record = await bench.ask(body)
        assert outcomes(record) == ["status 503", "ok"]
        await bench.until_notes(1)
        assert bench.notes == [Woken("p0", "status 202")]
        woken = bench.providers[0].received[1]
        assert (woken.method, woken.path, woken.body) == ("POST", "/v1/wake", b"")
        assert woken.headers["authorization"] == "Bearer provider-key"
        assert not in_service(bench)

        for _ in range(3):  # it goes on scaling up: asked now and then, not woken again, and never the breaker's
            bench.clock.pass_by(10.1)
            assert in_service(bench)
            bench.providers[0].then(SCALING_UP)
            await bench.ask(body, client=FakeClient())
            assert not in_service(bench)
        assert len(bench.notes) == 1
        assert bench.health.at(bench.clock.now_s()).measured(0, "errors") is None

        bench.clock.pass_by(10.1)
        bench.providers[0].then(say.either("awake"))
        assert outcomes(await bench.ask(body, client=FakeClient())) == ["ok"]
        assert in_service(bench)

    run(scenario, cold="reject", wake="/wake")


def test_one_that_parks_is_passed_by_when_the_first_token_is_late_and_its_connection_closed() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.hang(), say.whole(200, b""))
        bench.providers[1].then(say.stream("warm"))
        asking = asyncio.create_task(bench.ask(STREAM, first_token_s=3.0))
        await bench.providers[0].until_requests(1)
        bench.clock.pass_by(3.0)
        assert outcomes(await asking) == ["timeout first token", "ok"]
        ends_well(bench, "warm")
        await bench.until_notes(1)
        assert bench.notes == [Woken("p0", "status 200")]
        assert not in_service(bench)
        assert bench.health.at(bench.clock.now_s()).measured(0, "errors") is None
        bench.clock.pass_by(30.1)
        bench.providers[0].then(say.stream("awake"))
        assert outcomes(await bench.ask(STREAM, client=FakeClient())) == ["ok"]

    run(scenario, cold="park", wake="/wake")


def test_without_an_address_to_wake_nobody_is_called() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(SCALING_UP)
        assert outcomes(await bench.ask(UNARY)) == ["status 503", "ok"]
        assert len(bench.providers[0].received) == 1
        assert not in_service(bench)

    run(scenario, cold="reject")


def test_a_wake_call_that_fails_changes_nothing() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(SCALING_UP, say.reset(), say.reset())  # an idle connection that breaks is replaced once
        assert (await bench.ask(UNARY)).end == "complete"
        await bench.until_notes(1)
        assert bench.notes == [Woken("p0", "lost")]

    run(scenario, cold="reject", wake="/wake")


def test_a_wake_call_that_hangs_ends_with_the_dispatcher() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(SCALING_UP, say.hang())
        assert (await bench.ask(UNARY)).end == "complete"
        await bench.providers[0].until_requests(2)

    run(scenario, cold="reject", wake="/wake")


def test_an_undeclared_503_is_a_failure_like_any_other() -> None:
    async def scenario(bench: Bench) -> None:
        for _ in range(3):
            bench.providers[0].then(SCALING_UP)
            await bench.ask(UNARY, client=FakeClient())
        assert bench.health.at(bench.clock.now_s()).measured(0, "errors") == 1.0
        assert not in_service(bench)

    run(scenario)


def test_another_503_of_one_that_may_sleep_is_a_failure() -> None:
    async def scenario(bench: Bench) -> None:
        for _ in range(3):
            bench.providers[0].then(say.status(503))
            await bench.ask(UNARY, client=FakeClient())
        assert bench.health.at(bench.clock.now_s()).measured(0, "errors") == 1.0
        assert len(bench.providers[0].received) == 3

    run(scenario, cold="reject", wake="/wake")
