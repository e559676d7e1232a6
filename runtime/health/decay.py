"""What was seen lately, without keeping it: forward-decayed percentiles and ratios in bounded space.

A sample at time t weighs 2^((t - landmark) / half-life) against the others, so nothing needs to be touched while
time passes: shares, means and percentiles only change when a sample comes, and a read merely asks whether enough
evidence is left. Source: Cormode et al., "Forward decay", ICDE 2009; docs/decisions/health-decay.md.
"""

from __future__ import annotations

from math import exp2, log2

# Less than half a sample's worth of evidence is no evidence: a lone sample is forgotten after one half-life, a
# thousand after eleven.
ENOUGH = 0.5

# 2^64 is the largest weight before the landmark moves up: products with any latency stay exact enough and far
# from overflow (2^1024).
MOVE_AT = 64.0

# Eight buckets per doubling: a percentile is off by less than 9 % (2^(1/8)), below the noise of any provider.
PER_OCTAVE = 8

# From 1 ms (a cached answer on loopback) over 20 doublings (17 minutes, beyond every provider's time-out).
LOWEST_S = 0.001
OCTAVES = 20
HIGHEST_S = LOWEST_S * 2**OCTAVES


class Ratio:
    """A decayed sum over a decayed sum: an error rate, a speed.

    Attributes:
        part, whole: The two sums, in the weights of the landmark.
        count: Samples in those weights: how much evidence there is.
    """

    __slots__ = ("_enough", "_half_life_s", "_landmark_s", "count", "part", "whole")

    def __init__(self, half_life_s: float, enough: float = ENOUGH) -> None:
        """`enough` is the evidence, in fresh samples, below which nothing is said."""
        self._half_life_s = half_life_s
        self._enough = enough
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._landmark_s = 0.0
        self.part = self.whole = self.count = 0.0

    def add(self, part: float, whole: float, now_s: float) -> None:
        """Take in one sample; `now_s` never runs backwards."""
        halvings = (now_s - self._landmark_s) / self._half_life_s
        if halvings > MOVE_AT:
            fade = exp2(-halvings)
            self.part *= fade
            self.whole *= fade
            self.count *= fade
            self._landmark_s = now_s
            halvings = 0.0
        weight = exp2(halvings)
        self.part += weight * part
        self.whole += weight * whole
        self.count += weight

    def evidence(self, now_s: float) -> float:
        """Return how many fresh samples the evidence is worth."""
        return self.count * exp2(-(now_s - self._landmark_s) / self._half_life_s)

    def at(self, now_s: float) -> float | None:
        """Return part over whole, or None when too little is known."""
        if self.whole <= 0.0 or self.evidence(now_s) <= self._enough:
            return None
        return self.part / self.whole


class Histogram:
    """Percentiles of durations: decayed weights in logarithmic buckets, each with the mean of its samples."""

    __slots__ = ("_buckets", "_half_life_s", "_landmark_s", "_memo", "_total")

    def __init__(self, half_life_s: float) -> None:
        self._half_life_s = half_life_s
        self._landmark_s = 0.0
        self._buckets: dict[int, tuple[float, float]] = {}
        self._total = 0.0
        self._memo: dict[float, float] = {}

    def add(self, value_s: float, now_s: float) -> None:
        """Take in one duration (> 0); `now_s` never runs backwards."""
        halvings = (now_s - self._landmark_s) / self._half_life_s
        if halvings > MOVE_AT:
            self._move(halvings, now_s)
            halvings = 0.0
        weight = exp2(halvings)
        index = bucket(value_s)
        held, mean_s = self._buckets.get(index, (0.0, 0.0))
        held += weight
        self._buckets[index] = (held, mean_s + (value_s - mean_s) * (weight / held))
        self._total += weight
        if self._memo:
            self._memo.clear()

    def evidence(self, now_s: float) -> float:
        """Return how many fresh samples the evidence is worth."""
        return self._total * exp2(-(now_s - self._landmark_s) / self._half_life_s)

    def quantile(self, share: float, now_s: float) -> float | None:
        """Return the duration that `share` of the samples do not exceed, or None when too little is known."""
        if self._total * exp2(-(now_s - self._landmark_s) / self._half_life_s) <= ENOUGH:
            return None
        known = self._memo.get(share)
        if known is None:
            known = self._memo[share] = self._find(share)
        return known

    def _find(self, share: float) -> float:
        wanted, mean_s = share * self._total, 0.0
        for index in sorted(self._buckets):
            held, mean_s = self._buckets[index]
            wanted -= held
            if wanted <= 0.0:
                break
        return mean_s

    def _move(self, halvings: float, now_s: float) -> None:
        """Express the weights relative to now; what has faded to nothing is dropped."""
        fade = exp2(-halvings)
        faded = {index: (held * fade, mean_s) for index, (held, mean_s) in self._buckets.items()}
        self._buckets = {index: entry for index, entry in faded.items() if entry[0] > exp2(-MOVE_AT)}
        self._total = sum(held for held, _ in self._buckets.values())
        self._landmark_s = now_s


def bucket(value_s: float) -> int:
    """Return the bucket of a duration; what is outside the range counts in the first or the last."""
    return int(log2(min(max(value_s, LOWEST_S), HIGHEST_S) / LOWEST_S) * PER_OCTAVE)
