"""Whole requests with a shadow: the copy never delays, fails or outlives what it must not."""

from __future__ import annotations

import asyncio

import pytest

from router_dsl.plan import Endpoints, Shadow
from runtime.dispatch.record import Copied, Record
from tests.dispatch.bench import STREAM, UNARY, Bench, run
from tests.dispatch.truth import outcomes
from tests.providers import scripted as say
from tests.providers.client import FakeClient
from tests.providers.scripted import Script

BOTH = pytest.mark.parametrize("body", [UNARY, STREAM], ids=["unary", "stream"])


async def ask(bench: Bench, body: dict[str, object], share: float = 1.0, **changed: object) -> Record:
    rule = Shadow(share, Endpoints("other", (1,)))
    return await bench.ask(body, attempts=(0,), targets=(0,), shadow=(1,), shadow_rule=rule, **changed)  # type: ignore[arg-type]


@BOTH
def test_a_copy_goes_out_and_is_told_of_apart(body: dict[str, object]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.either("mine"))
        bench.providers[1].then(say.either("other"))
        record = await ask(bench, body)
        await bench.until_notes(1)
        assert (record.endpoint, outcomes(record)) == ("m@p0", ["ok"])
        (copied,) = bench.notes
        assert isinstance(copied, Copied)
        assert (copied.request_id, copied.record.endpoint, copied.record.end) == ("r1", "m@p1", "complete")
        assert [attempt.role for attempt in copied.record.attempts] == ["shadow"]
        assert copied.record.cost_nusd == 15_000
        assert record.cost_nusd == 15_000
        sent, copy = bench.providers[0].received[0].json, bench.providers[1].received[0].json
        assert copy == {**sent, "model": "upstream-1"}
        assert bench.health.at(bench.clock.now_s()).measured(1, "inflight") == 0

    run(scenario)


@BOTH
@pytest.mark.parametrize("script", [say.hang(), say.reset(), say.status(500), say.html(), say.hang_after_head()])
def test_whatever_becomes_of_the_copy_the_answer_is_the_same(body: dict[str, object], script: Script) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.either("mine"))
        bench.providers[1].then(script)
        record = await ask(bench, body)
        assert (record.end, outcomes(record)) == ("complete", ["ok"])
        assert bench.client.is_closed
        if bench.clock.next_s is not None:
            bench.clock.pass_by(120.0)
        await bench.until_notes(1)
        assert len(bench.providers[1].received) == 1, "no retries"

    run(scenario)


def test_a_copy_has_a_deadline_of_its_own_and_counts_in_its_endpoints_health() -> None:
    async def scenario(bench: Bench) -> None:
        for count in (1, 2, 3):
            bench.providers[1].then(say.hang())
            await ask(bench, UNARY, within_s=5.0, client=FakeClient())
            await bench.providers[1].until_requests(count)
            bench.clock.pass_by(5.0)
            await bench.until_notes(count)
        assert {note.record.attempts[0].outcome for note in bench.notes if isinstance(note, Copied)} == {
            "timeout within"
        }
        assert not bench.health.at(bench.clock.now_s()).in_service(1)
        await ask(bench, UNARY, client=FakeClient())
        assert len(bench.providers[1].received) == 3, "no copies to what is out of service"

    run(scenario)


def test_a_copy_goes_on_when_the_client_leaves() -> None:
    async def scenario(bench: Bench) -> None:
        gate = asyncio.Event()
        bench.providers[0].then(say.hang())
        bench.providers[1].then(say.after(gate, say.unary("other")))
        asking = asyncio.create_task(ask(bench, UNARY))
        await bench.providers[0].until_requests(1)
        await bench.providers[1].until_requests(1)
        bench.client.leave()
        assert (await asking).end == "client gone"
        gate.set()
        await bench.until_notes(1)
        (copied,) = bench.notes
        assert isinstance(copied, Copied)
        assert copied.record.end == "complete"

    run(scenario)


def test_copies_can_be_waited_for_but_not_for_ever() -> None:
    async def scenario(bench: Bench) -> None:
        gate = asyncio.Event()
        bench.providers[1].then(say.after(gate, say.unary("other")))
        await ask(bench, UNARY)
        await bench.providers[1].until_requests(1)
        await bench.dispatcher.settle(0.0)
        assert not bench.notes
        gate.set()
        await bench.dispatcher.settle(20.0)
        assert len(bench.notes) == 1

    run(scenario)


def test_the_share_is_drawn() -> None:
    async def scenario(bench: Bench) -> None:  # its draw is 0.5
        await ask(bench, UNARY, 0.5)
        await ask(bench, UNARY, 0.51, client=FakeClient())
        await bench.until_notes(1)
        assert len(bench.providers[1].received) == 1

    run(scenario)


def test_copies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.dispatch.shadow.MOST_COPIES", 2)

    async def scenario(bench: Bench) -> None:
        bench.providers[1].fallback = say.hang()
        for _ in range(4):
            await ask(bench, UNARY, client=FakeClient())
        await bench.providers[1].until_requests(2)
        bench.clock.pass_by(120.0)
        await bench.until_notes(2)
        assert len(bench.providers[1].received) == 2
        bench.providers[1].fallback = say.unary()
        bench.clock.pass_by(60.0)
        await ask(bench, UNARY, client=FakeClient())
        await bench.until_notes(3)

    run(scenario)


def test_copies_may_not_hold_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.dispatch.shadow.MOST_BYTES", 10)

    async def scenario(bench: Bench) -> None:
        assert (await ask(bench, UNARY)).end == "complete"
        assert not bench.providers[1].received

    run(scenario)
