"""A request that is over leaves nothing to the garbage collector, whose sweeps would cost more than requests do."""

from __future__ import annotations

import gc

import pytest

from tests.hazards.gateway import Wire, ask, dialled, routed, run
from tests.providers import scripted as say
from tests.providers.scripted import Provider

REQUESTS = 20


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_request_leaves_no_cycles(stream: bool) -> None:
    async def scenario() -> list[str]:
        async with Provider(say.either()) as provider, routed(provider) as served, dialled(served) as wire:
            await ask_all(wire, 3)  # what is made once
            gc.collect()
            gc.disable()
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                await ask_all(wire, REQUESTS)
                gc.collect()
                return [
                    type(found).__qualname__ for found in gc.garbage if type(found).__module__.startswith("runtime.")
                ]
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
                gc.enable()

    async def ask_all(wire: Wire, count: int) -> None:
        for _ in range(count):
            wire.send(ask(stream))
            assert (await wire.got()).status == 200

    found = run(scenario)
    assert len(found) < REQUESTS, f"left behind: {sorted(set(found))}"
