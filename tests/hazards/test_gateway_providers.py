"""What a client sees on its wire when providers break off, lie, or speak HTTP as nobody expects."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest

from tests.hazards.gateway import Got, ask, dialled, routed, run
from tests.providers import scripted as say
from tests.providers.scripted import Provider, Script, Talk

pytestmark = pytest.mark.slow

HEL = [say.event("", role="assistant"), say.event("Hel")]
WHOLE = say.answer("hello")


def rescued(failure: Script, *, stream: bool = False) -> None:
    """A failure before the first content: the next endpoint answers, and with none left it is a 502."""

    async def scenario() -> None:
        bad, good = Provider(failure), Provider(say.either("rescued"))
        async with bad, good, routed(bad, good) as served, dialled(served) as wire:
            wire.send(ask(stream))
            got = await wire.got()
            assert got.status == 200
            assert got.whole
            assert (got.texts if stream else json.loads(got.body)["choices"][0]["message"]["content"]) == "rescued"
            assert got.headers["x-pointsman-endpoint"] == "m@p1"
            assert got.headers["x-pointsman-attempts"] == "2"
        async with Provider(failure) as bad, routed(bad) as served, dialled(served) as wire:
            wire.send(ask(stream))
            got = await wire.got()
            assert got.status == 502
            assert got.whole
            assert got.headers["x-should-retry"] == "false"
            assert got.error["code"] == "provider_unavailable"
            # The refusal is an ordinary answer: its connection goes on.
            bad.fallback = say.either("again")
            wire.send(ask(stream))
            assert (await wire.got()).status == 200

    run(scenario)


# --- breaking off ---------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize(
    "said", [HEL, [*HEL, say.event("lo")], [*HEL, b'data: {"id": "half an ev'], [*HEL, b": ping\n\n"]]
)
def test_a_stream_that_is_cut_ends_in_exactly_one_error(said: list[bytes], end: str) -> None:
    async def scenario() -> None:
        async with Provider() as provider, routed(provider) as served, dialled(served) as wire:
            provider.then(say.sse(said, end=end), say.stream("after"))
            wire.send(ask(stream=True))
            got = await wire.got()
            assert got.status == 200
            (error,) = got.errors
            assert error["message"]
            assert json.loads(got.events[-1][6:])["choices"][0]["finish_reason"] == "error"
            assert b"[DONE]" not in got.body
            assert got.texts in ("Hel", "Hello")
            assert b"half an ev" not in got.body
            # The answer says itself that it is broken, so the connection need not.
            assert got.whole
            wire.send(ask(stream=True))
            second = await wire.got()
            assert second.texts == "after"
            assert second.body.endswith(b"data: [DONE]\n\n")
            await served.log.until(2)
            assert [event["end"] for event in served.log.seen] == ["cut", "complete"]

    run(scenario)


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_a_whole_answer_that_is_cut_is_never_seen(end: str) -> None:
    async def cut(talk: Talk) -> None:
        await talk.head(200, say.JSON, length=len(WHOLE))
        await talk.send(WHOLE[:-20])
        getattr(talk, end)()

    rescued(cut)


async def cut_chunk(talk: Talk) -> None:
    await talk.head(200, say.JSON)
    await talk.send(b"fff\r\n" + WHOLE)
    talk.fin()


async def no_last_chunk(talk: Talk) -> None:
    await talk.head(200, say.JSON)
    await talk.chunk(WHOLE)
    talk.fin()


@pytest.mark.parametrize(
    "failure",
    [
        say.close(),
        say.reset(),
        say.raw(b"HTTP/1.1 200 OK\r\ncontent-ty"),
        say.raw(b"garbage\r\n\r\n"),
        say.raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
        say.raw(b"HTTP/1.1 abc OK\r\n\r\n"),
        say.raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        say.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\nhello"),
        say.raw(b"HTTP/1.1 200 OK\r\n" + b"x: " + b"a" * 200_000),
        say.html(),
        say.html(502),
        say.whole(200, b"", say.JSON),
        say.whole(200, b"{}", say.JSON),
        say.whole(200, b'{"error": {"message": "in disguise", "code": 500}}', say.JSON),
        say.whole(204, b""),
        say.raw(b"HTTP/1.1 204 No Content\r\n\r\n", end="end"),
        say.raw(b"HTTP/1.1 304 Not Modified\r\n\r\n", end="end"),
        say.raw(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
        say.raw(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", end="end"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_is_no_answer_is_never_seen(failure: Script, stream: bool) -> None:
    rescued(failure, stream=stream)


@pytest.mark.parametrize("failure", [cut_chunk, no_last_chunk])
def test_bad_framing_of_a_whole_answer_is_never_seen(failure: Script) -> None:
    rescued(failure)


@pytest.mark.parametrize(
    "failure", [say.sse([], end="fin"), say.sse([], end="rst"), say.sse([say.DONE]), say.sse([b": ping\n\n"] * 3),
                say.sse([say.event("", role="assistant")], end="rst"), say.sse([b"data: {nonsense\n\n"]), say.unary(),
                say.sse([b'data: {"error": {"message": "overloaded", "code": 503}}\n\n'])],
)  # fmt: skip
def test_a_stream_that_fails_before_its_first_content_is_never_seen(failure: Script) -> None:
    async def scenario() -> None:
        bad, good = Provider(failure), Provider(say.either("rescued"))
        async with bad, good, routed(bad, good) as served, dialled(served) as wire:
            wire.send(ask(stream=True))
            got = await wire.got()
            assert (got.status, got.texts, got.whole, got.errors) == (200, "rescued", True, [])

    run(scenario)


# --- connections that are kept --------------------------------------------------------------------


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_a_kept_connection_that_closes_on_the_next_request_costs_nothing(end: str) -> None:
    async def scenario() -> None:
        used: set[int] = set()

        async def racing(talk: Talk) -> None:
            if talk.request.connection in used:
                getattr(talk, end)()
            else:
                used.add(talk.request.connection)
                await talk.whole(200, WHOLE, say.JSON)

        async with Provider(racing) as provider, routed(provider) as served, dialled(served) as wire:
            for _ in range(6):
                wire.send(ask())
                assert (await wire.got()).status == 200
            assert provider.connections > 1

    run(scenario)


def test_a_connection_that_closes_after_each_answer_costs_nothing() -> None:
    async def once(talk: Talk) -> None:
        await talk.whole(200, WHOLE, say.JSON)
        talk.fin()

    async def scenario() -> None:
        async with Provider(once) as provider, routed(provider) as served, dialled(served) as wire:
            for _ in range(6):
                wire.send(ask())
                assert (await wire.got()).status == 200

    run(scenario)


POISON = say.answer("POISON")


@pytest.mark.parametrize(
    "extra",
    [
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(POISON), POISON),
        b"HTTP/1.1 500 POISON\r\ncontent-length: 0\r\n\r\n",
        b"POISON",
        b"\r\n\r\nPOISON",
    ],
)
@pytest.mark.parametrize("is_late", [False, True], ids=["at once", "later"])
def test_bytes_nobody_asked_for_reach_no_other_client(extra: bytes, is_late: bool) -> None:
    async def scenario() -> None:
        gate = asyncio.Event()

        async def talkative(talk: Talk) -> None:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(WHOLE)
            await talk.send(head + WHOLE + (b"" if is_late else extra))
            if is_late:
                await gate.wait()
                await talk.send(extra)
            await talk.until_closed()

        async with Provider() as provider, routed(provider) as served:
            provider.then(talkative)
            async with dialled(served) as one, dialled(served) as other:
                one.send(ask())
                first = await one.got()
                assert first.body == WHOLE
                gate.set()
                # A connection that speaks out of turn is ended there and then, before anybody else can be given it.
                await provider.talks[0].closed.wait()
                for wire in (other, one, other):
                    wire.send(ask())
                    got = await wire.got()
                    assert got.status == 200
                    assert got.body == WHOLE

    run(scenario)


# --- unusual answers that are in order ------------------------------------------------------------


def answered(script: Script, *, stream: bool = False, headers: str = "") -> tuple[Got, Provider]:
    """Return what the client gets for a lone provider's answer, and the provider."""

    async def scenario() -> tuple[Got, Provider]:
        async with Provider(script) as provider, routed(provider) as served, dialled(served) as wire:
            wire.send(ask(stream, headers=headers))
            got = await wire.got()
            assert got.whole
            return got, provider

    return run(scenario)


