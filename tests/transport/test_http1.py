"""What our own transport does beyond the contract: limits, pooling, hostile heads, TLS."""

from __future__ import annotations

import asyncio
import pathlib
import ssl
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from runtime.dispatch import http1, pool
from runtime.dispatch.http1_head import address, head, head_lines
from runtime.dispatch.pool import Http1Transport
from runtime.dispatch.tls import trusting_context
from runtime.dispatch.transport import Headers, Outgoing, TransportError
from tests.providers import scripted as say
from tests.providers.scripted import Provider, Talk

CERTS = pathlib.Path(__file__).parent / "certs"  # of an authority whose key was thrown away; good for `localhost` only
Scenario = Callable[[Http1Transport, Provider], Awaitable[None]]
Run = Callable[[Scenario], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    def running(scenario: Scenario) -> None:
        async def whole() -> None:
            before = asyncio.all_tasks()
            async with Provider() as provider:
                transport = Http1Transport()
                await scenario(transport, provider)
                await transport.aclose()
                await provider.until_all_closed()
            assert asyncio.all_tasks() == before

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(whole(), 20))

    return running


def post(provider: Provider, body: bytes = b"{}", headers: Headers = ()) -> Outgoing:
    return Outgoing("POST", f"{provider.url}/chat/completions", headers, body)


async def fetch(transport: Http1Transport, provider: Provider) -> bytes:
    response = await transport.send(post(provider))
    body = b""
    while chunk := await response.read():
        body += chunk
    return body


async def closed(provider: Provider, count: int) -> None:
    await provider.until(lambda: provider.connections - provider.open >= count)


# --- heads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host", "target"),
    [
        ("http://a.example", b"a.example", b"/"),
        ("http://A.Example:80/x", b"a.example", b"/x"),
        ("https://a.example:443/x?y=1#z", b"a.example", b"/x?y=1"),
        ("https://a.example:8443", b"a.example:8443", b"/"),
        ("http://[::1]:9/x", b"[::1]:9", b"/x"),
        ("http://b\u00fccher.example/\u00fc b?q=\u00fc", b"xn--bcher-kva.example", b"/%C3%BC%20b?q=%C3%BC"),
        ("http://a/%2Fb%20c", b"a", b"/%2Fb%20c"),
    ],
)
def test_what_a_url_means(url: str, host: bytes, target: bytes) -> None:
    found = address(url)
    assert (found.host_header, found.target) == (host, target)


@pytest.mark.parametrize(
    "url", ["http://u:p@a/", "http://a b/", "//a/", "http://a:x/", "http://\u00e4.\u00e4..b/", "https:///"]
)
def test_urls_that_lead_nowhere(url: str) -> None:
    with pytest.raises(TransportError) as caught:
        address(url)
    assert caught.value.kind == "connect"


def test_framing_is_said_once_and_by_us() -> None:
    given = (
        (b"content-length", b"9"),
        (b"transfer-encoding", b"chunked"),
        (b"host", b"evil"),
        (b"connection", b"x"),
        (b"x", b"1"),
    )
    found = head(head_lines("POST", given, address("http://a/")), Outgoing("POST", "http://a/", given, b"abc"))
    assert found == b"POST / HTTP/1.1\r\nhost: a\r\nx: 1\r\ncontent-length: 3\r\n\r\n"


@pytest.mark.parametrize(
    ("name", "method"), [(b"x\r\ny", "POST"), (b"x", "POST / HTTP/1.1\r\nx: y\r\n\r\nGET"), (b"x", "")]
)
def test_nothing_breaks_out_of_its_line(name: bytes, method: str) -> None:
    with pytest.raises(TransportError):
        head_lines(method, ((name, b"1"),), address("http://a/"))


