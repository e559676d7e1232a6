"""How much was used in the last so many seconds: a sliding window in slots, never counting too little.

A window is cut into slots. What is used stands in the slot of its instant and leaves with the whole slot, a little
after it is old enough: so no window of the stated length, wherever it begins, ever holds more than the limit.
"""

from __future__ import annotations

# 60 slots: a limit per minute gives room back second by second, and is at most 1/60 stricter than stated.
SLOTS = 60


class Window:
    """What one value of a limit's facts has used; amounts are whole numbers of the limit's unit.

    Args:
        limit: Most that may be used in `per_s` seconds.
    """

    __slots__ = ("_now_slot", "_slot_s", "_slots", "limit", "used")

    def __init__(self, limit: int, per_s: float) -> None:
        self.limit = limit
        self.used = 0
        self._slot_s = per_s / SLOTS
        self._slots: dict[int, int] = {}
        self._now_slot = 0

    def advance(self, now_s: float) -> int:
        """Forget what is too old at `now_s` and return the slot of that instant; time never runs backwards in here."""
        slot = int(now_s / self._slot_s)
        if slot <= self._now_slot:
            return self._now_slot
        self._now_slot = slot
        if self._slots:
            oldest = slot - SLOTS
            for old in [old for old in self._slots if old < oldest]:
                self.used -= self._slots.pop(old)
        return slot

    def has_room(self, amount: int, now_s: float) -> bool:
        """Whether `amount` fits now."""
        self.advance(now_s)
        return self.used + amount <= self.limit

    def wait_s(self, amount: int, now_s: float) -> float:
        """Return how long until `amount` fits if nobody else comes: 0 when it fits now, infinity when it never does."""
        slot = self.advance(now_s)
        over = self.used + amount - self.limit
        if over <= 0:
            return 0.0
        if amount > self.limit:
            return float("inf")
        for old in sorted(self._slots):
            over -= self._slots[old]
            if over <= 0:
                return max(0.0, (old + SLOTS + 1) * self._slot_s - max(now_s, slot * self._slot_s))
        return float("inf")

    def reset_s(self, now_s: float) -> float:
        """Return how long until all of it is free again if nobody else comes."""
        slot = self.advance(now_s)
        if not self.used:
            return 0.0
        newest = max(old for old, used in self._slots.items() if used)
        return max(0.0, (newest + SLOTS + 1) * self._slot_s - max(now_s, slot * self._slot_s))

    def peek(self, now_s: float) -> int:
        """Return what is used at `now_s` without forgetting what is too old."""
        oldest = max(self._now_slot, int(now_s / self._slot_s)) - SLOTS
        return sum(used for slot, used in list(self._slots.items()) if slot >= oldest)

    def take(self, amount: int, now_s: float) -> int:
        """Count `amount` as used now and return the slot it stands in."""
        slot = self.advance(now_s)
        self._slots[slot] = self._slots.get(slot, 0) + amount
        self.used += amount
        return slot

    def correct(self, slot: int, by: int) -> None:
        """Change what stands in a slot by a difference; one that has left the window stays gone."""
        if slot in self._slots:
            by = max(by, -self._slots[slot])
            self._slots[slot] += by
            self.used += by

    def is_idle(self, now_s: float) -> bool:
        """Whether nothing is left in it."""
        self.advance(now_s)
        return not self._slots
