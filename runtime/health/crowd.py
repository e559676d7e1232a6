"""How many attempts at once an endpoint takes before it slows down: a limit that only its own slowness sets.

Times to first token are gathered in windows. A few in a row that were both much slower than usual and much fuller
narrow the limit by as much as they were slower, with some room to find out; a few that are not widen it again. What is
usual is learned while nothing is limited, or in windows no fuller than usual. Should a narrower limit not make the
endpoint faster, its slowness has another cause: the limit is lifted and the new pace is the usual one. Until then
nothing is limited, so that a burst at a healthy endpoint never is.

Source: the gradient of Netflix' concurrency-limits (`Gradient2Limit`, and the windows of `WindowedLimit`), with
in-flight asked about too: times to first token vary tenfold with the prompt, and a wrong limit sends work elsewhere.
"""

from __future__ import annotations

from math import inf, sqrt
from statistics import median

from runtime.health.decay import Ratio

# Times to first token scatter (lognormal, sigma about 1): the median of twenty is twice the usual one by chance in two
# windows of a hundred, three times in a row in seven of a million. With ten samples and one window a healthy endpoint
# was limited for up to a third of simulated requests. A second keeps a busy one's windows from being one batch.
WINDOW_SAMPLES = 20
WINDOW_S = 1.0
IN_A_ROW = 3
# What was seen longer ago than this is not of the same hour of traffic: a window that does not fill is begun anew.
LONGEST_WINDOW_S = 60.0
# A window is closed when it holds this much, however short it was: memory is bounded.
MOST_SAMPLES = 200

# Gradient2 tolerates 1.5 of request latencies; first tokens scatter more. Fuller by half is more than arrival noise.
TOLERANCE = 2.0
FULLER = 1.5
LEAST_GRADIENT = 0.5

# Below this no server that batches slows down for being full, and a limit would only hurt.
FLOOR = 8.0

# What was usual is forgotten over this, as Gradient2's long window of 600 samples at one a second.
USUAL_HALF_LIFE_S = 600.0
ENOUGH_WINDOWS = 10.0

# A limit that no window has confirmed for this long, since traffic went away, is not one any more.
HOLD_S = 30.0

# After a 429 (AIMD's back-off ratio in the same library).
BACK_OFF = 0.9

# In-flight that fell to this share without a first token getting faster by a tenth: the crowd is not the cause.
FEWER, FASTER = 0.8, 0.9


class Crowd:
    """The limit of one endpoint; all times are those of one clock that never runs backwards."""

    __slots__ = (
        "_among_sum", "_dropped_s", "_limit", "_narrowed", "_samples", "_since_s", "_streak", "_until_s",
        "_usual_among", "_usual_s",
    )  # fmt: skip

    def __init__(self) -> None:
        self._limit = inf
        self._until_s = -inf
        self._usual_s = Ratio(USUAL_HALF_LIFE_S, ENOUGH_WINDOWS)
        self._usual_among = Ratio(USUAL_HALF_LIFE_S, ENOUGH_WINDOWS)
        self._samples: list[float] = []
        self._among_sum = 0
        self._since_s = -inf
        self._dropped_s = -inf
        # Windows in a row that speak for a narrower limit; below 0 for a wider one.
        self._streak = 0
        # In-flight and time to first token of the window that narrowed first.
        self._narrowed: tuple[float, float] | None = None

    def limit(self, now_s: float) -> float:
        """Return how many attempts it takes at once, infinity when nothing says otherwise."""
        return self._limit if now_s < self._until_s else inf

    def sample(self, ttft_s: float, among: int, now_s: float) -> None:
        """Take in the time to first token (> 0) of a stream that began as one of `among` in flight."""
        begun_s = now_s - ttft_s
        if begun_s < self._since_s:
            return  # the slowest of before: after a wave they come alone, and say nothing about now
        if not self._samples or now_s - self._since_s > LONGEST_WINDOW_S:
            self._samples.clear()
            self._among_sum, self._since_s = 0, begun_s
        self._samples.append(ttft_s)
        self._among_sum += among
        count = len(self._samples)
        if count >= MOST_SAMPLES or (count >= WINDOW_SAMPLES and now_s - self._since_s >= WINDOW_S):
            slow_s, fullness = median(self._samples), self._among_sum / count
            self._samples.clear()
            self._among_sum, self._since_s = 0, now_s
            self._judge(slow_s, fullness, now_s)

    def drop(self, among: int, begun_s: float, now_s: float) -> None:
        """Note that an attempt begun at `begun_s` as one of `among` was turned away; a burst of them counts once."""
        if begun_s <= self._dropped_s:
            return
        self._dropped_s = now_s
        if among > FLOOR:
            self._set(min(self.limit(now_s), among) * BACK_OFF, now_s)

    def _judge(self, slow_s: float, fullness: float, now_s: float) -> None:
        """Draw the conclusion from one window, or from the last few."""
        usual_s, usual = self._usual_s.at(now_s), self._usual_among.at(now_s)
        limit = self.limit(now_s)
        is_full = usual is not None and fullness > max(FLOOR, FULLER * usual)
        is_slow = usual_s is not None and slow_s > TOLERANCE * usual_s
        if limit == inf:
            self._narrowed = None
        if is_slow and (is_full or limit < inf):
            self._streak = max(self._streak, 0) + 1
        elif limit < inf and fullness >= limit / 2:
            self._streak = min(self._streak, 0) - 1
        else:
            self._streak = 0
        if self._streak and limit < inf:
            self._until_s = now_s + HOLD_S
        if self._streak >= IN_A_ROW:
            assert usual_s is not None
            self._streak = 0
            self._slowed(slow_s, fullness, usual_s, now_s)
        elif self._streak <= -IN_A_ROW:
            self._streak = 0
            self._set(limit + sqrt(limit), now_s)
        elif self._streak <= 0 and (limit == inf or not is_full):
            self._usual_s.add(slow_s, 1.0, now_s)
            self._usual_among.add(fullness, 1.0, now_s)

    def _slowed(self, slow_s: float, fullness: float, usual_s: float, now_s: float) -> None:
        """Narrow the limit by as much as the endpoint is too slow, or lift it where that is in vain."""
        if self._is_in_vain(slow_s, fullness):
            self._usual_s.clear()
            self._usual_among.clear()
            self._limit, self._narrowed = inf, None
        elif fullness > FLOOR:
            if self._narrowed is None:
                self._narrowed = fullness, slow_s
            base = min(self.limit(now_s), fullness) * max(LEAST_GRADIENT, TOLERANCE * usual_s / slow_s)
            self._set(base + sqrt(base), now_s)

    def _is_in_vain(self, slow_s: float, fullness: float) -> bool:
        """Whether the endpoint is as slow as before although there are fewer attempts."""
        if self._narrowed is None:
            return False
        before, before_s = self._narrowed
        return fullness <= FEWER * before and slow_s > FASTER * before_s

    def _set(self, limit: float, now_s: float) -> None:
        self._limit = max(FLOOR, limit)
        self._until_s = now_s + HOLD_S