def test_headers_about_the_connection_stay_behind(run: Run) -> None:
    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        provider.then(
            say.whole(
                200, b"ok", ("Connection", "X-Secret-Hop, keep-alive"), ("x-secret-hop", "1"),
                ("keep-alive", "timeout=9"), ("connection", "x-other"), ("x-other", "2"), ("trailer", "x"),
                ("upgrade", "h2c"), ("x-kept", " spaced \t "),
            )
        )  # fmt: skip
        response = await transport.send(post(provider))
        assert response.headers == ((b"x-kept", b"spaced"), (b"content-length", b"2"))
        await response.aclose()

    run(scenario)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\ncontent-length: 4\ntransfer-encoding: chunked\n\n4\nhalf\n0\n\n",
        b"HTTP/1.1 200 OK\ntransfer-encoding: chunked\ncontent-length: 4\n\n4\nhalf\n0\n\n",
        b"HTTP/1.1 200 OK\ntransfer-encoding: gzip\n\nhalf",
        b"HTTP/1.1 200 OK\ntransfer-encoding: gzip, chunked\n\n4\nhalf\n0\n\n",
        b"HTTP/1.1 200 OK\ncontent-length: 4\ncontent-length: 4\n\nhalf",
        b"HTTP/1.1 200 OK\nx : 1\ncontent-length: 4\n\nhalf",
        b"HTTP/1.1 101 Switching Protocols\nupgrade: x\nconnection: upgrade\n\nhalf",
        b"HTTP/1.1 200 OK\nx: " + b"y" * (http1.MOST_HEAD_BYTES + 1) + b"\ncontent-length: 4\n\nhalf",
        b"HTTP/1.1 200 OK\n" + b"x: y\n" * (http1.MOST_HEADERS + 1) + b"content-length: 4\n\nhalf",
        b"HTTP/1.1 103 Early Hints\n\n" * 8000,
        b"HTTP/1.1 200 " + b"O" * 300_000,
        b"HTTP/1.1 200 OK\n" + b"x" * 300_000,
    ],
    ids=[
        "cl+te", "te+cl", "te gzip", "te gzip chunked", "cl twice", "space before colon", "101", "long header",
        "many headers", "interim flood", "endless reason", "endless name",
    ],
)  # fmt: skip
def test_heads_that_are_refused(run: Run, raw: bytes) -> None:
    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        provider.then(say.raw(raw.replace(b"\n", b"\r\n"), end="stall"))
        with pytest.raises(TransportError) as caught:
            await transport.send(post(provider))
        assert caught.value.kind == "protocol"
        await provider.until_all_closed()

    run(scenario)


@pytest.mark.parametrize("flood", [b"0\r\nx: " + b"y" * 300_000, b"4;" + b"e" * 300_000])
def test_what_is_neither_head_nor_body_is_bounded(run: Run, flood: bytes) -> None:
    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        begun = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n"
        provider.then(say.raw(begun + flood, end="stall"))
        with pytest.raises(TransportError) as caught:
            await fetch(transport, provider)
        assert caught.value.kind == "protocol"

    run(scenario)


def test_any_number_of_trailers_is_ignored(run: Run) -> None:
    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        trailers = b"x-t: 1\r\n" * (http1.MOST_HEADERS + 1)
        begun = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n"
        provider.then(say.raw(begun + trailers + b"\r\n", end="end"))
        assert await fetch(transport, provider) == b"body"

    run(scenario)


def test_a_body_until_the_end_that_is_reset_is_lost(run: Run) -> None:
    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        gate = asyncio.Event()

        async def script(talk: Talk) -> None:
            await talk.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
            await gate.wait()
            talk.rst()

        provider.then(script)
        response = await transport.send(post(provider))
        assert await response.read() == b"half"
        gate.set()
        with pytest.raises(TransportError) as caught:
            await response.read()
        assert caught.value.kind == "lost"

    run(scenario)


# --- the pool -------------------------------------------------------------------------------------


def test_bytes_on_an_idle_connection_end_it(run: Run) -> None:
    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        gate = asyncio.Event()

        async def script(talk: Talk) -> None:
            await say.unary()(talk)
            await gate.wait()
            await talk.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nyours")

        provider.then(script, say.unary("right"))
        await fetch(transport, provider)
        gate.set()
        await closed(provider, 1)
        assert await fetch(transport, provider) == say.answer("right")
        assert provider.connections == 2

    run(scenario)


def test_the_connection_used_last_is_used_first(run: Run) -> None:
    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        gates = [asyncio.Event() for _ in range(3)]
        provider.then(*(say.after(gate, say.unary()) for gate in gates))
        fetching = []
        for count in range(3):
            fetching.append(asyncio.create_task(fetch(transport, provider)))
            await provider.until_requests(count + 1)
        for index in (1, 2, 0):
            gates[index].set()
            await fetching[index]
        for _ in range(3):
            await fetch(transport, provider)
        assert [request.connection for request in provider.received] == [1, 2, 3, 1, 1, 1]

    run(scenario)


