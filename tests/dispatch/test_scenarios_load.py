"""Whole requests through the dispatcher: what hedges and retries may add to the load of the providers."""

from __future__ import annotations

import asyncio

import pytest

from router_dsl.plan import Hedge
from runtime.dispatch.dispatcher import RETRY_STOCK
from runtime.dispatch.record import Record
from tests.dispatch.bench import STREAM, UNARY, Bench, run
from tests.dispatch.truth import ends_well, outcomes
from tests.providers import scripted as say
from tests.providers.client import FakeClient

# --- hedges ---------------------------------------------------------------------------------------


async def silent(bench: Bench, hedge: Hedge, seconds: float = 1.0, **how: tuple[int, ...]) -> Record:
    """Ask while the first provider says nothing for so long, then answers."""
    gate = asyncio.Event()
    bench.providers[0].then(say.after(gate, say.stream("slow")))
    before = len(bench.providers[0].received)
    asking = asyncio.create_task(bench.ask(STREAM, attempts=(0,), hedge=hedge, client=FakeClient(), **how))
    await bench.providers[0].until_requests(before + 1)
    bench.clock.pass_by(seconds)
    gate.set()
    return await asking


def test_hedges_are_at_most_the_share_of_the_requests_that_was_said() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[1].fallback = say.stream("quick")
        hedged = []
        for _ in range(10):
            record = await silent(bench, Hedge(1.0, None, 0.2))
            hedged.append(len(record.attempts) == 2)
        assert hedged == [False] * 4 + [True] + [False] * 4 + [True]

    run(scenario)


def test_a_hedge_without_a_share_is_made_whenever_it_is_due() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[1].fallback = say.stream("quick")
        for _ in range(3):
            assert len((await silent(bench, Hedge(1.0, None, 1.0))).attempts) == 2
        assert len((await silent(bench, Hedge(1.0, None, 0.0))).attempts) == 1

    run(scenario)


def test_a_hedge_after_a_percentile_waits_for_as_long_as_the_endpoint_usually_takes() -> None:
    async def scenario(bench: Bench) -> None:
        hedge = Hedge(None, 0.95, 1.0)
        bench.providers[1].fallback = say.stream("quick")
        for _ in range(5):
            bench.health.begin(0, bench.clock.now_s()).success(bench.clock.now_s(), 2.0)
        bench.providers[0].then(say.hang())
        asking = asyncio.create_task(bench.ask(STREAM, attempts=(0,), hedge=hedge, first_token_s=30.0))
        await bench.providers[0].until_requests(1)
        bench.clock.pass_by(1.7)
        assert not bench.providers[1].received
        bench.clock.pass_by(0.7)
        assert outcomes(await asking) == ["cancelled", "ok"]

    run(scenario)


def test_a_percentile_that_is_not_known_yet_hedges_nothing() -> None:
    async def scenario(bench: Bench) -> None:
        assert len((await silent(bench, Hedge(None, 0.95, 1.0), 60.0)).attempts) == 1
        assert not bench.providers[1].received

    run(scenario)


def test_a_hedge_never_goes_where_service_has_ended() -> None:
    async def scenario(bench: Bench) -> None:
        bench.health.begin(1, bench.clock.now_s()).failure(bench.clock.now_s(), "429", 600.0)
        assert len((await silent(bench, Hedge(1.0, None, 1.0))).attempts) == 1
        assert not bench.providers[1].received

    run(scenario)


def test_a_hedge_never_goes_where_service_ends_meanwhile() -> None:
    async def scenario(bench: Bench) -> None:
        gate = asyncio.Event()
        bench.providers[0].then(say.after(gate, say.stream("slow")))
        asking = asyncio.create_task(bench.ask(STREAM, attempts=(0,), hedge=Hedge(1.0, None, 1.0)))
        await bench.providers[0].until_requests(1)
        bench.health.begin(1, bench.clock.now_s()).failure(bench.clock.now_s(), "429", 600.0)
        bench.clock.pass_by(1.0)
        gate.set()
        assert outcomes(await asking) == ["ok"]
        assert not bench.providers[1].received

    run(scenario)


def test_a_hedge_only_goes_to_candidates() -> None:
    async def scenario(bench: Bench) -> None:
        assert len((await silent(bench, Hedge(1.0, None, 1.0), targets=(0,))).attempts) == 1

    run(scenario)


def test_what_a_hedge_costs_is_shown_apart() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.hang())
        bench.providers[1].then(say.stream("hi"))
        asking = asyncio.create_task(bench.ask(STREAM, attempts=(0,), hedge=Hedge(1.0, None, 1.0)))
        await bench.providers[0].until_requests(1)
        bench.clock.pass_by(1.0)
        record = await asking
        assert outcomes(record) == ["cancelled", "ok"]
        assert [attempt.role for attempt in record.attempts] == ["plan", "hedge"]
        assert record.cost_nusd == 9 * 1_000 + 3 * 2_000
        assert record.hedge_cost_nusd == 9 * 1_000, "the loser has read the prompt"
        assert [attempt.cost_nusd for attempt in record.attempts] == [9_000, 15_000]
        ends_well(bench, "hi")

    run(scenario)


def test_a_request_without_a_hedge_has_no_cost_of_one() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.unary())
        assert (await bench.ask(UNARY)).hedge_cost_nusd is None

    run(scenario)


# --- retries --------------------------------------------------------------------------------------


async def again(bench: Bench, attempts: tuple[int, ...] = (0, 0)) -> Record:
    """Ask for the same endpoint again and again, as time stands still but for the pauses."""
    asking = asyncio.create_task(bench.ask(UNARY, attempts=attempts, client=FakeClient()))
    while not asking.done():
        await asyncio.wait((asking,), timeout=0.001)
        if not asking.done() and (due_s := bench.clock.next_s) is not None and due_s - bench.clock.at_s < 5.0:
            bench.clock.at_s, held = due_s, bench.clock.at_s
            bench.clock.pass_by(0.0)
            bench.clock.at_s = held
    return await asking


def test_in_an_outage_the_load_grows_by_a_fifth_and_not_by_the_plan() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].fallback = say.status(503)
        made = [len((await again(bench)).attempts) for _ in range(40)]
        assert sum(made) - 40 <= RETRY_STOCK + 0.2 * 40
        assert made[:5] == [2] * 5, "a few failures are mended as ever"
        assert set(made[-10:]) == {1, 2}

    run(scenario)


def test_withheld_attempts_are_on_record() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].fallback = say.status(503)
        records = [await again(bench, (0, 0, 0)) for _ in range(30)]
        withheld = [record for record in records if record.withheld]
        assert withheld
        assert all(len(record.attempts) + record.withheld == 3 for record in records)
        assert all((record.end, record.status) == ("exhausted", 503) for record in records)

    run(scenario)


def test_another_endpoint_in_service_is_asked_whatever_the_budget() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].fallback = say.status(500)
        bench.providers[1].fallback = say.unary()
        ends = [(await again(bench, (0, 1))).end for _ in range(40)]
        assert ends == ["complete"] * 40

    run(scenario)


@pytest.mark.parametrize("targets", [(0, 1), (1, 0)])
def test_the_first_attempt_of_a_target_is_free_even_out_of_service(targets: tuple[int, int]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].fallback = say.status(503)
        while not (await again(bench)).withheld:
            pass
        bench.providers[1].then(say.unary())
        bench.health.begin(1, bench.clock.now_s()).failure(bench.clock.now_s(), "429", 600.0)
        record = await bench.ask(UNARY, attempts=(0, 1), targets=targets)
        assert outcomes(record) == ["status 503", "ok"]

    run(scenario)
