"""Whole requests through the dispatcher: deadlines, clients that leave, plans that are exhausted."""

from __future__ import annotations

import asyncio
import json

import pytest

from router_dsl.plan import Hedge
from tests.dispatch.bench import STREAM, UNARY, Bench, run
from tests.dispatch.truth import ends_in_error, ends_well, outcomes
from tests.providers import scripted as say
from tests.providers.scripted import Script

# --- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [UNARY, STREAM], ids=["unary", "stream"])
def test_silence_past_the_first_token_deadline_moves_on(body: dict[str, object]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.hang())
        bench.providers[1].then(say.either())
        asking = asyncio.create_task(bench.ask(body, first_token_s=3.0))
        await bench.providers[0].until_requests(1)
        bench.clock.pass_by(2.9)
        assert not bench.providers[1].received
        bench.clock.pass_by(0.2)
        record = await asking
        assert outcomes(record) == ["timeout first token", "ok"]
        assert record.attempts[0].ended_s == pytest.approx(3.0)
        await bench.providers[0].until_all_closed()

    run(scenario)


def test_a_head_is_no_first_token_of_a_stream() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.sse([say.event("", role="assistant"), b": ping\n\n"], end="stall"))
        bench.providers[1].then(say.stream("hi"))
        asking = asyncio.create_task(bench.ask(STREAM, first_token_s=3.0))
        await bench.providers[0].until_requests(1)
        bench.clock.pass_by(3.0)
        assert outcomes(await asking) == ["timeout first token", "ok"]
        ends_well(bench, "hi")

    run(scenario)


def test_within_moves_on_before_the_commit_and_cuts_after_it() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.hang())
        bench.providers[1].then(say.sse([say.event("Hello")], end="stall"))
        asking = asyncio.create_task(bench.ask(STREAM, within_s=5.0))
        await bench.providers[0].until_requests(1)
        bench.clock.pass_by(5.0)
        await bench.client.until_chunks(1)
        bench.clock.pass_by(5.0)
        record = await asking
        assert (record.end, outcomes(record)) == ("cut", ["timeout within", "timeout within"])
        ends_in_error(bench, "Hello")

    run(scenario)


def test_a_stalled_stream_ends_in_one_error() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.sse([say.event("Hello")], end="stall"))
        asking = asyncio.create_task(bench.ask(STREAM, stall_s=2.0))
        await bench.client.until_chunks(1)
        bench.clock.pass_by(2.0)
        record = await asking
        assert (record.end, outcomes(record)) == ("cut", ["stall"])
        ends_in_error(bench, "Hello")
        await bench.providers[0].until_all_closed()

    run(scenario)


def test_a_slow_client_is_not_a_stalled_provider() -> None:
    async def scenario(bench: Bench) -> None:
        gate = asyncio.Event()
        chunks = say.events("Hel", "lo")
        open_now = asyncio.Event()
        open_now.set()
        bench.providers[0].then(say.gated([open_now, open_now, *[gate] * (len(chunks) - 2)], chunks))
        bench.client.taking.clear()
        asking = asyncio.create_task(bench.ask(STREAM, stall_s=2.0))
        await bench.client.until_chunks(1)
        bench.clock.pass_by(60.0)
        bench.client.taking.set()
        gate.set()
        assert (await asking).end == "complete"
        ends_well(bench, "Hello")

    run(scenario)


def test_a_slow_client_is_told_when_the_answer_takes_too_long() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.sse([say.event("Hello")], end="stall"))
        bench.client.taking.clear()
        asking = asyncio.create_task(bench.ask(STREAM, within_s=5.0))
        await bench.client.until_chunks(1)
        bench.clock.pass_by(5.0)
        await bench.client.until_chunks(2)
        bench.client.taking.set()
        assert (await asking).end == "cut"
        ends_in_error(bench, "Hello")

    run(scenario)


def test_the_same_endpoint_is_asked_again_after_a_pause() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.status(503), say.unary())
        asking = asyncio.create_task(bench.ask(UNARY, attempts=(0, 0)))
        await bench.providers[0].until_requests(1)
        await bench.clock.until_next_at(1000.1)  # jitter 0.5 of 0.2 s
        assert len(bench.providers[0].received) == 1
        bench.clock.pass_by(0.1)
        assert outcomes(await asking) == ["status 503", "ok"]

    run(scenario)


def test_a_hedge_wins_over_a_silent_first_and_the_loser_is_dropped() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.hang())
        bench.providers[1].then(say.stream("hi"))
        asking = asyncio.create_task(bench.ask(STREAM, attempts=(0,), hedge=Hedge(1.0, None, 1.0)))
        await bench.providers[0].until_requests(1)
        bench.clock.pass_by(1.0)
        record = await asking
        assert outcomes(record) == ["cancelled", "ok"]
        ends_well(bench, "hi")
        await bench.providers[0].until_all_closed()

    run(scenario)


# --- the client leaves ----------------------------------------------------------------------------


@pytest.mark.parametrize("script", [say.hang(), say.hang_after_head(), say.sse([say.event("a")], end="stall")])
def test_a_client_that_leaves_stops_everything(script: Script) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(script)
        asking = asyncio.create_task(bench.ask(STREAM))
        await bench.providers[0].until_requests(1)
        bench.client.leave()
        record = await asking
        assert (record.end, outcomes(record)) == ("client gone", ["cancelled"])
        await bench.providers[0].until_all_closed()
        assert not bench.providers[1].received
        assert not bench.client.is_closed

    run(scenario)


