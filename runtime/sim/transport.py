"""Simulated providers as a transport: no network, OpenAI's answers at a stated pace, failures in a stated share."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from router_dsl import sim_url
from router_dsl.sim_url import SimUrl
from runtime.dispatch.transport import Headers, Outgoing, TransportError
from runtime.sim.answers import Answer, Part, Signature, answer, refusal

Sleep = Callable[[float], Awaitable[None]]

# Event loops wake up no more exactly than this; a faster model sends several tokens at a time, as real ones do.
SHORTEST_WAIT_S = 0.01

RETRY_AFTER_S = 1


Failure = Literal["overloaded", "throttled", "reset", "torn", "cut"]

# What fails before the first content, in equal parts; `torn` is an answer that breaks off right after its head.
EARLY: tuple[Failure, ...] = ("overloaded", "throttled", "reset", "torn")


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one request; `place` in [0, 1) says where a `cut` answer breaks."""

    ttft_s: float
    failure: Failure | None
    place: float


class Provider:
    """One simulated provider: how it behaves, and its own sequence of chances."""

    def __init__(self, address: SimUrl) -> None:
        self.address = address
        self.served = 0
        self._chances = random.Random(address.seed)  # noqa: S311 - repeatable on purpose

    def next(self) -> Fate:
        """Return what happens to the next request: always three draws, so that one fate does not shift the others."""
        self.served += 1
        failing, place, drift = (self._chances.random() for _ in range(3))
        at = self.address
        ttft_s = at.ttft_s * (1.0 + at.jitter * (2.0 * drift - 1.0))
        if failing < at.fail:
            return Fate(ttft_s, EARLY[int(place * len(EARLY))], place)
        if failing < at.fail + (1.0 - at.fail) * at.cut:
            return Fate(ttft_s, "cut", place)
        return Fate(ttft_s, None, place)


class SimResponse:
    """A simulated answer; parts come at the provider's speed."""

    def __init__(
        self, status: int, headers: Headers, parts: list[Part], speed: float, sleep: Sleep, broken: bool
    ) -> None:
        self.status = status
        self.headers = headers
        self._parts = parts
        self._next = 0
        self._speed = speed
        self._sleep = sleep
        self._broken = broken

    @property
    def is_complete(self) -> bool:
        """Whether all of the body was read."""
        return self._next == len(self._parts) and not self._broken

    async def read(self) -> bytes:
        """Return the next bytes of the body as they come; `b""` is the body's proper end.

        Raises:
            TransportError: The simulated connection broke before the end.
        """
        if self._next == len(self._parts):
            if self._broken:
                raise TransportError("lost", "the simulated connection broke off", sent=True)
            return b""
        first, made = self._next, 0
        enough = max(1, math.ceil(self._speed * SHORTEST_WAIT_S))
        while self._next < len(self._parts) and made < enough:
            made += self._parts[self._next].tokens
            self._next += 1
        taken = self._parts[first : self._next]
        # The first token is what `ttft` was waited for.
        waited = made - 1 if first == 0 else made
        if waited > 0:
            await self._sleep(waited / self._speed)
        return b"".join(part.data for part in taken)

    async def aclose(self) -> None:
        """Give up the rest."""
        self._next = len(self._parts)


class SimTransport:
    """Carries requests to `sim://` addresses.

    Each address is one provider with its own seeded sequence of failures, whoever asks. A request that fails does so
    before any content: 503, 429 with `retry-after`, a reset, or a stream torn after its head; `cut` breaks off later.

    Args:
        sleep: Waits for so many seconds.
        now_s: Unix time, for `created`.
    """

    def __init__(self, sleep: Sleep = asyncio.sleep, now_s: Callable[[], float] = time.time) -> None:
        self._sleep = sleep
        self._now_s = now_s
        self._providers: dict[str, Provider] = {}

    async def send(self, request: Outgoing) -> SimResponse:
        """Send a request and return when the head of the answer has arrived.

        Raises:
            TransportError: No head came: the provider is `down`, or this request drew a reset.
        """
        provider, path = self._provider(request.url)
        if provider.address.down:
            raise TransportError("connect", "the simulated provider is down", sent=False)
        fate = provider.next()
        await self._sleep(fate.ttft_s if fate.failure not in ("overloaded", "throttled") else 0.0)
        if fate.failure == "reset":
            raise TransportError("lost", "the simulated provider closed the connection", sent=True)
        signature = Signature(provider.address.name, provider.served, int(self._now_s()))
        found = _failed(fate) or answer(request.method, path, request.body, signature)
        return self._response(found, fate, provider.address.speed)

    async def aclose(self) -> None:
        """There is nothing to close."""

    def _provider(self, url: str) -> tuple[Provider, str]:
        """Return the provider of an address and the path asked for; addresses differ by more than their path."""
        try:
            address = sim_url.parse(url)
        except ValueError as error:
            raise TransportError("connect", str(error), sent=False) from error
        key = f"{address.name}?{url.partition('?')[2]}"
        return self._providers.setdefault(key, Provider(address)), address.path

    def _response(self, found: Answer, fate: Fate, speed: float) -> SimResponse:
        parts = list(found.parts)
        if broken := found.status == 200 and fate.failure in ("torn", "cut"):
            parts = _broken(parts, fate)
        headers: list[tuple[bytes, bytes]] = [(b"content-type", found.content_type)]
        if found.status == 429:
            headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
        return SimResponse(found.status, tuple(headers), parts, speed, self._sleep, broken)


def _failed(fate: Fate) -> Answer | None:
    if fate.failure == "overloaded":
        return refusal(503, "the simulated provider is overloaded", "server_error", "overloaded")
    if fate.failure == "throttled":
        return refusal(429, "the simulated provider asks for patience", "rate_limit_error", "rate_limit_exceeded")
    return None


def _broken(parts: list[Part], fate: Fate) -> list[Part]:
    """Return what arrives of a body that breaks off: no content when `torn`; one token to all but one when `cut`."""
    if len(parts) == 1:
        return [Part(0, parts[0].data[: len(parts[0].data) // 2])]
    content = [index for index, part in enumerate(parts) if part.tokens] or [0]
    if fate.failure == "torn":
        return parts[: content[0]]
    return parts[: content[0] + 1 + int(fate.place * (content[-1] - content[0]))]
