"""What every transport owes its caller, over real sockets; each case runs over each of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import httpx
import pytest
import uvloop

from runtime.dispatch.httpx_face import PooledTransport
from runtime.dispatch.httpx_transport import HttpxTransport
from runtime.dispatch.pool import Http1Transport
from runtime.dispatch.transport import Headers, Outgoing, Response, Transport, TransportError
from tests.providers import scripted as say
from tests.providers.scripted import Provider, Script, Talk

Scenario = Callable[[Transport, Provider], Awaitable[None]]
Run = Callable[[Scenario], None]


class FaceResponse:
    """An httpx answer as the contract wants it."""

    is_complete = False

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers: Headers = tuple((name.lower(), value) for name, value in response.headers.raw)
        self._response = response
        self._chunks = response.aiter_raw()
        self._error: TransportError | None = None

    async def read(self) -> bytes:
        if self._error is not None:
            raise self._error
        try:
            return await anext(self._chunks, b"")
        except httpx.TransportError as error:
            self._error = as_ours(error)
            raise self._error from error

    async def aclose(self) -> None:
        await self._response.aclose()


class Face:
    """The httpx face, asked through an ordinary client, under the same contract."""

    def __init__(self) -> None:
        self._pool = Http1Transport()
        self._client = httpx.AsyncClient(transport=PooledTransport(self._pool), timeout=None)

    async def send(self, request: Outgoing) -> FaceResponse:
        try:
            built = self._client.build_request(
                request.method, request.url, headers=request.headers, content=request.body
            )
            return FaceResponse(await self._client.send(built, stream=True))
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise as_ours(error) from error

    async def aclose(self) -> None:
        await self._client.aclose()
        await self._pool.aclose()


def as_ours(error: Exception) -> TransportError:
    match error:
        case httpx.ReadError():
            return TransportError("lost", str(error), sent=True)
        case httpx.RemoteProtocolError():
            return TransportError("protocol", str(error), sent=True)
        case _:
            return TransportError("connect", str(error), sent=False)


CARRIERS: dict[str, tuple[Callable[[], Transport], Callable[[], asyncio.AbstractEventLoop]]] = {
    "httpx": (HttpxTransport, asyncio.new_event_loop),
    "own": (Http1Transport, asyncio.new_event_loop),
    "own-uvloop": (Http1Transport, uvloop.new_event_loop),
    "face": (Face, uvloop.new_event_loop),
}


@pytest.fixture(params=CARRIERS)
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a scenario over one transport; afterwards no task and no connection may be left."""
    carrier, new_loop = CARRIERS[request.param]

    def running(scenario: Scenario) -> None:
        async def whole() -> None:
            before = asyncio.all_tasks()
            async with Provider() as provider:
                transport = carrier()
                await scenario(transport, provider)
                await transport.aclose()
                await transport.aclose()
                await provider.until_all_closed()
            assert asyncio.all_tasks() == before

        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(asyncio.wait_for(whole(), 20))

    return running


def post(
    provider: Provider, body: bytes = b"{}", headers: Headers = (), method: str = "POST", tail: str = ""
) -> Outgoing:
    return Outgoing(method, f"{provider.url}/chat/completions{tail}", headers, body)


async def whole_of(response: Response) -> bytes:
    body = b""
    while chunk := await response.read():
        body += chunk
    return body


async def fetch(transport: Transport, provider: Provider) -> bytes:
    response = await transport.send(post(provider))
    body = await whole_of(response)
    assert await response.read() == b"", "the end stays the end"
    await response.aclose()
    await response.aclose()
    return body


def answered(raw: bytes, end: str = "end") -> Script:
    return say.raw(raw.replace(b"\n", b"\r\n"), end=end)


# --- what is sent ---------------------------------------------------------------------------------


def test_a_request_arrives_as_it_was_given(run: Run) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        headers = (
            (b"authorization", b"Bearer k"),
            (b"x-one", b"1"),
            (b"x-one", b"2"),
            (b"content-type", b"text/plain"),
        )
        await (await transport.send(post(provider, b"h\xc3\xa9llo", headers, tail="?a=b%20c&d"))).aclose()
        (request,) = provider.received
        assert (request.method, request.path) == ("POST", "/v1/chat/completions?a=b%20c&d")
        assert request.body == b"h\xc3\xa9llo"
        assert request.headers["host"] == f"127.0.0.1:{provider.port}"
        assert request.headers["content-length"] == "6"
        assert request.headers["authorization"] == "Bearer k"
        assert request.headers["x-one"] == "1, 2"
        assert "transfer-encoding" not in request.headers

    run(scenario)


