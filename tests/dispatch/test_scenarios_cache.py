"""Whole requests with a cache: only what is certain is repeated, only to whom it was told, only for its time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import pytest

from runtime.decision.route import Candidate, Route
from runtime.dispatch.record import Record
from tests.dispatch.bench import STREAM, UNARY, Bench, call, options, run
from tests.dispatch.truth import ends_well
from tests.providers import scripted as say
from tests.providers.client import FakeClient
from tests.providers.scripted import Script

EXACT: dict[str, object] = {**UNARY, "temperature": 0}


async def ask(
    bench: Bench, body: Mapping[str, object] = EXACT, *, client: FakeClient | None = None, **how: object
) -> tuple[Record, FakeClient]:
    client = client or FakeClient()
    return await bench.ask(dict(body), client=client, cache_s=60.0, **how), client  # type: ignore[arg-type]


def text(client: FakeClient) -> str:
    found = json.loads(client.body)["choices"][0]["message"]["content"]
    assert isinstance(found, str)
    assert client.headers[b"content-length"] == str(len(client.body)).encode()
    return found


def test_a_second_equal_request_is_answered_from_the_store_at_no_cost() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.unary("first"), say.unary("second"))
        record, client = await ask(bench)
        assert (text(client), client.headers[b"x-pointsman-cache"], record.cache) == ("first", b"miss", "miss")
        bench.clock.pass_by(7.5)
        record, client = await ask(bench)
        assert text(client) == "first"
        assert (client.headers[b"x-pointsman-cache"], client.headers[b"age"]) == (b"hit", b"7")
        assert (record.end, record.status, record.cache, record.cost_nusd) == ("complete", 200, "hit", 0)
        assert (record.endpoint, record.attempts, client.attempts) == ("m@p0", [], 0)
        assert record.usage is not None
        assert (record.usage.prompt, record.usage.completion) == (0, 0)
        assert record.finish_reason == "stop"
        bench.clock.pass_by(52.6)
        assert text((await ask(bench))[1]) == "second", "its time is over"

    run(scenario)


@pytest.mark.parametrize(
    "other",
    [
        {**EXACT, "messages": [{"role": "user", "content": "ho"}]},
        {**EXACT, "top_p": 0.5},
        {**EXACT, "seed": 1},
        {**EXACT, "user": "somebody"},
        {**EXACT, "metadata": {"tenant": "a"}},
        {**EXACT, "max_tokens": 10**30},
    ],
)
def test_whatever_differs_makes_another_question(other: dict[str, object]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.unary("first"), say.unary("second"))
        await ask(bench)
        assert text((await ask(bench, other))[1]) == "second"
        assert text((await ask(bench, other))[1]) == "second"

    run(scenario)


@pytest.mark.parametrize(
    "same",
    [
        dict(reversed(EXACT.items())),
        {**EXACT, "stream": False},
        {**EXACT, "model": "another name for it"},
        {**EXACT, "provider": {"sort": "price"}, "models": ["x"]},
    ],
)
def test_what_makes_no_difference_to_the_provider_makes_none(same: dict[str, object]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.unary("first"), say.unary("second"))
        await ask(bench)
        assert text((await ask(bench, same))[1]) == "first"

    run(scenario)


@pytest.mark.parametrize("headers", [{"x-tenant-id": "b"}, {"x-user-id": "b"}])
def test_nobody_is_given_what_another_was_told(headers: dict[str, str]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.unary("a's"), say.unary("b's"))
        await ask(bench, headers=dict.fromkeys(headers, "a"))
        assert text((await ask(bench, headers=headers))[1]) == "b's"
        assert text((await ask(bench, headers=dict.fromkeys(headers, "a")))[1]) == "a's"

    run(scenario)


@pytest.mark.parametrize("body", [UNARY, {**UNARY, "temperature": 0.1}, {**STREAM, "temperature": 0}])
def test_what_is_not_deterministic_or_a_stream_is_not_kept(body: dict[str, object]) -> None:
    async def scenario(bench: Bench) -> None:
        for answer in ("first", "second"):
            bench.providers[0].then(say.either(answer))
            record, client = await ask(bench, body)
            assert (record.cache, b"x-pointsman-cache" in client.headers) == (None, False)
            if body.get("stream"):
                bench.client = client
                ends_well(bench, answer)
            else:
                assert text(client) == answer

    run(scenario)


@pytest.mark.parametrize(
    ("body", "changed"), [({**UNARY, "seed": 7}, {}), (UNARY, {"set": (("temperature", 0),)})], ids=["seed", "set"]
)
def test_a_seed_and_the_rules_own_edits_count(body: dict[str, object], changed: dict[str, object]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.unary("first"), say.unary("second"))
        await ask(bench, body, **changed)
        assert text((await ask(bench, body, **changed))[1]) == "first"

    run(scenario)


@pytest.mark.parametrize(
    "script", [say.unary("half", "length"), say.unary("half", "content_filter"), say.unary("odd", None)]
)
def test_an_answer_that_is_not_finished_is_not_kept(script: Script) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(script, say.unary("second"))
        await ask(bench)
        assert text((await ask(bench))[1]) == "second"

    run(scenario)


def test_errors_are_not_kept() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.status(422, "wrong"), say.unary("second"))
        assert (await ask(bench))[0].end == "refused"
        assert text((await ask(bench))[1]) == "second"

    run(scenario)


def test_an_answer_of_an_endpoint_that_may_not_be_used_now_is_not_given() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.unary("first"))
        bench.providers[1].then(say.unary("of the other"))
        await ask(bench)
        way, client = Route((), (Candidate(1, 0),), (), (1,), options(cache_s=60.0)), FakeClient()
        record = await bench.dispatcher.answer(call(EXACT), way, client)
        assert (record.cache, text(client)) == ("miss", "of the other")

    run(scenario)


def test_equal_requests_at_once_are_asked_once() -> None:
    async def scenario(bench: Bench) -> None:
        gate = asyncio.Event()
        bench.providers[0].then(say.after(gate, say.unary("one")))
        asking = [asyncio.create_task(ask(bench)) for _ in range(5)]
        await bench.providers[0].until_requests(1)
        for _ in range(20):
            await asyncio.sleep(0)
        gate.set()
        told = await asyncio.gather(*asking)
        assert [text(client) for _, client in told] == ["one"] * 5
        assert sorted(str(record.cache) for record, _ in told) == ["hit"] * 4 + ["miss"]
        assert len(bench.providers[0].received) == 1

    run(scenario)


def test_if_the_first_of_them_fails_the_others_go_on_their_own() -> None:
    async def scenario(bench: Bench) -> None:
        gate = asyncio.Event()
        bench.providers[0].then(say.after(gate, say.status(400)), say.unary("two"), say.unary("three"))
        asking = [asyncio.create_task(ask(bench, attempts=(0,))) for _ in range(3)]
        await bench.providers[0].until_requests(1)
        for _ in range(20):
            await asyncio.sleep(0)
        gate.set()
        told = await asyncio.gather(*asking)
        assert sorted(record.end for record, _ in told) == ["complete", "complete", "refused"]
        assert len(bench.providers[0].received) == 3

    run(scenario)


def test_nobody_waits_for_the_slow_client_of_another() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.unary("one"))
        slow = FakeClient()
        slow.taking.clear()
        first = asyncio.create_task(ask(bench, client=slow))
        await slow.until_chunks(1)
        record, client = await ask(bench)
        assert (text(client), record.cache) == ("one", "hit")
        slow.taking.set()
        assert (await first)[0].end == "complete"

    run(scenario)


def test_one_that_waits_for_another_may_leave() -> None:
    async def scenario(bench: Bench) -> None:
        gate = asyncio.Event()
        bench.providers[0].then(say.after(gate, say.unary("one")))
        first = asyncio.create_task(ask(bench))
        await bench.providers[0].until_requests(1)
        leaver = FakeClient()
        second = asyncio.create_task(ask(bench, client=leaver))
        for _ in range(5):
            await asyncio.sleep(0)
        leaver.leave()
        assert (await second)[0].end == "client gone"
        gate.set()
        assert (await first)[0].end == "complete"

    run(scenario)


def test_when_the_first_of_them_leaves_the_others_are_still_answered() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.hang(), say.unary("two"))
        leaver = FakeClient()
        first = asyncio.create_task(ask(bench, client=leaver))
        await bench.providers[0].until_requests(1)
        second = asyncio.create_task(ask(bench))
        for _ in range(5):
            await asyncio.sleep(0)
        leaver.leave()
        assert (await first)[0].end == "client gone"
        assert text((await second)[1]) == "two"

    run(scenario)


def test_the_store_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.dispatch.cache.MOST_BYTES", 3000)
    monkeypatch.setattr("runtime.dispatch.cache.MOST_ENTRIES", 3)
    monkeypatch.setattr("runtime.dispatch.cache.LARGEST_BYTES", 500)

    async def scenario(bench: Bench) -> None:
        for seed in range(1, 6):
            await ask(bench, {**UNARY, "seed": seed})
        kept = [(await ask(bench, {**UNARY, "seed": seed}))[0].cache for seed in (5, 4, 3, 1)]
        assert kept == ["hit", "hit", "hit", "miss"]
        bench.providers[0].then(say.unary("x" * 500))
        await ask(bench, {**UNARY, "seed": 9})
        assert (await ask(bench, {**UNARY, "seed": 9}))[0].cache == "miss", "too large to keep"

    run(scenario)


def test_a_client_that_cannot_be_written_to_has_left() -> None:
    async def scenario(bench: Bench) -> None:
        await ask(bench)
        broken = FakeClient()
        broken.breaks = True
        assert (await ask(bench, client=broken))[0].end == "client gone"

    run(scenario)