def test_a_connection_that_lay_idle_too_long_is_not_used(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        await fetch(transport, provider)
        loop = asyncio.get_running_loop()
        (found,) = transport._pools.values()
        (connection,) = found._idle
        assert connection.idle_until_s == pytest.approx(loop.time() + pool.KEEPALIVE_S, abs=5)
        connection.idle_until_s = loop.time()
        await fetch(transport, provider)
        assert provider.connections == 2

    run(scenario)


def test_idle_connections_are_dropped_on_demand_and_busy_ones_live(run: Run) -> None:
    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        gate = asyncio.Event()
        provider.then(say.after(gate, say.unary("busy")), say.unary("idle"))
        busy = asyncio.create_task(fetch(transport, provider))
        await provider.until_requests(1)
        await fetch(transport, provider)
        transport.drop_idle()
        await closed(provider, 1)
        assert provider.open == 1
        gate.set()
        assert b"busy" in await busy
        await fetch(transport, provider)
        assert provider.connections == 2

    run(scenario)


def test_idle_connections_are_closed_without_traffic(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "KEEPALIVE_S", 0.01)

    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        await fetch(transport, provider)
        await provider.until_all_closed()

    run(scenario)


def test_a_provider_that_says_how_long_it_keeps_connections_is_believed(run: Run) -> None:
    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        provider.then(
            say.whole(200, b"a", ("keep-alive", "timeout=5, max=100")),
            say.whole(200, b"b", ("keep-alive", "timeout=1")),
        )
        await fetch(transport, provider)
        (found,) = transport._pools.values()
        assert found._idle[0].idle_until_s <= asyncio.get_running_loop().time() + 4.0
        await fetch(transport, provider)
        await provider.until_all_closed()

    run(scenario)


def test_connections_are_bounded_and_the_rest_wait_their_turn(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MOST_CONNECTIONS", 2)

    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        gate = asyncio.Event()
        provider.fallback = say.after(gate, say.unary())
        fetching = [asyncio.create_task(fetch(transport, provider)) for _ in range(7)]
        await provider.until_requests(2)
        fetching[3].cancel()
        fetching[0].cancel()
        gate.set()
        found = await asyncio.gather(*fetching, return_exceptions=True)
        assert [isinstance(answer, bytes) for answer in found] == [False, True, True, False, True, True, True]
        assert provider.open <= 2

    run(scenario)


@pytest.mark.parametrize("version", [b"HTTP/1.0 200 OK", b"HTTP/1.1 200 OK\r\nconnection: close"])
def test_a_connection_that_was_said_to_close_is_not_used(run: Run, version: bytes) -> None:
    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        provider.then(say.raw(version + b"\r\ncontent-length: 2\r\n\r\nok", end="end"))
        assert await fetch(transport, provider) == b"ok"
        await fetch(transport, provider)
        assert [request.connection for request in provider.received] == [1, 2]

    run(scenario)


def test_who_waits_for_room_goes_on_when_a_connection_ends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MOST_CONNECTIONS", 1)

    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        provider.then(say.hang())
        first = asyncio.create_task(fetch(transport, provider))
        await provider.until_requests(1)
        second = asyncio.create_task(fetch(transport, provider))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == say.answer()

    run(scenario)


def test_a_turn_that_comes_too_late_is_handed_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MOST_CONNECTIONS", 1)

    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        provider.then(say.hang())
        first, second, third = (asyncio.create_task(fetch(transport, provider)) for _ in range(3))
        await provider.until_requests(1)
        monkeypatch.setattr(pool, "MOST_CONNECTIONS", 2)
        (found,) = transport._pools.values()
        found._invite()
        second.cancel()
        assert await third == say.answer()
        first.cancel()
        await asyncio.gather(first, second, return_exceptions=True)

    run(scenario)


def test_waiting_for_room_ends_as_a_connect_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MOST_CONNECTIONS", 1)
    monkeypatch.setattr(pool, "CONNECT_TIMEOUT_S", 0.02)

    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        provider.then(say.hang())
        first = asyncio.create_task(fetch(transport, provider))
        await provider.until_requests(1)
        with pytest.raises(TransportError) as caught:
            await fetch(transport, provider)
        assert (caught.value.kind, caught.value.sent) == ("connect", False)
        first.cancel()
        await provider.until_all_closed()

    run(scenario)


def test_idle_connections_are_bounded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MOST_IDLE", 2)

    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        gate = asyncio.Event()
        provider.fallback = say.after(gate, say.unary())
        fetching = [asyncio.create_task(fetch(transport, provider)) for _ in range(5)]
        await provider.until_requests(5)
        gate.set()
        await asyncio.gather(*fetching)
        await closed(provider, 3)
        assert provider.open == 2

    run(scenario)


def test_an_answer_before_the_whole_request_was_taken_ends_the_connection(run: Run) -> None:
    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        held = asyncio.Event()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
            await held.wait()
            writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=1000)
        port = server.sockets[0].getsockname()[1]
        response = await transport.send(Outgoing("POST", f"http://127.0.0.1:{port}/", (), b"x" * 30_000_000))
        assert (response.status, await response.read()) == (413, b"big")
        (found,) = transport._pools.values()
        assert not found._idle
        held.set()
        server.close()
        await server.wait_closed()

    run(scenario)


def test_closing_the_transport_ends_a_read_as_lost(run: Run) -> None:
    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        provider.then(say.raw(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", end="stall"))
        response = await transport.send(post(provider))
        assert await response.read() == b"until the end"
        reading = asyncio.create_task(response.read())
        await asyncio.sleep(0)
        await transport.aclose()
        with pytest.raises(TransportError) as caught:
            await reading
        assert caught.value.kind == "lost"

    run(scenario)


def test_a_paused_answer_that_is_closed_leaves_nothing_behind(run: Run) -> None:
    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        provider.then(say.whole(200, b"x" * 5_000_000))
        response = await transport.send(post(provider))
        assert await response.read()
        await asyncio.sleep(0.01)
        await response.aclose()
        await provider.until_all_closed()

    run(scenario)


# --- TLS ------------------------------------------------------------------------------------------


class TlsProvider(Provider):
    """The same provider behind a certificate for `localhost`."""

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/v1"

    async def __aenter__(self) -> TlsProvider:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTS / "server.pem")
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self


def over_tls(loop: Callable[[], asyncio.AbstractEventLoop], trust: bool, scenario: Scenario) -> None:
    async def whole() -> None:
        verify = ssl.create_default_context(cafile=str(CERTS / "ca.pem")) if trust else None
        async with TlsProvider() as provider:
            transport = Http1Transport(verify)
            await scenario(transport, provider)
            await transport.aclose()
            await provider.until_all_closed()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(whole(), 20))


loops = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


@loops
def test_https_is_verified_and_reused(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        for _ in range(3):
            assert await fetch(transport, provider) == say.answer()
        assert provider.connections == 1
        provider.then(say.whole(200, b"x" * 3_000_000))
        assert len(await fetch(transport, provider)) == 3_000_000

    over_tls(loop, True, scenario)


@loops
def test_an_unknown_authority_is_a_connect_error(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        with pytest.raises(TransportError) as caught:
            await fetch(transport, provider)
        assert (caught.value.kind, caught.value.sent) == ("connect", False)
        assert "certificate verify failed" in caught.value.detail.lower()
        assert not provider.received

    over_tls(loop, False, scenario)


@loops
def test_a_certificate_for_another_host_is_a_connect_error(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        with pytest.raises(TransportError) as caught:
            await transport.send(Outgoing("POST", provider.url.replace("localhost", "127.0.0.1"), (), b""))
        assert caught.value.kind == "connect"
        assert not provider.received

    over_tls(loop, True, scenario)


@loops
def test_tls_where_there_is_none_is_a_connect_error(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def whole() -> None:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        transport = Http1Transport()
        with pytest.raises(TransportError) as caught:
            await transport.send(Outgoing("POST", f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", (), b""))
        assert caught.value.kind == "connect"
        await transport.aclose()
        server.close()
        await server.wait_closed()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(whole(), 20))


@loops
def test_a_stream_over_tls_that_is_reset_is_lost(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario(transport: Http1Transport, provider: Provider) -> None:
        provider.then(say.sse([b"data: x\n\n"], end="fin"))
        response = await transport.send(post(provider))
        assert await response.read() == b"data: x\n\n"
        with pytest.raises(TransportError) as caught:
            await response.read()
        assert caught.value.kind == "lost"

    over_tls(loop, True, scenario)


def test_the_context_verifies() -> None:
    context = trusting_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_without_authorities_of_the_system_those_of_certifi_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = ssl.DefaultVerifyPaths(None, None, "", "", "", "")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nothing)
    assert trusting_context().cert_store_stats()["x509_ca"] > 50


def test_ssl_cert_file_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTS / "ca.pem"))
    assert trusting_context().cert_store_stats()["x509_ca"] == 1