def test_a_get_has_no_body(run: Run) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        await (await transport.send(Outgoing("GET", f"{provider.url}/models", (), b""))).aclose()
        assert provider.received[0].method == "GET"
        assert "content-length" not in provider.received[0].headers

    run(scenario)


@pytest.mark.parametrize("size", [1, 64 * 1024, 64 * 1024 + 1, 3_000_000])
def test_bodies_of_any_size_arrive(run: Run, size: int) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        body = os.urandom(size)
        response = await transport.send(post(provider, body))
        assert await whole_of(response) == say.answer()
        await response.aclose()
        assert provider.received[0].body == body
        assert await fetch(transport, provider) == say.answer()
        assert provider.connections == 1

    run(scenario)


@pytest.mark.parametrize("value", [b"a\r\nx-evil: 1", b"a\nb", b"a\rb", b"a\0b"])
def test_a_header_never_becomes_two(run: Run, value: bytes) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        with pytest.raises(TransportError) as caught:
            await transport.send(post(provider, headers=((b"x-good", value),)))
        assert (caught.value.kind, caught.value.sent) == ("connect", False)
        assert not provider.received

    run(scenario)


# --- what comes back ------------------------------------------------------------------------------


def test_an_answer_comes_as_it_was_sent(run: Run) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        provider.then(say.whole(429, b"slow down", ("Retry-After", "7"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")))
        response = await transport.send(post(provider))
        assert response.status == 429
        assert await whole_of(response) == b"slow down"
        await response.aclose()
        names = [name for name, _ in response.headers]
        assert all(name == name.lower() for name in names)
        assert dict(response.headers)[b"retry-after"] == b"7"
        assert [value for name, value in response.headers if name == b"set-cookie"] == [b"a=1", b"b=2"]

    run(scenario)


def test_chunks_are_relayed_as_they_come(run: Run) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        gates = [asyncio.Event() for _ in range(3)]
        provider.then(say.gated(gates, [b"one", b"two", b"three"]))
        response = await transport.send(post(provider))
        for gate, expected in zip(gates, (b"one", b"two", b"three"), strict=True):
            gate.set()
            assert await response.read() == expected
        assert await response.read() == b""
        await response.aclose()

    run(scenario)


def test_the_head_is_there_before_the_body(run: Run) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        provider.then(say.hang_after_head())
        response = await transport.send(post(provider))
        assert response.status == 200
        await response.aclose()

    run(scenario)


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\ncontent-length: 0\n\n", 200, b""),
        (b"HTTP/1.1 204 No Content\n\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\netag: x\n\n", 304, b""),
        (b"HTTP/1.1 200\ncontent-length: 2\n\nok", 200, b"ok"),
        (b"HTTP/1.1 103 Early Hints\nlink: </x>\n\nHTTP/1.1 200 OK\ncontent-length: 2\n\nok", 200, b"ok"),
        (b"HTTP/1.1 100 Continue\n\nHTTP/1.1 103 E\n\nHTTP/1.1 201 OK\ncontent-length: 2\n\nok", 201, b"ok"),
        (b"HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n2;name=value\nok\n0\n\n", 200, b"ok"),
        (b"HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n2\nok\n0\nx-trailer: 1\n\n", 200, b"ok"),
    ],
)
def test_unusual_answers_that_are_in_order(run: Run, raw: bytes, status: int, body: bytes) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        provider.then(answered(raw), say.unary("next"))
        response = await transport.send(post(provider))
        assert response.status == status
        assert await whole_of(response) == body
        assert b"x-trailer" not in dict(response.headers), "trailers are no headers"
        assert b"link" not in dict(response.headers), "nor are those of interim answers"
        await response.aclose()
        assert await fetch(transport, provider) == say.answer("next")
        assert provider.connections == 1

    run(scenario)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\n\nuntil the end",
        b"HTTP/1.0 200 OK\n\nuntil the end",
        b"HTTP/1.0 200 OK\ncontent-length: 13\n\nuntil the end",
        b"HTTP/1.1 200 OK\nconnection: close\ncontent-length: 13\n\nuntil the end",
    ],
)
def test_an_answer_that_ends_with_its_connection(run: Run, raw: bytes) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        provider.then(answered(raw, end="fin"))
        assert await fetch(transport, provider) == b"until the end"
        assert await fetch(transport, provider) == say.answer()
        assert provider.connections == 2

    run(scenario)


