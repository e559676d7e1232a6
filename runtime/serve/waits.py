"""How long a request waited for providers, so that what is left of its time is known to be ours."""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass

from runtime.dispatch.transport import Headers, Outgoing, Response, Transport


@dataclass(slots=True)
class Waits:
    """When a request first went out to a provider and when a provider was last heard; `perf_counter` seconds.

    Everything between the two counts as waiting: attempts, and the pauses between them.
    """

    sent_s: float | None = None
    heard_s: float | None = None

    def waited_s(self) -> float:
        """Return the seconds between the two; 0 as long as nothing was heard."""
        if self.sent_s is None or self.heard_s is None:
            return 0.0
        return self.heard_s - self.sent_s


CURRENT: ContextVar[Waits | None] = ContextVar("waits", default=None)
"""Those of the request at hand; tasks that a request starts inherit it."""


class TimedTransport:
    """A transport that notes when it is asked and when it hears, in the `CURRENT` waits."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def send(self, request: Outgoing) -> Response:
        """Send a request and return when the head of the answer has arrived."""
        waits = CURRENT.get()
        if waits is None:
            return await self._transport.send(request)
        if waits.sent_s is None:
            waits.sent_s = time.perf_counter()
        try:
            return _TimedResponse(await self._transport.send(request), waits)
        finally:
            waits.heard_s = time.perf_counter()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


class _TimedResponse:
    """A response whose every read is noted."""

    __slots__ = ("_response", "_waits", "headers", "status")

    def __init__(self, response: Response, waits: Waits) -> None:
        self.status: int = response.status
        self.headers: Headers = response.headers
        self._response = response
        self._waits = waits

    async def read(self) -> bytes:
        try:
            return await self._response.read()
        finally:
            self._waits.heard_s = time.perf_counter()

    async def aclose(self) -> None:
        await self._response.aclose()
