"""What is recorded about one endpoint, and the permit of an attempt, which is how it gets recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import inf
from typing import Literal

from runtime.health.breaker import Breaker
from runtime.health.clock import Clock
from runtime.health.cold import Cold
from runtime.health.crowd import Crowd
from runtime.health.decay import Histogram, Ratio
from runtime.health.silence import LEAST_S, Silence

Why = Literal["breaker open", "probing", "cooling down", "full", "silent", "warned of"]

THROTTLED = "429"
"""The kind of failure that says `not now` rather than `broken`: it cools down and leaves the breaker alone."""

# Latency and speed follow load over minutes; two of them keep a busy endpoint's percentiles current and let an
# endpoint that nobody asks any more become unknown, hence worth a try again, within a quarter of an hour.
SPEED_HALF_LIFE_S = 120.0

# Errors are news, but at one request every half minute three of them must still add up to a share.
ERRORS_HALF_LIFE_S = 60.0

# A share of fewer than three is an anecdote: one failure of one must not let `where errors < 5%` empty a plan. Three
# attempts within a quarter of a minute weigh this much; repeated failures are the breaker's business anyway.
ENOUGH_ATTEMPTS = 2.5

# Without a hint a 429 cools down for a second, twice as long each time it comes straight back: per-second token
# limits (Fireworks) recover at once, per-minute ones (Baseten) within the longest.
FIRST_COOL_S = 1.0
LONGEST_COOL_S = 30.0

# A provider may ask for a day (a spent daily quota). Asking again after ten minutes costs one refused attempt.
LONGEST_RETRY_AFTER_S = 600.0

# Before what is usual is known from this many times to first token, no silence is unusual.
ENOUGH_FIRST_TOKENS = 5.0
USUALLY = 0.99

# What others say is believed for so long, and not so soon after an attempt that was served here.
WARNED_S = 10.0

# A permit that nobody ends stops counting as in flight after this long: Baseten's longest prediction is 1,200 s.
PERMIT_LEASE_S = 1_260.0

# A queue is worked off in less; a report of before that is history.
REPORT_LASTS_S = 15.0

# Fewer tokens, or a shorter time, say more about buffering than about speed.
LEAST_TOKENS = 2
LEAST_GENERATION_S = 0.001


class Slots:
    """Attempts in flight at an endpoint, or at a provider with `limit` concurrent ones."""

    __slots__ = ("_begun_s", "_sound_until_s", "limit")

    def __init__(self, limit: float = inf) -> None:
        self.limit = limit
        self._begun_s: dict[object, float] = {}
        self._sound_until_s = -inf

    def take(self, permit: object, now_s: float) -> None:
        """Count a permit as in flight; forgets those that nobody ended."""
        self._begun_s[permit] = now_s
        for lost in self._lost(now_s):
            del self._begun_s[lost]
        # The oldest comes first. When it ends, this bound is early, which costs a count and is never wrong.
        self._sound_until_s = next(iter(self._begun_s.values())) + PERMIT_LEASE_S

    def give(self, permit: object) -> None:
        """Count it no longer."""
        self._begun_s.pop(permit, None)

    def used(self, now_s: float) -> int:
        """Return how many are in flight."""
        if now_s < self._sound_until_s or not self._begun_s:
            return len(self._begun_s)
        return len(self._begun_s) - len(self._lost(now_s))

    def _lost(self, now_s: float) -> Sequence[object]:
        """Return the permits past their lease."""
        return tuple(takewhile(lambda permit: now_s - self._begun_s[permit] >= PERMIT_LEASE_S, self._begun_s))


@dataclass(frozen=True, slots=True)
class Report:
    """What a server said of its load at `at_s`; None for what it does not tell."""

    waiting: float | None
    running: float | None
    at_s: float


class EndpointHealth:
    """What was recorded about one endpoint; written by `Health` and its permits alone.

    Attributes:
        asked_s: When an attempt was last begun.
        report: What its server last said of its load, or None.
        blocked_until_s: Until when regular traffic stays away: the later of cool-down and breaker.
        warned_until_s: Until when it does because other instances found it failing; what is found here ends it.
    """

    __slots__ = (
        "_cool_since_s", "_cool_until_s", "_throttles", "asked_s", "blocked_until_s", "breaker", "cold", "crowd",
        "errors", "own", "report", "served_s", "shared", "silence", "speed", "ttft",
        "warned_until_s",
    )  # fmt: skip

    def __init__(self, name: str, shared: Slots | None, habit: Literal["reject", "park"] | None = None) -> None:
        """`name` is unique in the fleet; `shared` are the slots of its provider when that one has a limit.

        `habit` is what it does while it is scaled to zero, None when it never is.
        """
        self.own = Slots()
        self.shared = shared
        self.breaker = Breaker(name)
        self.cold = Cold(habit)
        self.crowd = Crowd()
        self.silence = Silence()
        self.ttft = Histogram(SPEED_HALF_LIFE_S)
        self.speed = Ratio(SPEED_HALF_LIFE_S)
        self.errors = Ratio(ERRORS_HALF_LIFE_S, ENOUGH_ATTEMPTS)
        self.asked_s = -inf
        self.report: Report | None = None
        self._throttles = 0
        self._cool_since_s = self._cool_until_s = self.blocked_until_s = -inf
        self.served_s = self.warned_until_s = -inf

    def is_full(self, now_s: float) -> bool:
        """Whether the provider holds as many attempts as it may, or the endpoint as many as it takes."""
        if self.shared is not None and self.shared.used(now_s) >= self.shared.limit:
            return True
        limit = self.crowd.limit(now_s)
        return limit < inf and self.own.used(now_s) >= limit

    def silent_s(self, now_s: float) -> float:
        """Return for how many seconds more it is to be left alone since it has fallen silent; 0 when it has not."""
        if self.silence.quiet_s(now_s) <= LEAST_S or self.ttft.evidence(now_s) < ENOUGH_FIRST_TOKENS:
            return 0.0
        usual_s = self.ttft.quantile(USUALLY, now_s)
        return 0.0 if usual_s is None else max(0.0, self.silence.until_s(usual_s, now_s) - now_s)

    def reported(self, now_s: float) -> Report | None:
        """Return what its server said of its load lately."""
        report = self.report
        return report if report is not None and now_s - report.at_s < REPORT_LASTS_S else None

    def busy(self, now_s: float) -> float:
        """Return how many requests its server has, as far as it is known: our own, or more if it says so."""
        own, report = self.own.used(now_s), self.reported(now_s)
        return own if report is None else max(own, (report.waiting or 0.0) + (report.running or 0.0))

    def serves(self, now_s: float) -> bool:
        """Whether it is in service."""
        if now_s < self.blocked_until_s or now_s < self.warned_until_s:
            return False
        return not (self.is_full(now_s) or self.silent_s(now_s))

    def why_not(self, now_s: float) -> tuple[Why | None, float]:
        """Return why it is out of service and for how many seconds more, or (None, 0)."""
        left_s = self.blocked_until_s - now_s
        if left_s > 0.0:
            if self._cool_until_s == self.blocked_until_s:
                return "cooling down", left_s
            return ("breaker open" if self.breaker.is_pausing(now_s) else "probing"), left_s
        left_s = self.warned_until_s - now_s
        if left_s > 0.0:
            return "warned of", left_s
        if self.is_full(now_s):
            return "full", 0.0
        left_s = self.silent_s(now_s)
        return ("silent", left_s) if left_s else (None, 0.0)

    def cool(self, begun_s: float, retry_after_s: float | None, now_s: float) -> None:
        """Stay away for as long as the provider asked, or for a pause that grows while it keeps refusing.

        Args:
            begun_s: When the refused attempt began: one begun before the last refusal is of the same burst.
            retry_after_s: The wait it asked for, > 0, or None.
            now_s: Now.
        """
        if begun_s > self._cool_since_s:
            self._throttles = min(self._throttles + 1, 16)
            self._cool_since_s = now_s
        cool_s = min(FIRST_COOL_S * 2.0 ** (self._throttles - 1), LONGEST_COOL_S)
        self.cool_for(cool_s if retry_after_s is None else retry_after_s, now_s)

    def cool_for(self, cool_s: float, now_s: float) -> None:
        """Stay away for `cool_s` at least; an earlier, longer wish stands."""
        self._cool_until_s = max(self._cool_until_s, now_s + min(cool_s, LONGEST_RETRY_AFTER_S))

    def served(self, begun_s: float) -> None:
        """Note that an attempt begun then was served: it is not refusing any more."""
        if begun_s >= self._cool_since_s:
            self._throttles = 0
        self.cold.served()
        self.served_s = max(self.served_s, begun_s)
        self.warned_until_s = -inf

    def warn(self, for_s: float, now_s: float) -> None:
        """Take it from others that it fails; not if it has served here just now, and not for long."""
        if now_s - self.served_s >= WARNED_S:
            self.warned_until_s = now_s + min(for_s, WARNED_S)

    def settle(self) -> None:
        """Bring `blocked_until_s` up to date after a write."""
        self.blocked_until_s = max(self._cool_until_s, self.breaker.blocked_until_s)


class Permit:
    """One attempt in flight; ends once, by `success`, `failure` or `ignore`.

    A second end changes nothing. A permit that never ends stops counting after `PERMIT_LEASE_S`.
    """

    __slots__ = ("_among", "_begun_s", "_clock", "_ended", "_endpoint", "_is_heard", "_period")

    def __init__(self, endpoint: EndpointHealth, clock: Clock, begun_s: float) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._begun_s = begun_s
        self._period = endpoint.breaker.period
        self._among = endpoint.own.used(begun_s) + 1
        self._is_heard = self._ended = False

    def hear(self, now_s: float, *, is_stream: bool) -> None:
        """Note its first token, or first byte; once.

        Args:
            now_s: Now.
            is_stream: Whether that was a stream's first token: it tells how crowded the endpoint is, which the
                time that a whole answer takes does not.
        """
        if self._is_heard or self._ended:
            return
        self._is_heard = True
        at_s = self._clock.advance(now_s)
        self._endpoint.silence.hear(self, at_s)
        if is_stream and at_s > self._begun_s:
            self._endpoint.crowd.sample(at_s - self._begun_s, self._among, at_s)

    def success(
        self, now_s: float, ttft_s: float | None = None, tokens: int | None = None, duration_s: float | None = None
    ) -> None:
        """The endpoint answered, completely.

        Args:
            now_s: Now.
            ttft_s: From sending to the first content; None when it cannot be told.
            tokens: Of the answer, as the provider counted them; None when it did not.
            duration_s: From sending to the end; what is left after `ttft_s` is generation.
        """
        at_s = self._end(now_s)
        if at_s is None:
            return
        endpoint = self._endpoint
        endpoint.errors.add(0.0, 1.0, at_s)
        if ttft_s is not None and 0.0 < ttft_s < inf:
            endpoint.ttft.add(ttft_s, at_s)
        generation_s = 0.0 if duration_s is None else duration_s - (ttft_s or 0.0)
        if tokens is not None and tokens >= LEAST_TOKENS and LEAST_GENERATION_S <= generation_s < inf:
            endpoint.speed.add(float(tokens), generation_s, at_s)
        if not self._is_heard:
            endpoint.silence.hear(self, at_s)
        endpoint.served(self._begun_s)
        endpoint.breaker.success(self._period, at_s)
        endpoint.settle()

    def failure(self, now_s: float, kind: str, retry_after_s: float | None = None) -> None:
        """The endpoint failed.

        Args:
            now_s: Now.
            kind: How: `429` cools down and leaves breaker and error rate alone, and so does what means that a
                deployment sleeps (`cold.Cold`); every other kind counts against it.
            retry_after_s: The wait it asked for; honoured for any kind, up to `LONGEST_RETRY_AFTER_S`.
        """
        at_s = self._end(now_s)
        if at_s is None:
            return
        endpoint = self._endpoint
        asked_s = retry_after_s if retry_after_s is not None and retry_after_s > 0.0 else None
        if kind == THROTTLED:
            endpoint.cool(self._begun_s, asked_s, at_s)
            endpoint.crowd.drop(self._among, self._begun_s, at_s)
            endpoint.breaker.release(self)
        elif (pause_s := endpoint.cold.pause_s(kind, at_s)) is not None:
            endpoint.cool_for(max(pause_s, asked_s or 0.0), at_s)
            endpoint.breaker.release(self)
        else:
            if asked_s is not None:
                endpoint.cool_for(asked_s, at_s)
            endpoint.errors.add(1.0, 1.0, at_s)
            endpoint.breaker.failure(self, self._period, at_s)
        endpoint.settle()

    def ignore(self, now_s: float) -> None:
        """It ended in a way that says nothing about the endpoint: client left, request refused, hedge cancelled."""
        if self._end(now_s) is not None:
            self._endpoint.breaker.release(self)
            self._endpoint.settle()

    def _end(self, now_s: float) -> float | None:
        """Return the time of the end, or None when it had ended before."""
        if self._ended:
            return None
        self._ended = True
        self._endpoint.own.give(self)
        self._endpoint.silence.end(self)
        if self._endpoint.shared is not None:
            self._endpoint.shared.give(self)
        return self._clock.advance(now_s)