def test_a_head_request_has_no_answer_body(run: Run) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        provider.then(answered(b"HTTP/1.1 200 OK\ncontent-length: 1000\n\n"))
        response = await transport.send(post(provider, b"", method="HEAD"))
        assert (response.status, dict(response.headers)[b"content-length"]) == (200, b"1000")
        assert await whole_of(response) == b""
        await response.aclose()
        assert await fetch(transport, provider) == say.answer()

    run(scenario)


def test_a_coded_body_is_left_coded(run: Run) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        provider.then(say.whole(200, b"\x1f\x8b not really", ("content-encoding", "gzip")))
        assert await fetch(transport, provider) == b"\x1f\x8b not really"

    run(scenario)


# --- what breaks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\ncontent-length: 100\n\nhalf",
        b"HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n4\nhalf\n",
        b"HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n9\nhalf",
    ],
)
def test_an_answer_that_breaks_off_is_an_error_never_an_end(run: Run, raw: bytes, end: str) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        gate = asyncio.Event()

        async def script(talk: Talk) -> None:
            await talk.send(raw.replace(b"\n", b"\r\n"))
            await gate.wait()
            talk.fin() if end == "fin" else talk.rst()

        provider.then(script)
        response = await transport.send(post(provider))
        assert await response.read() == b"half"
        gate.set()
        for _ in range(1 if isinstance(transport, HttpxTransport) else 2):
            with pytest.raises(TransportError) as caught:
                await response.read()
            assert caught.value.kind == "lost"
        await response.aclose()
        assert await fetch(transport, provider) == say.answer()

    run(scenario)


def test_bad_chunks_are_a_protocol_error(run: Run) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        provider.then(answered(b"HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\nzz\nhalf\n"))
        with pytest.raises(TransportError) as caught:
            await fetch(transport, provider)
        assert caught.value.kind == "protocol"
        await provider.until_all_closed()

    run(scenario)


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.6\n\n",
        b"<html>Bad Gateway</html>\n\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 abc\n\n",
        b"HTTP/1.1 200 OK\nno colon here\n\n",
        b"HTTP/1.1 200 OK\ncontent-length: -1\n\n",
        b"HTTP/1.1 200 OK\ncontent-length: 3\ncontent-length: 4\n\nabcd",
    ],
)
def test_what_is_not_http_is_a_protocol_error(run: Run, raw: bytes) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        provider.then(answered(raw, end="stall" if b"\x15" not in raw else "fin"))
        with pytest.raises(TransportError) as caught:
            await fetch(transport, provider)
        assert caught.value.kind == "protocol"
        assert caught.value.sent

    run(scenario)


@pytest.mark.parametrize("script", [say.close(), say.reset(), say.raw(b"HTTP/1.1 20")])
def test_a_fresh_connection_that_breaks_before_the_head_is_lost(run: Run, script: Script) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        provider.then(script)
        with pytest.raises(TransportError) as caught:
            await fetch(transport, provider)
        assert (caught.value.kind, caught.value.sent) == ("lost", True)
        assert len(provider.received) == 1

    run(scenario)


def test_nobody_listening_is_a_connect_error(run: Run) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        await provider.stop()
        with pytest.raises(TransportError) as caught:
            await fetch(transport, provider)
        assert (caught.value.kind, caught.value.sent) == ("connect", False)

    run(scenario)


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "",
        "ftp://127.0.0.1/",
        "http://",
        "http:///x",
        "http://127.0.0.1:99999/",
        f"http://{'a' * 70}.invalid/",
    ],
)
def test_a_url_that_leads_nowhere_is_a_connect_error(run: Run, url: str) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        with pytest.raises(TransportError) as caught:
            await transport.send(Outgoing("POST", url, (), b""))
        assert (caught.value.kind, caught.value.sent) == ("connect", False)

    run(scenario)


# --- connections ----------------------------------------------------------------------------------


def test_connections_are_reused(run: Run) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        provider.fallback = say.either()
        for _ in range(5):
            assert await fetch(transport, provider) == say.answer()
        assert provider.connections == 1

    run(scenario)


def test_requests_at_the_same_time_have_connections_of_their_own(run: Run) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        gate = asyncio.Event()
        provider.fallback = say.after(gate, say.unary())
        fetching = [asyncio.create_task(fetch(transport, provider)) for _ in range(4)]
        await provider.until_requests(4)
        gate.set()
        assert await asyncio.gather(*fetching) == [say.answer()] * 4
        assert provider.connections == 4
        await fetch(transport, provider)
        assert provider.connections == 4

    run(scenario)


