"""Tells deployments that scale to zero to wake: one call, on the side, whose answer changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from router_dsl.plan import Program
from runtime.dispatch.background import Background
from runtime.dispatch.clock import Clock
from runtime.dispatch.outgoing import Addresses
from runtime.dispatch.record import Note, Woken
from runtime.dispatch.transport import Transport, TransportError
from runtime.health.health import Health

# A call that starts machines may be slow to answer; nobody waits for it.
WAKE_S = 30.0


class Waker:
    """Wakes providers.

    Args:
        program: Says where `wake` is.
        health: Says who sleeps.
        addresses: Knows the providers' keys.
        transports: Carriers by protocol.
        clock: The time that health is told in.
        background: Where the calls run.
        note: Told how they ended.
    """

    def __init__(
        self,
        program: Program,
        health: Health,
        addresses: Addresses,
        transports: Mapping[str, Transport],
        clock: Clock,
        background: Background,
        note: Callable[[Note], None],
    ) -> None:
        self._program = program
        self._health = health
        self._addresses = addresses
        self._transports = transports
        self._clock = clock
        self._background = background
        self._note = note
        self._waking: set[int] = set()

    def rouse(self, endpoint: int) -> None:
        """Wake an endpoint's provider if the endpoint sleeps and nobody has woken it lately."""
        index = self._program.endpoints[endpoint].provider
        provider = self._program.providers[index]
        if provider.wake is None or provider.protocol == "sim" or index in self._waking:
            return
        if self._health.wake_due(endpoint, self._clock.now_s()):
            self._waking.add(index)
            self._background.start(self._wake(index))

    async def _wake(self, index: int) -> None:
        provider = self._program.providers[index]
        try:
            async with asyncio.timeout(WAKE_S):
                response = await self._transports[provider.protocol].send(self._addresses.wake(index))
                await response.aclose()
            outcome = f"status {response.status}"
        except TransportError as error:
            outcome = error.kind
        except TimeoutError:
            outcome = "timeout"
        finally:
            self._waking.discard(index)
        self._note(Woken(provider.name, outcome))
