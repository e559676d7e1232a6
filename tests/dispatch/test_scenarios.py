"""Whole requests through the dispatcher over real sockets: whatever a provider does, the client is told the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.dispatch.bench import STREAM, UNARY, Bench, run
from tests.dispatch.truth import ends_in_error, ends_well, outcomes, streamed, text_of
from tests.providers import scripted as say
from tests.providers.scripted import Script

# --- all well -------------------------------------------------------------------------------------


def test_a_whole_answer_passes_byte_for_byte() -> None:
    async def scenario(bench: Bench) -> None:
        record = await bench.ask(UNARY)
        assert bench.client.body == say.answer()
        assert bench.client.is_closed
        assert bench.client.headers[b"content-length"] == str(len(say.answer())).encode()
        assert (record.end, record.status, record.endpoint) == ("complete", 200, "m@p0")
        assert record.usage is not None
        assert (record.usage.prompt, record.usage.completion) == (9, 3)
        assert record.finish_reason == "stop"
        assert record.cost_nusd == 9 * 1000 + 3 * 2000

    run(scenario)


def test_chunks_reach_the_client_as_they_come() -> None:
    async def scenario(bench: Bench) -> None:
        chunks = say.events("a", "b", "c", usage=None)
        gates = [asyncio.Event() for _ in chunks]
        bench.providers[0].then(say.gated(gates, chunks))
        asking = asyncio.create_task(bench.ask(STREAM))
        gates[0].set()  # the role alone commits nothing
        await bench.providers[0].until_requests(1)
        for count, gate in enumerate(gates[1:-1], 1):
            gate.set()
            await bench.client.until_chunks(count)
            assert len(bench.client.chunks) == count
        gates[-1].set()
        record = await asking
        assert record.end == "complete"
        assert bench.client.chunks[0] == chunks[0] + chunks[1]
        assert bench.client.chunks[1:] == chunks[2:]
        ends_well(bench, "abc")

    run(scenario)


def test_usage_is_asked_for_and_kept_from_clients_that_did_not() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.stream("hi"))
        record = await bench.ask(STREAM)
        assert bench.providers[0].received[0].json["stream_options"] == {"include_usage": True}
        assert b"prompt_tokens" not in bench.client.body
        assert record.usage is not None
        assert record.cost_nusd == 9 * 1000 + 3 * 2000
        ends_well(bench, "hi")

    run(scenario)


def test_usage_reaches_clients_that_asked() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.stream("hi"))
        await bench.ask({**STREAM, "stream_options": {"include_usage": True}})
        assert streamed(bench.client.body)[-1]["usage"] == say.USAGE
        ends_well(bench, "hi")

    run(scenario)


@pytest.mark.parametrize("end", ["end", "fin", "rst"])
def test_a_stream_whose_choices_are_finished_is_complete_without_done(end: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.sse(say.events("hi", done=False, usage=None), end=end))
        record = await bench.ask(STREAM)
        assert (record.end, outcomes(record)) == ("complete", ["ok"])
        ends_well(bench, "hi")

    run(scenario)


def test_a_finished_stream_that_never_closes_is_closed_for_the_client() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.sse(say.events("hi", done=False, usage=None), end="stall"))
        asking = asyncio.create_task(bench.ask(STREAM))
        await bench.clock.until_next_at(1002.0)
        bench.clock.pass_by(2.0)
        assert (await asking).end == "complete"
        ends_well(bench, "hi")

    run(scenario)


def test_nothing_after_done_reaches_the_client() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.sse([b"".join([*say.events("hi"), say.event("more"), say.DONE])]))
        assert (await bench.ask(STREAM)).end == "complete"
        ends_well(bench, "hi")

    run(scenario)


def test_a_provider_that_goes_on_after_done_is_left() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.sse(say.events("hi"), end="stall"))
        assert (await bench.ask(STREAM)).end == "complete"
        ends_well(bench, "hi")
        await bench.providers[0].until_all_closed()

    run(scenario)


def test_several_choices_are_all_waited_for() -> None:
    async def scenario(bench: Bench) -> None:
        one = [say.event("a", index=0), say.event("b", index=1), say.event(finish="stop", index=0)]
        bench.providers[0].then(say.sse(one))
        record = await bench.ask({**STREAM, "n": 2})
        assert (record.end, outcomes(record)) == ("cut", ["cut"])

    run(scenario)


# --- before the commit ----------------------------------------------------------------------------

GZIP = ("content-encoding", "gzip")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"

UNUSABLE: dict[str, tuple[Script, str]] = {
    "500": (say.status(500), "status 500"),
    "503": (say.status(503), "status 503"),
    "429": (say.status(429, retry_after="1"), "status 429"),
    "529": (say.status(529), "status 529"),
    "408": (say.status(408), "status 408"),
    "409": (say.status(409), "status 409"),
    "401": (say.status(401), "status 401"),
    "402": (say.status(402), "status 402"),
    "403": (say.status(403), "status 403"),
    "404": (say.status(404), "status 404"),
    "412": (say.status(412), "status 412"),
    "302": (say.status(302), "status 302"),
    "html 502": (say.html(502), "status 502"),
    "html 200": (say.html(), "malformed"),
    "closed": (say.close(), "lost"),
    "reset": (say.reset(), "lost"),
    "garbage": (say.raw(b"\x16\x03\x01 this is not http\r\n\r\n"), "lost"),
    "half a head": (say.raw(b"HTTP/1.1 200 OK\r\ncontent-"), "lost"),
    "bad chunking": (say.raw(HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}"), "lost"),
    "cut body": (say.raw(HEAD + b"content-length: 1000\r\n\r\n{"), "lost"),
    "no body": (say.whole(200, b"", say.JSON), "empty"),
    "204": (say.raw(b"HTTP/1.1 204 No Content\r\n\r\n"), "empty"),
    "gzip": (say.whole(200, b"\x1f\x8b...", say.JSON, GZIP), "malformed"),
    "error as 200": (say.whole(200, b'{"error": {"message": "overloaded", "code": 503}}', say.JSON), "error"),
}

UNUSABLE_WHOLE: dict[str, tuple[Script, str]] = {
    "no text": (say.unary(""), "empty"),
    "null text": (say.unary(None), "empty"),
    "no choices": (say.whole(200, b'{"choices": []}', say.JSON), "empty"),
    "half a json": (say.whole(200, say.answer()[:-5], say.JSON), "malformed"),
    "a stream": (say.stream("hi"), "malformed"),
    "a number": (say.whole(200, b"7", say.JSON), "malformed"),
}

UNUSABLE_STREAM: dict[str, tuple[Script, str]] = {
    "a whole answer": (say.unary("hi"), "malformed"),
    "nothing": (say.sse([]), "empty"),
    "only done": (say.sse([say.DONE]), "empty"),
    "role and done": (say.stream(), "empty"),
    "role and end": (say.sse([say.event(role="assistant")]), "empty"),
    "role and fin": (say.sse([say.event(role="assistant")], end="fin"), "lost"),
    "role and rst": (say.sse([say.event(role="assistant")], end="rst"), "lost"),
    "error first": (say.sse([b'data: {"error": {"message": "x"}}\n\n']), "error"),
    "role, then error": (say.sse([say.event(role="assistant"), b'data: {"error": "x"}\n\n']), "error"),
    "content and error at once": (say.sse([say.event("hi") + b'data: {"error": "x"}\n\n']), "error"),
    "nonsense": (say.sse([b"data: <html>\n\n"]), "malformed"),
    "not events": (say.whole(200, b"upstream timed out", ("content-type", "text/plain")), "malformed"),
}


def fails_over(script: Script, outcome: str, body: dict[str, object], check: Callable[[Bench], None]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(script)
        bench.providers[1].then(say.either("from the other"))
        record = await bench.ask(body)
        assert outcomes(record) == [outcome, "ok"]
        assert (record.end, record.endpoint) == ("complete", "m@p1")
        assert (bench.client.endpoint, bench.client.attempts) == ("m@p1", 2)
        check(bench)

    run(scenario)


@pytest.mark.parametrize(("script", "outcome"), (UNUSABLE | UNUSABLE_WHOLE).values(), ids=(UNUSABLE | UNUSABLE_WHOLE))
def test_an_unusable_whole_answer_is_never_seen(script: Script, outcome: str) -> None:
    def check(bench: Bench) -> None:
        assert bench.client.body == say.answer("from the other")

    fails_over(script, outcome, UNARY, check)


@pytest.mark.parametrize(("script", "outcome"), (UNUSABLE | UNUSABLE_STREAM).values(), ids=(UNUSABLE | UNUSABLE_STREAM))
def test_an_unusable_stream_is_never_seen(script: Script, outcome: str) -> None:
    fails_over(script, outcome, STREAM, lambda bench: ends_well(bench, "from the other"))


def test_a_dead_provider_is_never_seen() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.providers[0].stop()
        record = await bench.ask(UNARY)
        assert outcomes(record) == ["connect", "ok"]
        assert bench.client.body == say.answer()

    run(scenario)


def test_early_hints_and_trailers_do_no_harm() -> None:
    body = b"%x\r\n%s\r\n0\r\nx-trailer: t\r\n\r\n" % (len(say.answer()), say.answer())
    told = (
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + HEAD + b"x-mine: 1\r\nx-hop: 2\r\nconnection: x-hop\r\n"
        b"set-cookie: a=b\r\nserver: s\r\nx-request-id: theirs\r\ntransfer-encoding: chunked\r\n\r\n"
    )

    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.raw(told + body))
        assert (await bench.ask(UNARY)).end == "complete"
        assert bench.client.body == say.answer()
        assert set(bench.client.headers) == {b"content-type", b"content-length", b"x-mine"}

    run(scenario)


# --- after the commit -----------------------------------------------------------------------------

BROKEN: dict[str, tuple[list[bytes], str, str]] = {
    "cut in order": ([say.event("lo")], "end", "cut"),
    "cut in the middle": ([], "end", "cut"),
    "half an event in order": ([b'data: {"choi'], "end", "cut"),
    "fin": ([say.event("lo")], "fin", "lost"),
    "rst": ([], "rst", "lost"),
    "half an event": ([b'data: {"choi'], "fin", "lost"),
    "error": ([b'data: {"error": {"message": "x", "code": 500}}\n\n', say.DONE], "end", "error"),
    "error event": ([b'event: error\ndata: {"message": "x"}\n\n'], "end", "error"),
    "finish error": ([say.event(finish="error"), say.DONE], "end", "error"),
    "nonsense": ([b"data: {nonsense\n\n", say.DONE], "end", "malformed"),
    "error without an end": ([b'data: {"error": "x"}\n\n'], "stall", "error"),
}


@pytest.mark.parametrize(("rest", "end", "outcome"), BROKEN.values(), ids=BROKEN)
def test_a_broken_stream_ends_in_one_error(rest: list[bytes], end: str, outcome: str) -> None:
    async def scenario(bench: Bench) -> None:
        gate = asyncio.Event()
        bench.providers[0].then(say.sse_halted([say.event("Hel")], gate, rest, end))
        asking = asyncio.create_task(bench.ask(STREAM))
        await bench.client.until_chunks(1)
        gate.set()
        record = await asking
        assert (record.end, record.status, outcomes(record)) == ("cut", 200, [outcome])
        assert record.cost_nusd is None
        assert not bench.providers[1].received, "nothing is retried once the client has bytes"
        ends_in_error(bench, "Hello" if rest and b"lo" in rest[0] else "Hel")

    run(scenario)


def test_bad_chunking_after_the_commit_ends_in_one_error() -> None:
    async def scenario(bench: Bench) -> None:
        gate = asyncio.Event()

        async def script(talk: say.Talk) -> None:
            await talk.head(200, say.SSE)
            await talk.chunk(say.event("Hello"))
            await gate.wait()
            await talk.send(b"zz\r\nnonsense")
            talk.fin()

        bench.providers[0].then(script)
        asking = asyncio.create_task(bench.ask(STREAM))
        await bench.client.until_chunks(1)
        gate.set()
        record = await asking
        assert (record.end, outcomes(record)) == ("cut", ["lost"])
        ends_in_error(bench, "Hello")

    run(scenario)


@pytest.mark.slow
@pytest.mark.parametrize("offset", range(20, 1400, 23))
def test_wherever_a_stream_is_cut_the_client_knows(offset: int) -> None:
    whole = b"".join(say.events("Hel", "lo"))
    told = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + whole

    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.raw(told[:offset]))
        bench.providers[1].then(say.stream("Good", "bye"))
        record = await bench.ask(STREAM)
        if record.end == "cut":
            ends_in_error(bench, text_of(bench.client.body))
            assert "Hello".startswith(text_of(bench.client.body))
        else:
            ends_well(bench, "Hello" if record.endpoint == "m@p0" else "Goodbye")

    run(scenario)