def test_a_compressed_answer_is_not_asked_for_and_never_relayed_in_the_dark() -> None:
    zipped = say.whole(200, gzip.compress(WHOLE), say.JSON, ("content-encoding", "gzip"))
    got, provider = answered(zipped)
    assert provider.received[0].headers["accept-encoding"] == "identity"
    assert got.status == 502
    assert "content-encoding" not in got.headers
    rescued(zipped)


def test_trailers_are_dropped() -> None:
    async def trailing(talk: Talk) -> None:
        await talk.head(200, say.JSON, ("trailer", "x-after"))
        await talk.chunk(WHOLE)
        await talk.send(b"0\r\nx-after: POISON\r\nset-cookie: a=b\r\nx-pointsman-rule: POISON\r\n\r\n")

    async def trailing_stream(talk: Talk) -> None:
        await talk.head(200, say.SSE, ("trailer", "x-after"))
        for event in say.events("hello"):
            await talk.chunk(event)
        await talk.send(b"0\r\nx-after: POISON\r\n\r\n")

    for got in (answered(trailing)[0], answered(trailing_stream, stream=True)[0]):
        assert got.status == 200
        assert got.trailers == []
        assert "POISON" not in str(got.raw_headers)
        assert "trailer" not in got.headers


def test_early_hints_are_passed_over() -> None:
    async def hinting(talk: Talk) -> None:
        await talk.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nx-hint: POISON\r\n\r\n" * 2)
        await talk.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await (say.stream("hello") if talk.request.json.get("stream") else say.unary())(talk)

    for stream in (False, True):
        got, _ = answered(hinting, stream=stream)
        assert got.status == 200
        assert "POISON" not in str(got.raw_headers)


