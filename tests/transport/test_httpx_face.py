"""The httpx face through the ordinary client: what httpx adds works, and its errors are its own."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable

import httpx
import pytest

from runtime.dispatch.httpx_face import PooledTransport
from runtime.dispatch.pool import Http1Transport
from tests.providers import scripted as say
from tests.providers.scripted import Provider


def run(scenario: Callable[[httpx.AsyncClient, Provider], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with Provider() as provider:
            pool = Http1Transport()
            async with httpx.AsyncClient(transport=PooledTransport(pool), timeout=5.0) as client:
                await scenario(client, provider)
            await pool.aclose()
            await provider.until_all_closed()

    asyncio.run(asyncio.wait_for(whole(), 20))


def test_json_in_json_out_over_one_connection() -> None:
    async def scenario(client: httpx.AsyncClient, provider: Provider) -> None:
        for _ in range(3):
            found = await client.post(f"{provider.url}/chat/completions", json={"model": "m"})
            assert found.json()["object"] == "chat.completion"
        assert provider.connections == 1
        assert provider.received[0].json == {"model": "m"}

    run(scenario)


def test_coded_bodies_are_decoded() -> None:
    async def scenario(client: httpx.AsyncClient, provider: Provider) -> None:
        provider.then(say.whole(200, gzip.compress(b"hello"), ("content-encoding", "gzip")))
        assert (await client.get(provider.url)).text == "hello"

    run(scenario)


def test_redirects_and_streamed_uploads() -> None:
    async def upload():
        yield b"a"
        yield b"b"

    async def scenario(client: httpx.AsyncClient, provider: Provider) -> None:
        provider.then(say.whole(307, b"", ("location", "/elsewhere")))
        found = await client.get(provider.url, follow_redirects=True)
        assert found.url.path == "/elsewhere"
        await client.post(provider.url, content=upload())
        assert provider.received[-1].body == b"ab"
        assert "transfer-encoding" not in provider.received[-1].headers

    run(scenario)


def test_a_stream_is_read_line_by_line() -> None:
    async def scenario(client: httpx.AsyncClient, provider: Provider) -> None:
        provider.then(say.stream("a", "b"))
        async with client.stream("POST", provider.url, content=b"{}") as response:
            lines = [line async for line in response.aiter_lines() if line]
        assert lines[-1] == "data: [DONE]"

    run(scenario)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (say.close(), httpx.ReadError),
        (say.raw(b"SSH-2.0\r\n\r\n"), httpx.RemoteProtocolError),
        (say.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), httpx.ReadError),
    ],
)
def test_errors_are_httpxs_own(script: say.Script, expected: type[Exception]) -> None:
    async def scenario(client: httpx.AsyncClient, provider: Provider) -> None:
        provider.then(script)
        with pytest.raises(expected):
            await client.post(provider.url)

    run(scenario)


def test_nobody_listening() -> None:
    async def scenario(client: httpx.AsyncClient, provider: Provider) -> None:
        await provider.stop()
        with pytest.raises(httpx.ConnectError):
            await client.get(provider.url)

    run(scenario)


@pytest.mark.parametrize("script", [say.hang(), say.hang_after_head()])
def test_the_read_time_out_holds_and_closes_the_connection(script: say.Script) -> None:
    async def scenario(client: httpx.AsyncClient, provider: Provider) -> None:
        provider.then(script)
        with pytest.raises(httpx.ReadTimeout):
            await client.get(provider.url, timeout=0.02)
        await provider.until_all_closed()

    run(scenario)
