"""How much extra load may be made lately: credit that requests earn and further attempts spend.

Each request earns a share of an attempt. What is kept beyond a small stock fades with a half-life, so that a quiet
hour does not pay for a storm; the stock does not, or a rarely used rule would never afford anything. Over any stretch
of time, spent <= stock + share * requests + refill * seconds. Source: the retry budgets of Finagle and Linkerd (a
share of the requests of the last ten seconds, and a floor), with a fading sum in place of their ring of windows.
"""

from __future__ import annotations

from math import exp2

# Of retries. Finagle and Linkerd look back ten seconds; a half-life of seven keeps as much credit at a steady rate.
HALF_LIFE_S = 7.0


class Budget:
    """Credit for further attempts; one owner, times are of one clock and may step back.

    Args:
        share: Of an attempt that each request earns, in [0, 1].
        stock: Attempts that may be saved up without fading; at least 1.
        refill_per_s: Attempts per second that come back up to the stock without any request.
        full: Whether the stock is there from the start.
        half_life_s: Of credit above the stock.
    """

    __slots__ = ("_credit", "_half_life_s", "_refill_per_s", "_share", "_stock", "_then_s")

    def __init__(
        self,
        share: float,
        stock: float,
        refill_per_s: float = 0.0,
        *,
        full: bool = False,
        half_life_s: float = HALF_LIFE_S,
    ) -> None:
        self._half_life_s = half_life_s
        self._share = share
        self._stock = stock
        self._refill_per_s = refill_per_s
        self._credit = stock if full else 0.0
        self._then_s: float | None = None

    def earn(self, now_s: float) -> None:
        """Note that a request came."""
        self._settle(now_s)
        self._credit += self._share

    def spend(self, now_s: float) -> bool:
        """Pay for one attempt; False, and nothing paid, when there is too little."""
        self._settle(now_s)
        # A share of 10 % earned ten times is 0.9999999999999999.
        if self._credit < 1.0 - 1e-9:
            return False
        self._credit = max(0.0, self._credit - 1.0)
        return True

    def _settle(self, now_s: float) -> None:
        """Bring the credit up to date."""
        then_s, self._then_s = self._then_s, now_s
        if then_s is None or now_s <= then_s:
            return
        age_s, above = now_s - then_s, self._credit - self._stock
        if above > 0.0:
            self._credit = self._stock + above * exp2(-age_s / self._half_life_s)
        else:
            self._credit = min(self._stock, self._credit + self._refill_per_s * age_s)