def test_a_body_that_ends_with_its_connection_is_whole() -> None:
    got, _ = answered(say.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + WHOLE))
    assert got.body == WHOLE
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    got, _ = answered(say.raw(head + b"".join(say.events("hello", done=False))), stream=True)
    assert got.texts == "hello"
    assert got.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [False, True])
def test_a_429_with_a_hint_tells_the_client_when_to_come_back(stream: bool) -> None:
    got, provider = answered(say.status(429, retry_after="7"), stream=stream)
    assert len(provider.received) == 1
    assert got.status == 429
    assert got.headers["retry-after"] == "7"
    assert got.headers["retry-after-ms"] == "7000"
    assert got.headers["x-should-retry"] == "false"
    availability = got.error["availability"]
    assert isinstance(availability, dict)
    assert (availability["code"], availability["retryable"], availability["retry_after"]) == (
        "capacity_exhausted", True, 7.0,
    )  # fmt: skip


def test_headers_about_one_connection_stay_on_it() -> None:
    async def secretive(talk: Talk) -> None:
        headers = (("connection", "keep-alive, X-Secret-Hop"), ("x-secret-hop", "POISON"), ("x-plain", "kept"))
        await talk.whole(200, WHOLE, say.JSON, *headers, ("keep-alive", "timeout=5"), ("set-cookie", "a=1"))

    sent = "connection: keep-alive, Traceparent\r\ntraceparent: POISON\r\ntracestate: kept\r\nx-secret: POISON\r\n"
    got, provider = answered(secretive, headers=sent + "cookie: POISON\r\nproxy-authorization: POISON\r\n")
    assert "POISON" not in str(got.raw_headers)
    assert got.headers["x-plain"] == "kept"
    assert "set-cookie" not in got.headers
    assert "keep-alive" not in got.headers
    assert "POISON" not in str(provider.received[0].headers)
    assert provider.received[0].headers["tracestate"] == "kept"


