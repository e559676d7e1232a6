"""Providers that say how busy they are, where the policy declares it: `queue` and `load` know; nobody is polled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from runtime.dispatch.dispatcher import Dispatcher
from runtime.dispatch.load_reports import EVERY_S
from runtime.dispatch.outgoing import LOAD_HEADER, LOAD_TAG
from runtime.dispatch.pool import Http1Transport
from runtime.health.endpoint import REPORT_LASTS_S
from runtime.health.health import USUAL_CAPACITY, Health
from tests.dispatch.bench import KEYS, UNARY, Bench, Moment, endpoint, program, provider
from tests.providers import scripted as say
from tests.providers.client import FakeClient
from tests.providers.scripted import Provider

REPORT = ("endpoint-load-metrics", "TEXT named_metrics.num_requests_waiting=30, named_metrics.num_requests_running=2")
PAGE = b'vllm:num_requests_running{e="0"} 8.0\nvllm:num_requests_waiting{e="0"} 5.0\n'
ASKS = {"headers": ((LOAD_HEADER, "TEXT"),)}
TAGGED = {"tags": (LOAD_TAG,)}


def run(scenario: Callable[[Bench], Awaitable[None]], **declared: object) -> None:
    """Two endpoints at the first provider, of which the policy says this."""

    async def whole() -> None:
        async with Provider() as first, Provider() as second, asyncio.timeout(20):
            found = program(
                (provider(0, first.url, **declared), provider(1, second.url)), (endpoint(0, 0), endpoint(1, 0))
            )
            health, clock = Health(found), Moment()
            dispatcher = Dispatcher(found, health, {"openai": Http1Transport()}, KEYS, lambda: 0.5, clock=clock)
            await scenario(Bench([first, second], dispatcher, health, clock))
            await dispatcher.aclose()

    asyncio.run(whole())


def queue(bench: Bench, index: int = 0) -> float | None:
    return bench.health.at(bench.clock.now_s()).measured(index, "queue")


def test_a_report_in_an_answer_is_known_until_it_is_old() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.whole(200, say.answer(), say.JSON, REPORT))
        assert queue(bench) is None
        await bench.ask(UNARY)
        assert bench.providers[0].received[0].headers[LOAD_HEADER] == "TEXT"
        assert b"endpoint-load-metrics" not in bench.client.headers
        assert (queue(bench, 0), queue(bench, 1)) == (30, None)
        state = bench.health.at(bench.clock.now_s())
        assert state.load(0) == 32 / USUAL_CAPACITY
        assert state.measured(0, "inflight") == 0, "which is what this instance has there"
        bench.clock.pass_by(REPORT_LASTS_S)
        assert queue(bench) is None
        assert bench.health.at(bench.clock.now_s()).load(0) == 0

    run(scenario, **ASKS)


def test_an_answer_that_fails_tells_it_too() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.whole(503, b"", REPORT))
        await bench.ask(UNARY)
        assert queue(bench) == 30

    run(scenario, **ASKS)


def test_what_is_not_declared_is_not_read() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.whole(200, say.answer(), say.JSON, REPORT))
        await bench.ask(UNARY)
        assert queue(bench) is None
        assert len(bench.providers[0].received) == 1

    run(scenario)


def test_a_page_is_fetched_after_an_answer_for_all_endpoints_and_not_again_at_once() -> None:
    async def scenario(bench: Bench) -> None:
        first = bench.providers[0]
        first.then(say.unary(), say.whole(200, PAGE, ("content-type", "text/plain")))
        await bench.ask(UNARY)
        await first.until_requests(2)
        page = first.received[1]
        assert (page.method, page.path, "authorization" in page.headers) == ("GET", "/metrics", False)
        while queue(bench) is None:  # noqa: ASYNC110 — it comes from another task
            await asyncio.sleep(0.001)
        assert [queue(bench, index) for index in (0, 1)] == [5, 5]
        for _ in range(5):
            await bench.ask(UNARY, client=FakeClient())
        assert len(first.received) == 7, "nothing but the requests"
        bench.clock.pass_by(EVERY_S)
        await bench.ask(UNARY, client=FakeClient())
        await first.until_requests(9)
        assert first.received[8].path == "/metrics"

    run(scenario, **TAGGED)


@pytest.mark.parametrize("page", [say.status(404), say.reset(), say.hang(), say.whole(200, b"nothing"), say.html()])
def test_a_page_that_says_nothing_changes_nothing(page: say.Script) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.unary(), page)
        assert (await bench.ask(UNARY)).end == "complete"
        await bench.providers[0].until_requests(2)
        assert queue(bench) is None

    run(scenario, **TAGGED)
