"""Clients that are slow, endless or hostile before they have an answer, over a raw socket."""

from __future__ import annotations

import asyncio

import pytest

from runtime.serve.guarded import Limits
from runtime.serve.settings import Settings
from tests.hazards.gateway import PATH, Got, Wire, ask, dialled, routed, run
from tests.providers import scripted as say
from tests.providers.scripted import Provider

pytestmark = pytest.mark.slow

HEAD = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


def refused(sent: bytes, status: int, limits: Limits | None = None, settings: Settings | None = None) -> Got:
    """Send bytes and return the refusal, after which the connection is closed and the router as good as new."""

    async def scenario() -> Got:
        async with Provider() as provider, routed(provider, limits=limits, settings=settings) as served:
            async with dialled(served) as wire:
                wire.send(sent)
                got = await wire.got()
                assert got.status == status, got.body
                assert got.whole
                assert got.headers["connection"] == "close"
                assert got.headers["content-type"] == "application/json"
                assert got.headers["x-request-id"]
                assert await wire.is_closed()
            assert provider.received == []
            await served.log.until(1)
            assert served.log.last["status"] == status
            assert served.log.last["request_id"] == got.headers["x-request-id"]
            async with dialled(served) as wire:
                wire.send(ask())
                assert (await wire.got()).status == 200
            return got

    return run(scenario)


# --- slow -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", ["P", "POST", HEAD, HEAD + "x-slow: "])
def test_a_head_that_never_ends_is_a_408(sent: str) -> None:
    got = refused(sent.encode(), 408, Limits(head_s=0.05))
    assert got.error["code"] == "timeout"


def test_a_head_that_drips_is_a_408_all_the_same() -> None:
    async def scenario() -> None:
        async with (
            Provider() as provider,
            routed(provider, limits=Limits(head_s=0.1)) as served,
            dialled(served) as wire,
        ):

            async def drip() -> None:
                for byte in (HEAD + "x: y\r\n" * 1000).encode():
                    wire.send(bytes([byte]))
                    await asyncio.sleep(0.005)

            dripping = asyncio.create_task(drip())
            assert (await wire.got()).status == 408
            assert await wire.is_closed()
            dripping.cancel()

    run(scenario)


def test_a_second_head_has_its_own_time() -> None:
    async def scenario() -> None:
        limits = Limits(head_s=0.06)
        async with Provider() as provider, routed(provider, limits=limits) as served, dialled(served) as wire:
            for _ in range(4):
                wire.send(ask()[:10])
                await asyncio.sleep(0.03)
                wire.send(ask()[10:])
                assert (await wire.got()).status == 200
            wire.send(ask()[:10])
            assert (await wire.got()).status == 408

    run(scenario)


def test_a_body_that_stops_coming_is_a_408() -> None:
    got = refused(f"{HEAD}content-length: 1000\r\n\r\n{{".encode(), 408, Limits(body_s=0.05))
    assert got.error["type"] == "invalid_request_error"


def test_a_body_that_drips_is_a_408() -> None:
    async def scenario() -> None:
        async with (
            Provider() as provider,
            routed(provider, limits=Limits(body_s=0.05)) as served,
            dialled(served) as wire,
        ):

            async def drip() -> None:
                wire.send(f"{HEAD}transfer-encoding: chunked\r\n\r\n".encode())
                while True:
                    wire.send(b"1\r\n \r\n")
                    await asyncio.sleep(0.005)

            dripping = asyncio.create_task(drip())
            assert (await wire.got()).status == 408
            assert await wire.is_closed()
            dripping.cancel()

    run(scenario, 5)


def test_a_body_that_is_slow_but_gets_on_is_read_to_its_end() -> None:
    async def scenario() -> None:
        async with (
            Provider() as provider,
            routed(provider, limits=Limits(body_s=0.08)) as served,
            dialled(served) as wire,
        ):
            sent = ask(padding="x" * 200_000)
            for place in range(0, len(sent), 40_000):
                wire.send(sent[place : place + 40_000])
                await asyncio.sleep(0.03)
            assert (await wire.got()).status == 200
            assert len(provider.received[0].body) > 200_000

    run(scenario)


def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        limits = Limits(head_s=0.05, body_s=0.05, idle_s=0.05, write_s=0.05)
        async with Provider() as provider, routed(provider, limits=limits) as served:
            provider.then(say.after(gate, say.unary()))
            async with dialled(served) as idle, dialled(served) as used, dialled(served) as busy:
                busy.send(ask())
                used.send(ask())
                assert (await used.got()).status == 200 if provider.talks else True
                assert await idle.is_closed()
                # Longer than every limit of its client, which has nothing to do but wait.
                await asyncio.sleep(0.1)
                gate.set()
                assert (await busy.got()).status == 200
                assert await busy.is_closed()

    run(scenario)