def test_what_the_router_says_of_itself_no_provider_can_say() -> None:
    lies = (
        ("x-pointsman-rule", "POISON"),
        ("x-request-id", "POISON"),
        ("x-should-retry", "true"),
        ("server", "POISON"),
    )
    got, _ = answered(say.whole(200, WHOLE, say.JSON, *lies))
    assert "POISON" not in str(got.raw_headers)
    names = [name for name, _ in got.raw_headers]
    assert len(names) == len(set(names))


# --- WIRE A.8: what streams may hold --------------------------------------------------------------


@pytest.mark.parametrize(
    "before",
    [
        b"event: ping\n\n",
        b"id: 7\n: comment\n\n",
        b"retry: 1000\n\n",
        b"id: 7\n\n",
        b": OPENROUTER PROCESSING\n\n",
        b"\n\n\n",
    ],
)
@pytest.mark.parametrize("place", [0, 2])
def test_events_that_would_kill_an_sdk_are_kept_from_it(before: bytes, place: int) -> None:
    chunks = say.events("hello")
    chunks.insert(place, before)
    got, _ = answered(say.sse(chunks), stream=True)
    assert got.texts == "hello"
    for event in got.events:
        assert event.lstrip(b"\n").startswith((b"data:", b":")), event
    assert got.events[-1] == b"data: [DONE]"
    assert sum(b"[DONE]" in event for event in got.events) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"data: ", b"data:"),
        lambda data: data.replace(b"data: [DONE]\n\n", b"data:[DONE]"),
        lambda data: data.replace(b"data: [DONE]\n\n", b""),
        lambda data: b"\xef\xbb\xbf" + data,
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_streams_written_differently_say_the_same(change: object, size: int) -> None:
    data = change(b"".join(say.events("Hel", "lo")))  # type: ignore[operator]
    got, _ = answered(say.sse([data[place : place + size] for place in range(0, len(data), size)]), stream=True)
    texts = "".join(
        json.loads(event[5:])["choices"][0]["delta"].get("content") or ""
        for event in got.body.replace(b"\r\n", b"\n").split(b"\n\n")
        if event.startswith((b"data: {", b"data:{"))
    )
    assert texts == "Hello"
    assert got.body.count(b"[DONE]") == 1
    assert got.errors == []


@pytest.mark.parametrize(
    "error",
    [
        b'data: {"error": {"message": "broke", "type": "server_error"}}\n\n',
        b'event: error\ndata: {"error": {"message": "broke"}}\n\n',
        b'data: {"error": {"code": 502, "message": "broke"}, "choices": [{"index": 0, "delta": {"content": ""}, '
        b'"finish_reason": "error"}]}\n\n',
        b'data: {"error": "broke"}\n\n',
    ],
)
def test_a_providers_error_in_mid_stream_is_the_one_error_of_the_answer(error: bytes) -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        async with Provider() as provider, routed(provider) as served, dialled(served) as wire:
            provider.then(say.sse_halted(HEL, gate, [error, say.event("never"), say.DONE]))
            wire.send(ask(stream=True))
            got = await wire.head()
            gate.set()
            await wire.body(got)
            assert len(got.errors) == 1
            assert got.texts == "Hel"
            assert got.whole
            assert b"[DONE]" not in got.body

    run(scenario)


def test_an_error_that_is_null_is_none() -> None:
    harmless = say.event("lo").replace(b'{"id"', b'{"error": null, "id"')
    got, _ = answered(say.sse([*HEL, harmless, say.event(finish="stop"), say.DONE]), stream=True)
    assert got.texts == "Hello"
    assert got.errors == []
    assert got.body.endswith(b"data: [DONE]\n\n")
