"""One of two providers dies under forty clients: what had not begun is answered, what had begun ends in one way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import Counter

import pytest

from tests.clients.serving import Served
from tests.hazards.gateway import Got, ask, dialled, routed, run
from tests.providers import scripted as say
from tests.providers.scripted import Provider, Talk

pytestmark = pytest.mark.slow

CLIENTS = 40
EACH = 4


def kind(got: Got, stream: bool) -> str:
    """Return how an answer ended, having checked that it ended in exactly one way."""
    assert got.status == 200, (got.status, got.body)
    assert got.whole
    if not stream:
        assert json.loads(got.body)["choices"][0]["message"]["content"] in ("first", "second")
        return "complete"
    done = got.body.count(b"[DONE]")
    assert done + len(got.errors) == 1, got.body
    if done:
        assert got.texts in ("firstfirst", "secondsecond")
        assert got.body.endswith(b"data: [DONE]\n\n")
        return "complete"
    assert got.texts in ("first", "firstfirst"), "what broke off had begun"
    return "cut"


def wordy(text: str) -> say.Script:
    """Answer either way; a stream is two words with a turn of the loop between them."""

    async def script(talk: Talk) -> None:
        if not talk.request.json.get("stream"):
            await say.unary(text)(talk)
            return
        await talk.head(200, say.SSE)
        for event in (say.event("", role="assistant"), say.event(text)):
            await talk.chunk(event)
        await asyncio.sleep(0.001)
        for event in (say.event(text), say.event(finish="stop"), say.usage_event(), say.DONE):
            await talk.chunk(event)
        await talk.end()

    return script


async def client(served: Served, number: int, ends: Counter[str]) -> None:
    """Ask a few times over one connection, every other time for a stream."""
    async with dialled(served) as wire:
        for turn in range(EACH):
            stream = (number + turn) % 2 == 0
            wire.send(ask(stream, headers=f"x-request-id: r-{number}-{turn}\r\n"))
            ends[kind(await wire.got(), stream)] += 1


def sockets() -> int:
    """Return how many are open; the loop keeps a file of its own besides, from its first listening on."""
    found = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    return found


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to count what is open")
@pytest.mark.parametrize("killed_at", [1, 25, 60, 110])
def test_a_provider_dies_under_forty_clients(killed_at: int) -> None:
    async def scenario() -> None:
        open_before, tasks_before = sockets(), len(asyncio.all_tasks())
        first, second = Provider(wordy("first")), Provider(wordy("second"))
        ends: Counter[str] = Counter()
        async with first, second, routed(first, second) as served:
            asking = asyncio.gather(*(client(served, number, ends) for number in range(CLIENTS)))
            await first.until_requests(killed_at)
            await first.stop()
            await asking
            await served.log.until(CLIENTS * EACH)
            assert sum(ends.values()) == CLIENTS * EACH
            lines = Counter(str(event["request_id"]) for event in served.log.seen)
            assert lines == {f"r-{number}-{turn}": 1 for number in range(CLIENTS) for turn in range(EACH)}
            assert Counter(str(event["end"]) for event in served.log.seen) == ends
            # A breaker that has seen it dead asks it no more; each attempt at it was followed by one at the other.
            for event in served.log.seen:
                attempts = event["attempts"]
                assert isinstance(attempts, list)
                assert 1 <= len(attempts) <= 2
                assert [a["outcome"] for a in attempts[:-1]] in ([], ["lost"], ["connect"], ["cancelled"])
            health = served.router.health.at(served.router.clock.now_s())
            assert [health.measured(endpoint, "inflight") for endpoint in (0, 1)] == [0, 0]
            assert second.open <= CLIENTS
        # What closes does so within a few turns of the loop.
        for _ in range(100):
            if sockets() <= open_before and len(asyncio.all_tasks()) <= tasks_before:
                break
            await asyncio.sleep(0.01)
        assert sockets() <= open_before
        assert len(asyncio.all_tasks()) <= tasks_before

    run(scenario)


def test_streams_that_were_speaking_when_their_provider_died_all_say_so() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        first = Provider(say.sse_halted([say.event("", role="assistant"), say.event("first")], gate, []))
        second = Provider(wordy("second"))
        async with first, second, routed(first, second) as served:
            begun = asyncio.Semaphore(0)

            async def speaking(number: int) -> str:
                async with dialled(served) as wire:
                    wire.send(ask(stream=True))
                    got = await wire.head()
                    begun.release()
                    await wire.body(got)
                    ended = kind(got, stream=True)
                    # The connection goes on, with the provider that is left.
                    wire.send(ask(stream=number % 2 == 0))
                    assert kind(await wire.got(), stream=number % 2 == 0) == "complete"
                    return ended

            asking = asyncio.gather(*(speaking(number) for number in range(CLIENTS)))
            for _ in range(CLIENTS):
                await begun.acquire()
            await first.stop()
            assert await asking == ["cut"] * CLIENTS
            assert len(second.received) == CLIENTS, "what had begun is not asked again"

    run(scenario)
