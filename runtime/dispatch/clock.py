"""Where dispatch gets the time and its alarms from; tests bring their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol


class Alarm(Protocol):
    """Something that will ring unless cancelled."""

    def cancel(self) -> None:
        """Never ring; harmless afterwards."""
        ...


class Clock(Protocol):
    """A monotonic clock in seconds, and alarms on it."""

    def now_s(self) -> float:
        """Return the time; only differences mean anything."""
        ...

    def ring(self, at_s: float, then: Callable[[], None]) -> Alarm:
        """Call `then` once, soon after `at_s`."""
        ...


class LoopClock:
    """The running event loop's own clock."""

    def now_s(self) -> float:
        """Return the loop's time."""
        return asyncio.get_running_loop().time()

    def ring(self, at_s: float, then: Callable[[], None]) -> Alarm:
        """Call `then` from the loop once its time has come."""
        return asyncio.get_running_loop().call_at(at_s, then)
