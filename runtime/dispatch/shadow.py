"""Copies of requests to other endpoints, for comparison: the answers are read to their end and thrown away.

A copy begins when its request does and goes its own way: its own deadline, no retries, nobody to wait for. What there
is no room for is not copied.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from runtime.dispatch.transport import Headers

# Of copies in flight: what an instance of one core relays besides its own work without being felt, and what their
# bodies may hold in memory.
MOST_COPIES = 32
MOST_BYTES = 64 * 1024 * 1024

# Where the rule has no `within`: nobody waits, but a slot is held.
WITHIN_S = 120.0


class Room:
    """What copies in flight take up."""

    def __init__(self) -> None:
        self._copies = 0
        self._bytes = 0

    def take(self, body_bytes: int) -> bool:
        """Count one more; False, and nothing counted, when there is no room for it."""
        if self._copies >= MOST_COPIES or self._bytes + body_bytes > MOST_BYTES:
            return False
        self._copies += 1
        self._bytes += body_bytes
        return True

    def give(self, body_bytes: int) -> None:
        """Count one less."""
        self._copies -= 1
        self._bytes -= body_bytes


class Nobody:
    """The client of a copy; implements `Client`."""

    async def start(self, status: int, headers: Headers, endpoint: str, attempts: int, waited_s: float = 0.0) -> None:
        """Ignore the head."""

    async def send(self, data: bytes, *, last: bool) -> None:
        """Throw bytes away; lets others go first, since a fast provider would never have us wait."""
        await asyncio.sleep(0)

    def offer(self, data: bytes) -> bool:
        """Take nothing this way."""
        return False

    def watch(self, left: Callable[[], None]) -> Callable[[], object]:
        """Never leave."""
        return _nothing


def _nothing() -> None:
    """End a watch that watches nothing."""
