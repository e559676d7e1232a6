"""Whether an endpoint has fallen silent: attempts wait far longer than is usual there, and nothing was heard of it.

A provider that hangs is found out by the breaker only when deadlines pass; until then everybody is sent to it. Its
silence is seen sooner. What is silent is tried after what is not, and one attempt every few seconds may find out.
"""

from __future__ import annotations

from itertools import islice
from math import inf

# One waiting attempt is a long prompt.
ENOUGH_WAITING = 2

# Of the 99th percentile of times to first token; and never sooner than a pause of the peer's or our own machine.
USUAL_TIMES = 4.0
LEAST_S = 0.1

# As long as the breaker's first pause: the last attempt that was sent is given so long before another one may try.
PAUSE_S = 2.0

# An attempt that nobody ends waits no longer than its permit counts (`endpoint.PERMIT_LEASE_S`).
LEASE_S = 1_260.0


class Silence:
    """The attempts of one endpoint without a word yet; times are those of one clock that never runs backwards."""

    __slots__ = ("_asked_s", "_heard_s")

    def __init__(self) -> None:
        self._asked_s: dict[object, float] = {}
        self._heard_s = -inf

    def ask(self, attempt: object, now_s: float) -> None:
        """Note that an attempt begins; forgets those that nobody ended."""
        self._asked_s[attempt] = now_s
        while now_s - next(iter(self._asked_s.values())) >= LEASE_S:
            del self._asked_s[next(iter(self._asked_s))]

    def hear(self, attempt: object, now_s: float) -> None:
        """Note that an attempt has its first token, or its answer."""
        self._asked_s.pop(attempt, None)
        self._heard_s = now_s

    def end(self, attempt: object) -> None:
        """Note that an attempt ended, whatever was heard of it."""
        self._asked_s.pop(attempt, None)

    @property
    def waiting(self) -> int:
        """How many wait for a first word."""
        return len(self._asked_s)

    def quiet_s(self, now_s: float) -> float:
        """Return for how long enough attempts have waited without a word from the endpoint; 0 while too few wait."""
        if len(self._asked_s) < ENOUGH_WAITING:
            return 0.0
        begun_s = next(islice(self._asked_s.values(), ENOUGH_WAITING - 1, None))
        return now_s - max(begun_s, self._heard_s)

    def until_s(self, usual_s: float, now_s: float) -> float:
        """Return until when to stay away; in the past when there is no reason to.

        Args:
            usual_s: The time to first token that nearly all attempts keep to.
            now_s: Now.
        """
        if self.quiet_s(now_s) <= max(LEAST_S, USUAL_TIMES * usual_s):
            return -inf
        return next(reversed(self._asked_s.values())) + PAUSE_S