def test_a_reused_connection_that_breaks_before_the_answer_is_replaced_once(run: Run) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        provider.then(say.unary(), say.close(), say.unary("again"))
        assert await fetch(transport, provider) == say.answer()
        assert await fetch(transport, provider) == say.answer("again")
        assert (len(provider.received), provider.connections) == (3, 2)

    run(scenario)


def test_the_replacement_is_not_replaced(run: Run) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        provider.then(say.unary(), say.close(), say.close())
        await fetch(transport, provider)
        with pytest.raises(TransportError):
            await fetch(transport, provider)
        assert len(provider.received) == 3

    run(scenario)


@pytest.mark.parametrize("raw", [b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", b"HTTP/1.1 2"])
def test_a_reused_connection_that_breaks_inside_the_answer_is_not_replaced(run: Run, raw: bytes) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        if isinstance(transport, HttpxTransport) and raw.endswith(b"1 2"):
            pytest.skip("httpx does not tell a first byte from none")
        provider.then(say.unary(), say.raw(raw))
        await fetch(transport, provider)
        with pytest.raises(TransportError) as caught:
            await fetch(transport, provider)
        assert caught.value.kind == "lost"
        assert len(provider.received) == 2

    run(scenario)


def test_a_connection_the_provider_closed_while_idle_is_not_used(run: Run) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        async def script(talk: Talk) -> None:
            await say.unary()(talk)
            talk.fin()

        for expected in range(1, 4):
            provider.then(script)
            assert await fetch(transport, provider) == say.answer()
            await provider.until_all_closed()
            assert (len(provider.received), provider.connections) == (expected, expected)

    run(scenario)


@pytest.mark.parametrize(
    "extra",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nyours",
        b"garbage",
        b"HTTP/1.1 408 Timeout\r\nconnection: close\r\n\r\n",
    ],
)
def test_extra_bytes_with_an_answer_never_reach_the_next_request(run: Run, extra: bytes) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        mine = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nmine"
        provider.then(say.raw(mine + extra, end="end"), say.unary("right"))
        assert await fetch(transport, provider) == b"mine"
        assert await fetch(transport, provider) == say.answer("right")
        assert provider.connections == 2

    run(scenario)


@pytest.mark.parametrize("script", [say.hang(), say.hang_after_head(), say.sse([b"data: x\n\n"], end="stall")])
def test_a_cancelled_request_closes_its_connection(run: Run, script: Script) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        provider.then(script)
        fetching = asyncio.create_task(fetch(transport, provider))
        await provider.until_requests(1)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        await provider.until_all_closed()
        assert await fetch(transport, provider) == say.answer()

    run(scenario)


def test_an_unfinished_answer_that_is_closed_drops_its_connection(run: Run) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        provider.then(say.sse([b"data: x\n\n"], end="stall"))
        response = await transport.send(post(provider))
        assert await response.read() == b"data: x\n\n"
        await response.aclose()
        await provider.until_all_closed()

    run(scenario)


def test_a_provider_that_floods_is_made_to_wait(run: Run) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        piece, written, stuck = b"x" * 65536, 0, asyncio.Event()

        async def flood(talk: Talk) -> None:
            nonlocal written
            await talk.head(200)
            wire = talk.writer.transport
            while written < 125_000_000 and not stuck.is_set():
                talk.writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                written += len(piece)
                for _ in range(1000):
                    if wire.get_write_buffer_size() == 0:
                        break
                    await asyncio.sleep(0)
                else:  # a thousand turns of the loop and not a byte taken
                    stuck.set()
            talk.rst()

        provider.then(flood)
        response = await transport.send(post(provider))
        await stuck.wait()
        # What the kernel and one read hold: megabytes on loopback.
        assert written < 40_000_000
        await response.aclose()

    run(scenario)


def test_a_slow_reader_gets_everything(run: Run) -> None:
    async def scenario(transport: Transport, provider: Provider) -> None:
        body = os.urandom(5_000_000)
        provider.then(say.whole(200, body), say.unary())
        response = await transport.send(post(provider))
        found = []
        while chunk := await response.read():
            found.append(chunk)
            await asyncio.sleep(0)
        await response.aclose()
        assert b"".join(found) == body
        assert await fetch(transport, provider) == say.answer()
        assert provider.connections == 1

    run(scenario)