def test_a_stream_that_pauses_is_not_the_clients_fault() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        limits = Limits(head_s=0.03, body_s=0.03, idle_s=0.03, write_s=0.03)
        async with Provider() as provider, routed(provider, limits=limits) as served, dialled(served) as wire:
            provider.then(say.sse_halted(say.events("Hel")[:2], gate, say.events("lo")[1:]))
            wire.send(ask(stream=True))
            await wire.until(b"Hel")
            await asyncio.sleep(0.15)
            gate.set()
            await wire.until(b"[DONE]")

    run(scenario)


# --- endless --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        "x-long: " + "a" * 200_000 + "\r\n\r\n",
        "".join(f"x-{n}: {'a' * 1000}\r\n" for n in range(200)) + "\r\n",
        "x-endless: " + "a" * 200_000,
        "".join(f"x-{n}: a\r\n" for n in range(300)) + "\r\n",
        "x" * 100_000,
    ],
    ids=["one long", "many", "unfinished", "too many", "a name"],
)
def test_too_much_head_is_a_431(headers: str) -> None:
    got = refused((HEAD + headers).encode(), 431)
    assert got.error["type"] == "invalid_request_error"
    assert "65536 bytes" in str(got.error["message"])


def test_an_endless_head_is_refused_in_small_pieces_too() -> None:
    async def scenario() -> None:
        async with Provider() as provider, routed(provider) as served, dialled(served) as wire:
            wire.send(HEAD.encode())
            for _ in range(70):
                wire.send(b"x-more: " + b"a" * 1000 + b"\r\n")
                await asyncio.sleep(0)
            assert (await wire.got()).status == 431

    run(scenario)


def test_an_endless_address_is_a_414() -> None:
    refused(b"GET /" + b"a" * 100_000, 414)
    refused(b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414)


def test_a_head_just_within_the_limits_is_served() -> None:
    async def scenario() -> None:
        async with Provider() as provider, routed(provider) as served, dialled(served) as wire:
            wire.send(ask(headers="x-long: " + "a" * 60_000 + "\r\n", padding="x" * 300_000))
            assert (await wire.got()).status == 200
            wire.send(ask(headers="".join(f"x-{n}: a\r\n" for n in range(190))))
            assert (await wire.got()).status == 200

    run(scenario)


LIMIT = Settings(body_limit_bytes=8 * 1024 * 1024)


def test_a_body_that_says_it_is_too_large_is_a_413_before_it_is_sent() -> None:
    got = refused(f"{HEAD}content-length: 30000000\r\nexpect: 100-continue\r\n\r\n".encode(), 413, settings=LIMIT)
    assert got.error["code"] == "payload_too_large"


@pytest.mark.parametrize(
    "framing", ["content-length: 30000000\r\n\r\n", "transfer-encoding: chunked\r\n\r\n1c9c380\r\n"]
)
def test_a_body_of_30_mb_is_a_413_that_its_sender_can_read(framing: str) -> None:
    async def scenario() -> None:
        async with Provider() as provider, routed(provider, settings=LIMIT) as served, dialled(served) as wire:
            answer = asyncio.create_task(wire.got())
            wire.send((HEAD + framing).encode())
            taken = 0
            try:
                for _ in range(30):
                    wire.send(b" " * 1_000_000)
                    await wire.writer.drain()
                    taken += 1_000_000
            except ConnectionError:
                pass
            got = await answer
            assert got.status == 413
            assert got.whole
            assert got.headers["connection"] == "close"
            assert await wire.is_closed()
            # The limit to know that it is too large, as much again in the hope of an end, and the sockets' buffers.
            assert taken < 30_000_000
            assert provider.received == []

    run(scenario)


