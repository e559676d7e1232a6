"""Where dispatch gets the time and its alarms from; tests bring their own."""

from __future__ import annotations

import asyncio
import time
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
    """The machine's monotonic clock, with alarms from the running event loop.

    Not the loop's own time: finding the loop asks the kernel for the process id each time, and uvloop counts in
    milliseconds. `perf_counter` is monotonic too, and what serving measures its own time with.
    """

    _loop: asyncio.AbstractEventLoop | None = None

    def now_s(self) -> float:
        """Return the monotonic time."""
        return time.perf_counter()

    def ring(self, at_s: float, then: Callable[[], None]) -> Alarm:
        """Call `then` from the loop once its time has come."""
        loop = self._loop = running_loop(self._loop)
        return loop.call_later(max(0.0, at_s - time.perf_counter()), then)


def running_loop(known: asyncio.AbstractEventLoop | None) -> asyncio.AbstractEventLoop:
    """Return the running loop, which is the one that its caller has known unless that is closed.

    Asking costs a system call, since a process may have forked.
    """
    return asyncio.get_running_loop() if known is None or known.is_closed() else known
