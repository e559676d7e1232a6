"""When to stop asking an endpoint that fails, and how to find out that it works again.

    closed ──(3 failures in a row, or half of ≥ 10 recent attempts)──► open, for a pause
    open ──(pause over, somebody asks)──► one probe in flight, nobody else
    probe succeeds ──► closed          probe fails ──► open, for twice the pause
    probe ends without a verdict, or never ends ──► the next one may probe

Only attempts begun in the present period speak: every opening and closing starts a new one, so that the stragglers
of an outage neither open what has recovered nor close what has failed since. docs/decisions/health-breaker.md.
"""

from __future__ import annotations

from math import inf
from zlib import crc32

from runtime.health.decay import Ratio

# Three in a row by chance at a provider that fails 2 % of the time: once in 125,000 attempts. Three wasted attempts
# on a dead one, each of which fails over unseen.
FAILURES_IN_A_ROW = 3

# A provider that fails every other attempt never fails three in a row for long; ten attempts make half of them
# unlikely to be chance (2 % error rate: 1 in 10^15).
ENOUGH_EVIDENCE = 10.0
ERROR_RATE = 0.5

# Half of the evidence is gone after 30 s, the window in which OpenRouter calls an outage recent.
HALF_LIFE_S = 30.0

# The first pause outlasts a restart of a connection or a proxy, the longest costs one failed attempt a minute.
FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 60.0

# Pauses of many instances that saw the same outage spread by a fifth to either side.
JITTER = 0.2

# A recovered endpoint that stays closed for a minute has earned the first pause again.
FORGIVEN_AFTER_S = 60.0

# A probe may be a long generation. After this long the next request may try too, whatever became of it.
PROBE_LEASE_S = 60.0


class Breaker:
    """The breaker of one endpoint; all times are those of one clock that never runs backwards.

    Attributes:
        period: Number of the present period; an attempt remembers the one it was begun in.
        blocked_until_s: Until when regular traffic stays away; in the past when it is welcome.
    """

    __slots__ = (
        "_closed_s", "_failures", "_is_open", "_name", "_openings", "_pause_until_s", "_probe", "_rate",
        "blocked_until_s", "period",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        """`name` tells this breaker from every other one of the fleet; jitter is drawn from it."""
        self._name = name
        self._is_open = False
        self._pause_until_s = -inf
        self._probe: object | None = None
        self._failures = 0
        self._rate = Ratio(HALF_LIFE_S)
        self._openings = 0
        self._closed_s = -inf
        self.period = 0
        self.blocked_until_s = -inf

    def is_pausing(self, now_s: float) -> bool:
        """Whether it is open and its pause is not over."""
        return self._is_open and now_s < self._pause_until_s

    def begin(self, attempt: object, now_s: float) -> None:
        """Note that an attempt starts; after the pause the first one becomes the probe."""
        if self._is_open and now_s >= self.blocked_until_s:
            self._probe = attempt
            self.blocked_until_s = now_s + PROBE_LEASE_S

    def success(self, period: int, now_s: float) -> None:
        """Note that an attempt begun in `period` succeeded."""
        if period != self.period:
            return
        if self._is_open:
            self._close(now_s)
        else:
            self._failures = 0
            self._rate.add(0.0, 1.0, now_s)

    def failure(self, attempt: object, period: int, now_s: float) -> None:
        """Note that an attempt begun in `period` failed. While open only the probe's failure counts."""
        if period != self.period:
            return
        if self._is_open:
            if attempt is self._probe:
                self._open(now_s)
            return
        self._failures += 1
        self._rate.add(1.0, 1.0, now_s)
        rate = self._rate.at(now_s)
        enough = self._rate.evidence(now_s) >= ENOUGH_EVIDENCE
        if self._failures >= FAILURES_IN_A_ROW or (enough and rate is not None and rate >= ERROR_RATE):
            self._open(now_s)

    def release(self, attempt: object) -> None:
        """Note that an attempt ended without a verdict; if it was the probe, the next one may be."""
        if attempt is self._probe:
            self._probe = None
            self.blocked_until_s = self._pause_until_s

    def _open(self, now_s: float) -> None:
        if not self._is_open and now_s - self._closed_s > FORGIVEN_AFTER_S:
            self._openings = 0
        pause_s = min(FIRST_PAUSE_S * 2.0**self._openings, LONGEST_PAUSE_S)
        self._is_open = True
        self._probe = None
        self._openings = min(self._openings + 1, 16)
        self.period += 1
        self._pause_until_s = now_s + pause_s * (1.0 - JITTER + 2.0 * JITTER * self._chance())
        self.blocked_until_s = self._pause_until_s

    def _close(self, now_s: float) -> None:
        self._is_open = False
        self._probe = None
        self._failures = 0
        self._rate.clear()
        self._closed_s = now_s
        self.period += 1
        self.blocked_until_s = -inf

    def _chance(self) -> float:
        """Return a number in [0, 1) that differs between breakers and periods."""
        return crc32(f"{self._name}:{self.period}".encode()) / 2.0**32