def test_a_body_that_never_ends_does_not_keep_a_refused_client_connected() -> None:
    async def scenario() -> None:
        limits = Limits(body_s=0.1)
        async with Provider() as provider, routed(provider, limits=limits) as served, dialled(served) as wire:
            wire.send(b"POST /nowhere HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            assert (await wire.got()).status == 404

            async def flood() -> None:
                while True:
                    wire.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                    await asyncio.sleep(0.001)

            flooding = asyncio.create_task(flood())
            assert await wire.is_closed()
            flooding.cancel()

    run(scenario, 5)


def test_requests_sent_ahead_are_answered_in_order() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        async with Provider() as provider, routed(provider) as served, dialled(served) as wire:
            provider.then(say.after(gate, say.unary("one")), say.stream("two"), say.unary("three"))
            wire.send(ask() + ask(stream=True) + ask())
            await provider.until_requests(1)
            assert len(provider.received) == 1, "one at a time"
            gate.set()
            assert b"one" in (await wire.got()).body
            second = await wire.got()
            assert second.texts == "two"
            assert second.whole
            assert b"three" in (await wire.got()).body

    run(scenario)


def test_a_flood_of_requests_sent_ahead_ends_the_connection() -> None:
    async def scenario() -> None:
        async with Provider() as provider, routed(provider) as served, dialled(served) as wire:
            provider.then(say.hang())
            wire.send(ask())
            await provider.until_requests(1)
            wire.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" * 5000)
            assert await wire.is_closed()
            await provider.talks[0].closed.wait()

    run(scenario)


# --- what is not HTTP, or two things at once ------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        HEAD + "content-length: 5\r\ncontent-length: 6\r\n\r\nabcde",
        HEAD + "content-length: 5, 5\r\n\r\nabcde",
        HEAD + "content-length: -5\r\n\r\n",
        HEAD + "content-length: +5\r\n\r\nabcde",
        HEAD + "content-length: 99999999999999999999999\r\n\r\n",
        HEAD + "transfer-encoding: chunked\r\n\r\nzz\r\n",
        HEAD + "transfer-encoding: chunked\r\n\r\nfffffffffffffffffff\r\n",
        HEAD + "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        HEAD + "transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        HEAD + "x-folded: a\r\n b\r\n\r\n",
        HEAD + "bad header\r\n\r\n",
        HEAD + "x: a\0b\r\n\r\n",
        HEAD + "x: a\rb\r\n\r\n",
        HEAD + ": empty\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "get / HTTP/1.1\r\n\r\n",
        "GET http://[::bad HTTP/1.1\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nhost: x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "\0" * 100,
        "hello\r\n\r\n",
    ],
)
def test_what_is_not_a_request_is_a_400(sent: str) -> None:
    assert refused(sent.encode("latin-1"), 400).error["code"] == "invalid_request"


def test_nonsense_after_a_request_never_gets_into_its_answer() -> None:
    async def scenario() -> None:
        async with Provider() as provider, routed(provider) as served, dialled(served) as wire:
            provider.then(say.sse(say.events("Hel")[:2], end="stall"))
            wire.send(ask(stream=True))
            await wire.until(b"Hel")
            wire.send(b"\0\0\0 nonsense\r\n\r\n")
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)) as caught:
                await wire.until(b"HTTP/1.1")
            assert b"HTTP/1.1" not in getattr(caught.value, "partial", b"")
            await provider.talks[0].closed.wait()

    run(scenario)


def test_an_offer_to_change_protocols_is_declined() -> None:
    """Java's client makes it with every first request, curl with `--http2`."""

    async def scenario() -> None:
        offer = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
        async with Provider() as provider, routed(provider) as served, dialled(served) as wire:
            for _ in range(2):
                wire.send(ask(headers=offer))
                assert (await wire.got()).status == 200
                wire.send(ask())
                assert (await wire.got()).status == 200
            wire.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
            assert (await wire.got()).status == 200

    run(scenario)


def test_a_client_that_waits_for_it_is_told_to_continue() -> None:
    async def scenario() -> None:
        async with Provider() as provider, routed(provider) as served, dialled(served) as wire:
            head, _, body = ask(headers="expect: 100-continue\r\n").partition(b"\r\n\r\n")
            wire.send(head + b"\r\n\r\n")
            assert (await wire.head()).status == 100
            wire.send(body)
            assert (await wire.got()).status == 200
            # Who does not wait need not be told, and must not be confused by it.
            wire.send(ask())
            assert (await wire.got()).status == 200

    run(scenario)


async def http_10(wire: Wire) -> Got:
    body = ask().partition(b"\r\n\r\n")[2]
    wire.send(b"POST %b HTTP/1.0\r\ncontent-length: %d\r\n\r\n%b" % (PATH.encode(), len(body), body))
    return await wire.got()


def test_http_10_is_answered_and_closed() -> None:
    async def scenario() -> None:
        async with Provider() as provider, routed(provider) as served, dialled(served) as wire:
            got = await http_10(wire)
            assert got.status == 200
            assert got.headers["connection"] == "close"
            assert await wire.is_closed()

    run(scenario)
