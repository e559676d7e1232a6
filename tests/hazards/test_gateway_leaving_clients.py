"""Clients that leave, or stay and do not read: providers are let go, and nothing piles up."""

from __future__ import annotations

import asyncio
import json

import pytest

from runtime.serve.guarded import Limits
from tests.hazards.gateway import ask, dialled, routed, run
from tests.providers import scripted as say
from tests.providers.scripted import Provider, Script, Talk

pytestmark = pytest.mark.slow

# What the kernel holds between two sockets on this machine: its send buffer (4 MB) and its receive buffer (6 MB), once
# towards the router and once away from it.
SOCKETS_BYTES = 20_000_000
MORE_THAN_THAT = 100_000_000


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("script", [say.hang(), say.sse([say.event("Hel")], end="stall"), say.hang_after_head()])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_client_that_leaves_takes_its_request_along(leave: str, script: Script, stream: bool) -> None:
    async def scenario() -> None:
        async with Provider(script) as provider, Provider() as other, routed(provider, other) as served:
            async with dialled(served) as wire:
                wire.send(ask(stream))
                await provider.until_requests(1)
                if stream and script is not say.hang:
                    await asyncio.sleep(0)
                getattr(wire, leave)()
                await provider.talks[0].closed.wait()
            await served.log.until(1)
            assert served.log.last["end"] == "client gone"
            assert other.received == [], "nothing is retried for who has left"

    run(scenario, 5)


def test_a_client_that_leaves_after_the_first_words_takes_its_stream_along() -> None:
    async def scenario() -> None:
        async with Provider() as provider, routed(provider) as served, dialled(served) as wire:
            provider.then(say.sse([say.event("Hel")], end="stall"))
            wire.send(ask(stream=True))
            await wire.until(b"Hel")
            wire.close()
            await provider.talks[0].closed.wait()
            await served.log.until(1)
            assert (served.log.last["status"], served.log.last["end"]) == (200, "client gone")

    run(scenario, 5)


def test_a_client_that_leaves_while_others_of_its_requests_wait_takes_all_along() -> None:
    async def scenario() -> None:
        async with Provider(say.hang()) as provider, routed(provider) as served, dialled(served) as wire:
            wire.send(ask() * 3)
            await provider.until_requests(1)
            wire.close()
            await provider.talks[0].closed.wait()
            await served.log.until(1)
            assert len(provider.received) == 1

    run(scenario, 5)


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_leaves_in_the_middle_of_its_body_was_there(leave: str) -> None:
    async def scenario() -> None:
        async with Provider() as provider, routed(provider) as served, dialled(served) as wire:
            wire.send(ask()[:-10])
            await wire.writer.drain()
            await asyncio.sleep(0.02)
            getattr(wire, leave)()
            await served.log.until(1)
            assert (served.log.last["status"], served.log.last["end"]) == (499, "client gone")
            assert provider.received == []

    run(scenario, 5)


class Flood:
    """A stream without end, as fast as it is taken; `taken_bytes` of it were."""

    def __init__(self) -> None:
        self.taken_bytes = 0
        self.over = asyncio.Event()

    async def __call__(self, talk: Talk) -> None:
        event = say.event("x" * 60_000)
        await talk.head(200, say.SSE)
        talk.writer.transport.set_write_buffer_limits(0)
        try:
            while self.taken_bytes < MORE_THAN_THAT:
                talk.writer.write(b"%x\r\n%b\r\n" % (len(event), event))
                await talk.writer.drain()
                self.taken_bytes += len(event)
        except ConnectionError:
            pass
        talk.keep = False
        self.over.set()


def test_a_flood_stops_at_a_client_that_does_not_read_and_the_client_is_dropped() -> None:
    async def scenario() -> None:
        flood = Flood()
        limits = Limits(write_s=0.15)
        async with Provider(flood) as provider, routed(provider, limits=limits) as served:
            async with dialled(served, receive_buffer_bytes=4096) as wire:
                wire.reader._limit = 1  # type: ignore[attr-defined]  # so that this end takes nothing, either
                wire.send(ask(stream=True))
                await flood.over.wait()
                assert flood.taken_bytes < SOCKETS_BYTES
            await served.log.until(1)
            assert served.log.last["end"] == "client gone"
            await provider.until_all_closed()

    run(scenario, 20)


@pytest.mark.parametrize("close", ["", "connection: close\r\n"])
def test_a_whole_answer_that_is_not_taken_does_not_hold_its_connection(close: str) -> None:
    async def scenario() -> None:
        large = json.loads(say.answer())
        large["choices"][0]["message"]["content"] = "x" * 20_000_000
        provider = Provider(say.whole(200, json.dumps(large).encode(), say.JSON))
        limits = Limits(write_s=0.05)
        async with (
            provider,
            routed(provider, limits=limits) as served,
            dialled(served, receive_buffer_bytes=4096) as wire,
        ):
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
            wire.send(ask(headers=close))
            await served.log.until(1)
            await asyncio.sleep(0.2)
            wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
            got = await wire.got()
            assert got.status == 200
            assert not got.whole

    run(scenario, 20)


def test_a_client_that_reads_slowly_gets_all_of_it() -> None:
    async def scenario() -> None:
        texts = [f"{number:06}" + "x" * 60_000 for number in range(150)]
        limits = Limits(write_s=0.1)
        async with Provider(say.stream(*texts)) as provider, routed(provider, limits=limits) as served:
            async with dialled(served, receive_buffer_bytes=65536) as wire:
                wire.reader._limit = 1  # type: ignore[attr-defined]
                wire.send(ask(stream=True))
                data = b""
                while not data.endswith(b"0\r\n\r\n"):
                    data += await wire.reader.read(200_000)
                    await asyncio.sleep(0.002)
            assert [b'"content": "%06d' % number in data for number in range(150)] == [True] * 150
            await served.log.until(1)
            assert served.log.last["end"] == "complete"

    run(scenario, 20)
