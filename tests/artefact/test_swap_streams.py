"""Plans are swapped under hundreds of open streams on real sockets: none breaks, stalls or changes its plan."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import pytest

from runtime.serve.renewal import Renewal
from tests.artefact.fakes import FakeSource, built
from tests.clients.serving import Served, serving
from tests.hazards.gateway import Got, ask, dialled, run
from tests.providers.scripted import Provider, Script, Talk, event

STREAMS = 300
SWAPS = 4


def policy(provider: Provider, note: int) -> str:
    """Return a policy that differs from the others in its text and in a rule, and in nothing that answers show."""
    return (
        f'provider p {{ url "{provider.url}" }}\nmodel m {{ serve p "up" }}\n'
        f"policy chat {{ r{note}: when prompt.tokens > {note + 9}k -> reject 413  otherwise -> m }}\n"
    )


def held_open(gates: list[asyncio.Event]) -> Script:
    """Say one more word each time a gate opens."""

    async def script(talk: Talk) -> None:
        await talk.head(200, ("content-type", "text/event-stream"))
        for number, gate in enumerate(gates):
            await talk.chunk(event(f"{number} "))
            await gate.wait()
        await talk.chunk(event("end", finish="stop"))
        await talk.chunk(b"data: [DONE]\n\n")
        await talk.end()

    return script


async def streamed(served: Served) -> Got:
    async with dialled(served) as wire:
        wire.send(ask(stream=True))
        return await wire.got()


@pytest.mark.slow
def test_streams_outlive_the_plans_they_began_with() -> None:
    async def scenario() -> None:
        gates = [asyncio.Event() for _ in range(SWAPS)]
        async with Provider(held_open(gates)) as provider:
            texts = [policy(provider, note) for note in range(SWAPS + 1)]
            source = FakeSource(built(texts[0]))
            renewal = Renewal(source, 1e9, tag=source.tag)
            async with serving(texts[0], renewal=renewal) as served:
                streams: list[asyncio.Task[Got]] = []
                begun: dict[str, int] = {}
                for number in range(SWAPS):
                    streams += [asyncio.create_task(streamed(served)) for _ in range(STREAMS // SWAPS)]
                    await provider.until_requests(len(streams))
                    source.data = built(texts[number + 1])
                    await renewal.after()
                    gates[number].set()
                    assert renewal.counts.swapped == number + 1
                for gate in gates:
                    gate.set()
                for got in await asyncio.gather(*streams):
                    assert (got.status, got.whole, got.errors) == (200, True, [])
                    assert got.texts == "0 1 2 3 end"
                    assert got.events[-1] == b"data: [DONE]"
                    name = got.headers["x-pointsman-policy"]
                    begun[name] = begun.get(name, 0) + 1
                # A quarter of them began under each plan, and kept it.
                digests = ["ab" * 32, *(sha256(text.encode()).hexdigest() for text in texts[1:-1])]
                assert begun == {f"chat@{digest[:12]}": STREAMS // SWAPS for digest in digests}
                assert renewal._router is not None
                assert renewal._router.health.at(served.router.clock.now_s()).load(0) == 0.0

    run(scenario)


@pytest.mark.slow
def test_requests_flow_while_plans_are_swapped_without_a_pause() -> None:
    async def scenario() -> None:
        gates = [asyncio.Event() for _ in range(2)]
        for gate in gates:
            gate.set()
        async with Provider(held_open(gates)) as provider:
            texts = [policy(provider, note) for note in range(2)]
            source = FakeSource(built(texts[0]))
            plans = [built(text) for text in texts]
            renewal = Renewal(source, 1e9, tag=source.tag)
            async with serving(texts[0], renewal=renewal) as served:
                over = asyncio.Event()

                async def swap_on_and_on() -> None:
                    number = 0
                    while not over.is_set():
                        number += 1
                        source.data = plans[number % 2]
                        await renewal.after()

                async def client() -> None:
                    async with dialled(served) as wire:
                        for _ in range(10):
                            wire.send(ask(stream=True))
                            got = await wire.got()
                            assert (got.status, got.whole, got.texts, got.errors) == (200, True, "0 1 end", [])

                swapping = asyncio.create_task(swap_on_and_on())
                await asyncio.gather(*(client() for _ in range(30)))
                over.set()
                await swapping
                assert renewal.counts.swapped >= 3
                assert provider.connections <= 40  # the pool outlives every plan

    run(scenario)
