"""Streams that are kept alive: the client is never left in silence, and still told the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from router_dsl.plan import Endpoints, Escalate
from runtime.dispatch.kept import KeptAlive
from runtime.dispatch.record import Record
from runtime.wire import unavailable
from runtime.wire.keep_alive import COMMENT, KeepAlive, Mode
from runtime.wire.sse import Head
from tests.dispatch import truth
from tests.dispatch.bench import STREAM, Bench, run
from tests.dispatch.truth import outcomes, streamed
from tests.providers import scripted as say


@dataclass
class Stream:
    """A stream that is kept alive; `gate` is one that its providers may wait for."""

    kept: KeptAlive
    asking: asyncio.Task[Record]
    gate: asyncio.Event


Scenario = Callable[[Bench, Stream], Awaitable[None]]
Prepare = Callable[[Bench, asyncio.Event], object]


def kept(scenario: Scenario, prepare: Prepare, mode: Mode = "comment", **asked: object) -> None:
    """Ask with signs of life every 5 s; as serving does, what nobody answers is told in-band once they have begun."""

    async def whole(bench: Bench) -> None:
        gate = asyncio.Event()
        prepare(bench, gate)
        found = KeptAlive(bench.client, KeepAlive(5.0, mode), "chat", "openai", Head("req_1", created=7), bench.clock)

        async def asking() -> Record:
            record = await bench.ask(STREAM, client=found, **asked)  # type: ignore[arg-type]
            if record.end == "exhausted" and found.is_begun:
                await found.fail(unavailable.exhausted(record.status, []))
            return record

        task = asyncio.create_task(asking())
        try:
            await scenario(bench, Stream(found, task, gate))
        finally:
            await task
            await found.aclose()

    run(whole)


def text_of(bench: Bench) -> str:
    return truth.text_of(bench.client.body.replace(COMMENT, b""))


async def quiet(bench: Bench, chunks: int) -> None:
    """Let 5 s pass, in which one sign of life is given: the `chunks`-th thing that the client gets."""
    bench.clock.pass_by(5.0)
    await bench.client.until_chunks(chunks)


def test_silence_is_broken_before_the_first_content_and_the_answer_follows() -> None:
    async def scenario(bench: Bench, stream: Stream) -> None:
        await bench.providers[0].until_requests(1)
        assert bench.client.status is None
        await quiet(bench, 1)
        await quiet(bench, 2)
        assert (bench.client.status, bench.client.chunks) == (200, [COMMENT, COMMENT])
        assert bench.client.waited_s == 5.0, "waiting is not the router's own time"
        assert bench.client.headers[b"content-type"].startswith(b"text/event-stream")
        stream.gate.set()
        assert (await stream.asking).end == "complete"
        assert text_of(bench) == "hi"
        assert bench.client.body.endswith(b"data: [DONE]\n\n")

    def prepare(bench: Bench, gate: asyncio.Event) -> None:
        bench.providers[0].then(say.after(gate, say.stream("hi")))

    kept(scenario, prepare)


def test_a_stream_that_is_never_silent_has_no_sign_of_life() -> None:
    async def scenario(bench: Bench, stream: Stream) -> None:
        assert (await stream.asking).end == "complete"
        assert b"keep-alive" not in bench.client.body
        assert bench.client.endpoint == "m@p0"

    kept(scenario, lambda bench, _: bench.providers[0].then(say.stream("hi")))


def test_fail_over_goes_on_behind_the_signs_of_life() -> None:
    async def scenario(bench: Bench, stream: Stream) -> None:
        await bench.providers[0].until_requests(1)
        await quiet(bench, 1)
        stream.gate.set()
        record = await stream.asking
        assert (record.end, record.endpoint, outcomes(record)) == ("complete", "m@p1", ["status 503", "ok"])
        assert text_of(bench) == "there"

    def prepare(bench: Bench, gate: asyncio.Event) -> None:
        bench.providers[0].then(say.after(gate, say.status(503)))
        bench.providers[1].then(say.stream("there"))

    kept(scenario, prepare)


@pytest.mark.parametrize("status", [503, 400])
def test_what_fails_after_a_sign_of_life_is_told_in_band(status: int) -> None:
    async def scenario(bench: Bench, stream: Stream) -> None:
        await bench.providers[0].until_requests(1)
        await quiet(bench, 1)
        stream.gate.set()
        record = await stream.asking
        assert record.end == ("refused" if status == 400 else "exhausted")
        assert bench.client.status == 200
        assert b"[DONE]" not in bench.client.body
        (last,) = streamed(bench.client.body.replace(COMMENT, b""))
        assert (last["id"], last["choices"][0]["finish_reason"]) == ("req_1", "error")  # type: ignore[index]
        error = last["error"]
        assert isinstance(error, dict)
        assert status != 400 or (error["message"], error["code"]) == ("no", "c")

    def prepare(bench: Bench, gate: asyncio.Event) -> None:
        bench.providers[0].then(say.after(gate, say.status(status)))
        bench.providers[1].then(say.status(status))

    kept(scenario, prepare)


def test_what_fails_before_any_sign_of_life_has_its_own_status() -> None:
    async def scenario(bench: Bench, stream: Stream) -> None:
        assert (await stream.asking).end == "refused"
        assert (bench.client.status, stream.kept.is_begun) == (400, True)

    kept(scenario, lambda bench, _: bench.providers[0].then(say.status(400)))


@pytest.mark.parametrize("mode", ["comment", "chunk"])
def test_silence_in_the_middle_is_broken_too_under_the_name_of_the_stream(mode: Mode) -> None:
    async def scenario(bench: Bench, stream: Stream) -> None:
        await bench.client.until_chunks(1)
        await quiet(bench, 2)
        sign = bench.client.chunks[1]
        assert sign == COMMENT if mode == "comment" else streamed(sign)[0]["id"] == "chatcmpl-1"
        stream.gate.set()
        assert (await stream.asking).end == "complete"
        assert text_of(bench) == "hello"

    def prepare(bench: Bench, gate: asyncio.Event) -> None:
        bench.providers[0].then(say.sse_halted(say.events("hel", done=False)[:2], gate, say.events("lo")[1:]))

    kept(scenario, prepare, mode)


def test_a_client_that_is_slow_to_take_a_sign_of_life_gets_everything_in_order() -> None:
    async def scenario(bench: Bench, stream: Stream) -> None:
        await bench.providers[0].until_requests(1)
        bench.client.taking.clear()
        await quiet(bench, 1)
        stream.gate.set()
        while not stream.kept._behind:  # noqa: ASYNC110 — the answer has come, and waits its turn
            await asyncio.sleep(0)
        bench.clock.pass_by(20.0)  # no further sign while the first is not taken
        bench.client.taking.set()
        assert (await stream.asking).end == "complete"
        assert bench.client.chunks.count(COMMENT) == 1
        assert text_of(bench) == "hi"

    def prepare(bench: Bench, gate: asyncio.Event) -> None:
        bench.providers[0].then(say.after(gate, say.stream("hi")))

    kept(scenario, prepare, first_token_s=600.0, stall_s=600.0)


def test_a_client_that_leaves_between_signs_of_life_ends_everything() -> None:
    async def scenario(bench: Bench, stream: Stream) -> None:
        await bench.providers[0].until_requests(1)
        await quiet(bench, 1)
        bench.client.leave()
        record = await stream.asking
        assert (record.end, outcomes(record)) == ("client gone", ["cancelled"])
        await bench.providers[0].until_all_closed()

    kept(scenario, lambda bench, _: bench.providers[0].then(say.hang()))


def test_a_client_that_cannot_be_written_to_is_given_no_more_signs() -> None:
    async def scenario(bench: Bench, stream: Stream) -> None:
        await bench.providers[0].until_requests(1)
        bench.client.breaks = True
        bench.clock.pass_by(5.0)
        await asyncio.sleep(0)
        bench.client.leave()
        assert (await stream.asking).end == "client gone"
        assert bench.client.chunks == []

    kept(scenario, lambda bench, _: bench.providers[0].then(say.hang()))


def test_an_escalated_answer_that_is_held_back_is_kept_alive() -> None:
    async def scenario(bench: Bench, stream: Stream) -> None:
        await bench.providers[0].until_requests(1)
        await quiet(bench, 1)
        stream.gate.set()
        record = await stream.asking
        assert (record.end, record.escalated) == ("complete", "truncated")
        assert text_of(bench) == "better"

    def prepare(bench: Bench, gate: asyncio.Event) -> None:
        bench.providers[0].then(say.after(gate, say.stream("cut", finish="length")))
        bench.providers[1].then(say.stream("better"))

    rule = Escalate(Endpoints("m", (1,)), ("truncated",))
    kept(scenario, prepare, attempts=(0,), escalation=(1,), escalate=rule)
