"""Time that never runs backwards: how much of it has passed for health, whatever the caller's clock does."""

from __future__ import annotations

# Two callers may read the clock in one order and report in the other; a pause of the event loop is longer than
# that. 5 s is far above both and far below any step of a clock worth the name (NTP steps, resumed snapshots).
LATE_S = 5.0

# Everything learned is forgotten long before a day is over (16 half-lives of the slowest memory), so a larger
# jump means nothing more, and capping it keeps the sum exact in a float.
LONGEST_S = 86_400.0


class Clock:
    """Seconds passed since the first event, from time stamps that may be late, stepped back or huge.

    A stamp up to `LATE_S` old is a late report of the present. An older one is a clock that was set back: it starts
    again from there and no time has passed. So a step back neither freezes a deadline nor extends it.
    """

    __slots__ = ("_passed_s", "_seen_s")

    def __init__(self) -> None:
        self._passed_s = 0.0
        self._seen_s: float | None = None

    def advance(self, now_s: float) -> float:
        """Return the time passed as of an event at `now_s`; never less than before."""
        if self._seen_s is None:
            if now_s == now_s:  # not a NaN
                self._seen_s = now_s
            return self._passed_s
        age_s = now_s - self._seen_s
        if age_s > 0.0:
            self._passed_s += min(age_s, LONGEST_S)
            self._seen_s = now_s
        elif age_s < -LATE_S:
            self._seen_s = now_s
        return self._passed_s

    def at(self, now_s: float) -> float:
        """Return the time passed as of `now_s` without noting it; never less than at the last event."""
        if self._seen_s is None:
            return self._passed_s
        age_s = now_s - self._seen_s
        return self._passed_s + min(age_s, LONGEST_S) if age_s > 0.0 else self._passed_s
