"""The transport over httpx against peers that misbehave: stale, poisoned and half-closed connections, cancellation."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest

from runtime.dispatch.httpx_transport import HttpxTransport
from runtime.dispatch.transport import Outgoing, TransportError
from tests.providers import scripted as say
from tests.providers.scripted import Provider


def post(provider: Provider, body: bytes = b"{}") -> Outgoing:
    return Outgoing("POST", f"{provider.url}/chat/completions", ((b"content-type", b"application/json"),), body)


async def fetch(transport: HttpxTransport, provider: Provider) -> bytes:
    response = await transport.send(post(provider))
    body = b""
    while chunk := await response.read():
        body += chunk
    await response.aclose()
    await response.aclose()
    return body


def run(scenario: Callable[[HttpxTransport, Provider], Awaitable[None]]) -> None:
    async def whole() -> None:
        before = asyncio.all_tasks()
        async with Provider() as provider:
            transport = HttpxTransport()
            await scenario(transport, provider)
            await transport.aclose()
            await provider.until_all_closed()
        assert asyncio.all_tasks() == before

    asyncio.run(asyncio.wait_for(whole(), 20))


def test_connections_are_reused() -> None:
    async def scenario(transport: HttpxTransport, provider: Provider) -> None:
        for _ in range(3):
            assert await fetch(transport, provider) == say.answer()
        assert provider.connections == 1

    run(scenario)


def test_a_reused_connection_that_breaks_before_the_answer_is_replaced_once() -> None:
    async def scenario(transport: HttpxTransport, provider: Provider) -> None:
        provider.then(say.unary(), say.close(), say.unary("again"))
        assert await fetch(transport, provider) == say.answer()
        assert await fetch(transport, provider) == say.answer("again")
        assert (len(provider.received), provider.connections) == (3, 2)

    run(scenario)


def test_a_fresh_connection_that_breaks_is_not_replaced() -> None:
    async def scenario(transport: HttpxTransport, provider: Provider) -> None:
        provider.then(say.close())
        with pytest.raises(TransportError) as caught:
            await fetch(transport, provider)
        assert (caught.value.kind, caught.value.sent) == ("lost", True)
        assert len(provider.received) == 1

    run(scenario)


def test_the_replacement_is_not_replaced() -> None:
    async def scenario(transport: HttpxTransport, provider: Provider) -> None:
        provider.then(say.unary(), say.close(), say.close())
        await fetch(transport, provider)
        with pytest.raises(TransportError):
            await fetch(transport, provider)
        assert len(provider.received) == 3

    run(scenario)


def test_a_reused_connection_that_breaks_inside_the_answer_is_not_replaced() -> None:
    async def scenario(transport: HttpxTransport, provider: Provider) -> None:
        provider.then(say.unary(), say.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"))
        await fetch(transport, provider)
        with pytest.raises(TransportError) as caught:
            await fetch(transport, provider)
        assert caught.value.kind == "lost"
        assert len(provider.received) == 2

    run(scenario)


def test_extra_bytes_after_an_answer_never_reach_the_next_request() -> None:
    poisoned = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nmineHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nyours"

    async def scenario(transport: HttpxTransport, provider: Provider) -> None:
        provider.then(say.raw(poisoned, end="end"), say.unary("right"))
        assert await fetch(transport, provider) == b"mine"
        assert await fetch(transport, provider) == say.answer("right")
        assert provider.connections == 2

    run(scenario)


def test_nobody_listening_is_a_connect_error() -> None:
    async def scenario(transport: HttpxTransport, provider: Provider) -> None:
        await provider.stop()
        with pytest.raises(TransportError) as caught:
            await fetch(transport, provider)
        assert (caught.value.kind, caught.value.sent) == ("connect", False)

    run(scenario)


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://127.0.0.1/", "http://", "http://127.0.0.1:99999/", f"http://{'a' * 70}.invalid/"]
)
def test_a_url_that_leads_nowhere_is_a_connect_error(url: str) -> None:
    async def scenario(transport: HttpxTransport, provider: Provider) -> None:
        with pytest.raises(TransportError) as caught:
            await transport.send(Outgoing("POST", url, (), b""))
        assert caught.value.kind == "connect"

    run(scenario)


def test_what_is_not_http_is_a_protocol_error() -> None:
    async def scenario(transport: HttpxTransport, provider: Provider) -> None:
        provider.then(say.raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"))
        with pytest.raises(TransportError) as caught:
            await fetch(transport, provider)
        assert caught.value.kind == "protocol"

    run(scenario)


@pytest.mark.parametrize("script", [say.hang(), say.hang_after_head(), say.sse([b"data: x\n\n"], end="stall")])
def test_a_cancelled_request_closes_its_connection(script: say.Script) -> None:
    async def scenario(transport: HttpxTransport, provider: Provider) -> None:
        provider.then(script)
        fetching = asyncio.create_task(fetch(transport, provider))
        await provider.until_requests(1)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        await provider.until_all_closed()
        assert await fetch(transport, provider) == say.answer()

    run(scenario)


def test_an_unfinished_answer_that_is_closed_drops_its_connection() -> None:
    async def scenario(transport: HttpxTransport, provider: Provider) -> None:
        provider.then(say.sse([b"data: x\n\n"], end="stall"))
        response = await transport.send(post(provider))
        assert await response.read() == b"data: x\n\n"
        await response.aclose()
        await provider.until_all_closed()

    run(scenario)


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")

    async def scenario(transport: HttpxTransport, provider: Provider) -> None:
        assert await fetch(transport, provider) == say.answer()

    run(scenario)


@pytest.mark.slow
def test_the_dispatcher_does_not_import_httpx() -> None:
    code = "import sys, runtime.dispatch.dispatcher; sys.exit('httpx' in sys.modules or 'lark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
