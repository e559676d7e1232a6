"""HTTP/2 to a provider whose URL asks for it, against a server that speaks nothing else."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import Awaitable, Callable

import pytest

from runtime.dispatch.httpx_transport import HttpxTransport
from runtime.dispatch.outgoing import Addresses, UnusableProviderError, carrier, join
from runtime.dispatch.transport import Outgoing, TransportError
from tests.clients.serving import serving
from tests.dispatch.bench import endpoint, program, provider
from tests.hazards.gateway import ask, dialled
from tests.hazards.gateway import run as served_run
from tests.providers import scripted as say
from tests.providers.h2_server import CERTS, H2Provider, hang, sse, whole

pytestmark = pytest.mark.slow


def post(found: H2Provider, body: bytes = b"{}") -> Outgoing:
    headers = ((b"content-type", b"application/json"), (b"authorization", b"Bearer k"))
    return Outgoing("POST", join(provider(0, found.url), "/chat/completions"), headers, body)


async def read(transport: HttpxTransport, found: H2Provider) -> bytes:
    response = await transport.send(post(found))
    body = bytearray()
    while chunk := await response.read():
        body += chunk
    await response.aclose()
    return bytes(body)


def run(scenario: Callable[[HttpxTransport, H2Provider], Awaitable[None]], found: H2Provider) -> None:
    async def bounded() -> None:
        verify = ssl.create_default_context(cafile=str(CERTS / "ca.pem"))
        transport = HttpxTransport(verify, http2=True)
        async with asyncio.timeout(20), found:
            await scenario(transport, found)
            await transport.aclose()

    asyncio.run(bounded())


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_requests_share_one_connection(tls: bool) -> None:
    async def scenario(transport: HttpxTransport, found: H2Provider) -> None:
        assert await read(transport, found) == b"hello"
        assert await asyncio.gather(*(read(transport, found) for _ in range(10))) == [b"hello"] * 10
        assert (found.connections, len(found.streams)) == (1, 11)
        sent = found.streams[0]
        assert (sent.headers[":path"], sent.headers["authorization"], sent.body) == (
            "/v1/chat/completions", "Bearer k", b"{}",
        )  # fmt: skip

    run(scenario, H2Provider(whole(b"hello"), tls=tls))


def test_an_unknown_authority_is_a_connect_error() -> None:
    async def whole_test() -> None:
        async with H2Provider(whole(b""), tls=True) as found:
            transport = HttpxTransport(http2=True)
            with pytest.raises(TransportError) as caught:
                await transport.send(post(found))
            assert caught.value.kind == "connect"
            await transport.aclose()

    asyncio.run(whole_test())


def test_a_stream_that_is_reset_is_lost_and_not_asked_again() -> None:
    async def scenario(transport: HttpxTransport, found: H2Provider) -> None:
        assert await read(transport, found) == b"hello"
        found.answer = sse([b"data: 1\n\n"], cut=True)
        with pytest.raises(TransportError) as caught:
            await read(transport, found)
        assert caught.value.kind == "lost"

        async def refused(stream: object) -> None:
            stream.abort()  # type: ignore[attr-defined]

        found.answer = refused
        with pytest.raises(TransportError) as caught:
            await read(transport, found)
        assert (caught.value.kind, len(found.streams)) == ("lost", 3), "it may have been worked on"

    run(scenario, H2Provider(whole(b"hello")))


def test_a_connection_that_ended_while_idle_is_replaced() -> None:
    async def scenario(transport: HttpxTransport, found: H2Provider) -> None:
        assert await read(transport, found) == b"hello"
        found.lines[0].close()
        assert await read(transport, found) == b"hello"
        assert found.connections == 2

    run(scenario, H2Provider(whole(b"hello")))


def test_giving_up_resets_the_stream_and_spares_the_others() -> None:
    async def scenario(transport: HttpxTransport, found: H2Provider) -> None:
        asking = asyncio.create_task(read(transport, found))
        while not (found.lines and found.lines[0].tasks):  # noqa: ASYNC110 — its server is in this loop
            await asyncio.sleep(0.001)
        found.answer = whole(b"hello")
        assert await read(transport, found) == b"hello"
        asking.cancel()
        await asyncio.wait((asking,))
        await found.streams[0].reset.wait()
        assert await read(transport, found) == b"hello"
        assert found.connections == 1

    run(scenario, H2Provider(hang))


# --- through the router ---------------------------------------------------------------------------


def policy(url: str) -> str:
    return (
        f'provider up {{ url "{url}"  key env.K }}\nmodel m {{ serve up "u" }}\npolicy p {{ otherwise -> m retry 0 }}\n'
    )


def test_a_policy_asks_for_it_by_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTS / "ca.pem"))

    async def scenario() -> None:
        gate = asyncio.Event()
        async with H2Provider(whole(say.answer("hi")), tls=True) as found:
            text = policy(found.url)
            async with serving(text, {"K": "key"}) as served, dialled(served) as wire:
                wire.send(ask())
                assert json.loads((await wire.got()).body)["choices"][0]["message"]["content"] == "hi"
                found.answer = sse(say.events("Hel", "lo")[1:], gate)
                wire.send(ask(stream=True))
                head = await wire.head()
                await wire.until(b"Hel")  # as it comes, not at the end
                await wire.until(b"\r\n")
                gate.set()
                await wire.body(head)
                assert head.texts == "lo"
                assert head.body.endswith(b"data: [DONE]\n\n")
                found.answer = sse(say.events("cut")[:2], cut=True)
                wire.send(ask(stream=True))
                got = await wire.got()
                assert (len(got.errors), got.whole) == (1, True)
                assert found.connections == 1
                assert found.streams[0].headers["authorization"] == "Bearer key"

    served_run(scenario)


def test_only_an_address_that_says_so_is_asked_this_way() -> None:
    plain, asked = provider(0, "https://a.example/v1"), provider(1, "https+h2://b.example/v1?q=1")
    assert (carrier(plain), carrier(asked)) == ("openai", "h2")
    assert join(asked, "/chat/completions") == "https://b.example/v1/chat/completions?q=1"
    assert carrier(provider(0, "https://a.example/v1?next=http+h2://c")) == "openai"


def test_without_the_extra_such_a_policy_is_refused_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h2", None)
    found = program((provider(0, "https+h2://b.example/v1"),), (endpoint(0, 0),))
    with pytest.raises(UnusableProviderError, match=r"provider `p0`: .*pip install pointsman\[http2\]"):
        Addresses(found, {"KEY": "k"}, {})