def test_a_client_that_leaves_while_it_is_slow_stops_everything() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.sse([say.event("a")], end="stall"))
        bench.client.taking.clear()
        asking = asyncio.create_task(bench.ask(STREAM))
        await bench.client.until_chunks(1)
        bench.client.leave()
        assert (await asking).end == "client gone"

    run(scenario)


def test_a_client_that_leaves_while_it_is_told_of_an_error_stops_everything() -> None:
    async def scenario(bench: Bench) -> None:
        gate = asyncio.Event()
        bench.providers[0].then(say.sse_halted([say.event("a")], gate, [b'data: {"error": "x"}\n\n']))
        asking = asyncio.create_task(bench.ask(STREAM))
        await bench.client.until_chunks(1)
        gate.set()
        bench.client.taking.clear()
        await bench.client.until_chunks(2)
        bench.client.leave()
        record = await asking
        assert (record.end, outcomes(record)) == ("cut", ["error"])

    run(scenario)


ONE_CHUNK = say.sse([b"".join(say.events("hi"))])


@pytest.mark.parametrize(("body", "script"), [(UNARY, say.unary()), (STREAM, ONE_CHUNK)], ids=["unary", "stream"])
def test_a_client_that_hangs_up_on_the_last_byte_has_its_answer(body: dict[str, object], script: Script) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(script)
        bench.client.taking.clear()
        asking = asyncio.create_task(bench.ask(body))
        await bench.client.until_chunks(1)
        assert bench.client.is_closed
        bench.client.leave()
        record = await asking
        assert (record.end, outcomes(record)) == ("complete", ["ok"])

    run(scenario)


@pytest.mark.parametrize("body", [UNARY, STREAM], ids=["unary", "stream"])
def test_a_client_that_cannot_be_written_to_has_left(body: dict[str, object]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.either())
        bench.client.breaks = True
        assert (await bench.ask(body)).end == "client gone"
        assert not bench.providers[1].received

    run(scenario)


@pytest.mark.parametrize("script", [say.hang(), say.sse([say.event("a")], end="stall")])
def test_a_cancelled_request_leaves_nothing_behind(script: Script) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(script)
        asking = asyncio.create_task(bench.ask(STREAM))
        await bench.providers[0].until_requests(1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await bench.providers[0].until_all_closed()

    run(scenario)


# --- nobody can answer ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_request_that_is_itself_at_fault_is_refused_at_once(status: int) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.status(status, "messages[0] is wrong"))
        record = await bench.ask(STREAM)
        assert (record.end, record.status) == ("refused", status)
        assert bench.client.status == status
        assert bench.client.headers[b"content-type"] == b"application/json"
        error = json.loads(bench.client.body)["error"]
        assert (error["message"], error["metadata"]["provider_name"]) == ("messages[0] is wrong", "p0")
        assert bench.client.is_closed
        assert not bench.providers[1].received
        assert bench.health.at(0).measured(0, "errors") is None, "no fault of the endpoint"

    run(scenario)


EXHAUSTED: list[tuple[Script, Script, int]] = [
    (say.status(429, retry_after="7"), say.status(429, retry_after="3"), 429),
    (say.status(429), say.status(503), 503),
    (say.status(503), say.status(429), 503),
    (say.status(500), say.status(500), 502),
    (say.status(503), say.close(), 502),
    (say.status(401), say.status(401), 502),
    (say.status(404), say.status(404), 502),
    (say.html(), say.status(504), 504),
    (say.status(500), say.status(529), 503),
]


@pytest.mark.parametrize(("first", "second", "status"), EXHAUSTED)
def test_when_all_fail_nothing_is_sent_and_the_status_says_why(first: Script, second: Script, status: int) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(first)
        bench.providers[1].then(second)
        record = await bench.ask(UNARY)
        assert (record.end, record.status) == ("exhausted", status)
        assert bench.client.status is None
        assert len(record.attempts) == 2
        if status == 429:
            assert record.retry_after_s == 3.0

    run(scenario)


def test_when_all_hang_the_client_hears_of_it_in_time() -> None:
    async def scenario(bench: Bench) -> None:
        for provider in bench.providers:
            provider.then(say.hang())
        asking = asyncio.create_task(bench.ask(UNARY, first_token_s=1.0))
        for provider in bench.providers:
            await provider.until_requests(1)
            bench.clock.pass_by(1.0)
        record = await asking
        assert (record.end, record.status) == ("exhausted", 504)
        assert bench.clock.at_s == 1002.0

    run(scenario)


def test_a_failure_that_is_not_retried_goes_to_the_next_target() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.status(500))
        record = await bench.ask(UNARY, attempts=(0, 0, 1), targets=(0, 1), retry_on=("429",))
        assert [attempt.endpoint for attempt in record.attempts] == ["m@p0", "m@p1"]

    run(scenario)


def test_a_failure_that_is_not_retried_ends_a_lone_target() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.status(500))
        record = await bench.ask(UNARY, retry_on=("429",))
        assert (record.end, record.status, len(record.attempts)) == ("exhausted", 502, 1)

    run(scenario)


def test_a_refused_key_is_not_offered_to_the_same_endpoint_again() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.status(401))
        record = await bench.ask(UNARY, attempts=(0, 0))
        assert (record.status, len(record.attempts)) == (502, 1)

    run(scenario)
