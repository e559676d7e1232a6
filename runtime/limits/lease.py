"""A limit that many instances share: each spends from a lease, and tells the store what it spent.

The store counts what was spent, and what is leased and not expired; the sum never exceeds the limit. An instance takes
a slice with one exchange, spends it without asking, and reports and renews it with the next one. It can spend no more
than it holds, so the instances together overspend by no more than the leases outstanding, and that only when one dies,
or is frozen, before it has reported.

Rules:

1. What is reserved counts as spent at once, and is corrected when it is settled; corrections travel with the next
   exchange, each for the slot of the window it was spent in.
2. An exchange whose answer never came is repeated as it was, under its number, which the store applies once. One that
   cannot be repeated any more gives nothing back: it may count twice, never not at all.
3. A lease is over after a slot of the window, 30 s at most, judged by the wall clock when it is used: an instance may
   have been frozen. The store holds on to it longer, so that what was spent at the end of it can be told.
4. While the store does not answer, an instance counts for itself, up to the whole limit, or refuses (`closed`).
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.limits.window import SLOTS, Window

# Of a limit, as a lease: what one instance may hold back from the others. Small limits are asked for by the request.
LEASE_SHARE = 100
LONGEST_LEASE_S = 30.0

# For so long after a failure nobody waits for the store; then one request tries it again.
BLIND_S = 1.0

# A refusal is believed for so long at most: others may settle for less than they reserved.
REFUSED_S = 1.0

# The store remembers the number of an instance's last exchange for so long beyond its lease.
REMEMBERED_S = 60.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """What an instance tells the store, and what it asks of it.

    Attributes:
        key: Names the limit and the values of its facts.
        instance: Who asks.
        number: Of this exchange among those of the instance; applied once.
        deltas: Spent since the last one by slot of the window; negative where less was used than reserved.
        least, most: How much is asked for; less than `least` is no use.
        keep: How much of the present lease is left: granted even when there is no room for `least`, since it may be
            being spent.
        amount, per_s: The limit.
        lease_s: How long the lease holds.
        sent_s: When it was first sent, by the instance's wall clock.
    """

    key: str
    instance: str
    number: int
    deltas: tuple[tuple[int, int], ...]
    least: int
    most: int
    keep: int
    amount: int
    per_s: float
    lease_s: float
    sent_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What the store says.

    Attributes:
        granted: The new lease: from `least` to `most`, or `keep` at most.
        used: Spent, and leased by others.
        wait_s: When `least` fits, if it was not granted.
        reset_s: When all of it is free, if nobody spends more.
    """

    granted: int
    used: int
    wait_s: float = 0.0
    reset_s: float = 0.0


class Lease:
    """This instance's part of one shared window; implements `Account`.

    Args:
        key: Names it in the store.
        amount, per_s: The limit.
        dirty: Where it puts itself when it has something to tell.
        soft: It refuses nobody, and so needs no lease.
        closed: Refuse while the store does not answer.
    """

    __slots__ = (
        "_blind_until_s", "_blind_window", "_closed", "_dirty", "_doubt", "_expires_s", "_granted_s", "_held", "_known",
        "_least", "_left", "_number", "_owner", "_pending", "_refused_least", "_refused_until_s", "_reset_s", "_slot_s",
        "_soft", "_taken", "_wanted", "is_flying", "key", "limit", "per_s",
    )  # fmt: skip

    def __init__(
        self, key: str, amount: int, per_s: float, dirty: set[Lease], *, soft: bool = False, closed: bool = False
    ) -> None:
        self.key = key
        self.limit = amount
        self.per_s = per_s
        self.is_flying = False
        self._slot_s = per_s / SLOTS
        self._dirty = dirty
        self._soft = soft
        self._closed = closed
        self._owner, self._number = "", 0
        self._doubt: Exchange | None = None
        self._pending: dict[int, int] = {}
        self._held = self._left = self._taken = self._wanted = self._known = 0
        self._least: int | None = None
        self._granted_s, self._expires_s = 0.0, 0.0
        self._refused_least, self._refused_until_s = 0, 0.0
        self._blind_until_s = 0.0
        self._blind_window: Window | None = None
        self._reset_s = 0.0

    # --- as an account ----------------------------------------------------------------------------

    @property
    def used(self) -> int:
        """What is used, as far as it is known here."""
        return self._known + sum(list(self._pending.values()))

    def peek(self, now_s: float) -> int:
        """Return what is used, as far as it is known here."""
        return self.used

    def advance(self, now_s: float) -> int:
        """Return the slot of an instant."""
        return int(now_s / self._slot_s)

    def is_short(self, amount: int, now_s: float) -> bool:
        """Whether the store must be asked before this can be said to fit or not."""
        if self._soft or amount > self.limit or self.is_blind(now_s) or self._has(amount, now_s):
            return False
        return not (amount >= self._refused_least and self._is_soon(self._refused_until_s, now_s, REFUSED_S))

    def has_room(self, amount: int, now_s: float) -> bool:
        """Whether `amount` fits now."""
        return self.wait_s(amount, now_s) <= 0

    def wait_s(self, amount: int, now_s: float) -> float:
        """Return how long until it fits; 0 when it does."""
        if amount > self.limit:
            return float("inf")
        if self.is_blind(now_s):
            if self._closed:
                return self._blind_until_s - now_s
            return self._alone().wait_s(amount, now_s)
        if self._has(amount, now_s):
            return 0.0
        return max(self._refused_until_s - now_s, 0.001)

    def reset_s(self, now_s: float) -> float:
        """Return when all of it is free again, as far as it is known here."""
        return max(0.0, self._reset_s - now_s)

    def take(self, amount: int, now_s: float) -> int:
        """Count as spent and return the slot it stands in."""
        if self.is_blind(now_s):
            self._alone().take(amount, now_s)
        self._left = max(0, self._left - amount)
        self._taken += amount
        slot = self.advance(now_s)
        self.correct(slot, amount)
        return slot

    def correct(self, slot: int, by: int) -> None:
        """Change what stands in a slot by a difference."""
        if by:
            self._pending[slot] = self._pending.get(slot, 0) + by
            self._dirty.add(self)

    def is_idle(self, now_s: float) -> bool:
        """Whether it can be forgotten: there is nothing to tell, and nothing held."""
        return not (self._pending or self.is_flying or self._doubt or self._has(1, now_s))

    def is_blind(self, now_s: float) -> bool:
        """Whether the store has failed just now."""
        return self._is_soon(self._blind_until_s, now_s, BLIND_S)

    # --- towards the store ------------------------------------------------------------------------

    def want(self, amount: int) -> None:
        """Note that a request waits for as much."""
        self._wanted += amount
        self._least = amount if self._least is None else min(self._least, amount)

    def ask(self, instance: str, now_s: float, *, release: bool = False) -> Exchange:
        """Return what this instance is to send now; `told` or `failed` must follow before it is asked again.

        Args:
            instance: The name it goes by.
            now_s: The time.
            release: Let go of what is left of the lease; whoever comes meanwhile waits.
        """
        assert not self.is_flying
        if instance != self._owner:
            self._owner, self._number = instance, 0
            self._held = self._left = 0
            if self._doubt is not None:
                self._assume_the_worst(self._doubt)
        self.is_flying = True
        self._dirty.discard(self)
        doubt = self._doubt
        if doubt is not None and now_s - doubt.sent_s < REMEMBERED_S:
            return doubt
        if doubt is not None:
            self._assume_the_worst(doubt)
        if release and not self._wanted:
            self._left = 0
        left = self._left if self._has(1, now_s) else 0
        is_busy = bool(self._wanted) or (not release and any(delta > 0 for delta in self._pending.values()))
        most = 0 if self._soft else max(self.limit // LEASE_SHARE, self._wanted, left) if is_busy else left
        least = min(most, max(left, 1) if self._least is None else self._least)
        self._forget(now_s)
        self._number += 1
        self._doubt = Exchange(
            self.key, instance, self._number, tuple(sorted(self._pending.items())), least, most, left, self.limit,
            self.per_s, min(self._slot_s, LONGEST_LEASE_S), now_s,
        )  # fmt: skip
        self._pending = {}
        self._taken = self._wanted = 0
        self._least = None
        return self._doubt

    def told(self, answer: Answer, now_s: float) -> None:
        """Take the answer to what was asked."""
        asked = self._doubt
        assert asked is not None
        self.is_flying, self._doubt = False, None
        self._blind_until_s, self._blind_window = 0.0, None
        self._known, self._reset_s = answer.used, now_s + answer.reset_s
        self._held = answer.granted
        # What was taken while it was under way was taken from the lease that this one replaces.
        self._left = max(0, answer.granted - self._taken)
        self._granted_s, self._expires_s = asked.sent_s, asked.sent_s + asked.lease_s
        self._refused_least, self._refused_until_s = asked.least, 0.0
        if answer.granted < asked.least:
            self._refused_until_s = now_s + min(max(answer.wait_s, 0.001), REFUSED_S)
        if self._pending:
            self._dirty.add(self)

    def failed(self, now_s: float) -> None:
        """Note that no answer came, and perhaps none will."""
        self.is_flying = False
        self._forget(now_s)
        self.give_up(now_s)
        self._dirty.add(self)

    def give_up(self, now_s: float) -> None:
        """Have nobody wait for the store for a while."""
        self._blind_until_s = now_s + BLIND_S

    @property
    def is_held(self) -> bool:
        """Whether the store counts something that this instance has not spent."""
        return self._held > 0

    def is_over(self, now_s: float) -> bool:
        """Whether the lease, if there was one, is."""
        return not self._granted_s <= now_s < self._expires_s

    # --- within -----------------------------------------------------------------------------------

    def _assume_the_worst(self, doubt: Exchange) -> None:
        """Tell again what was spent, and nothing of what would be given back: it may have been applied."""
        self._doubt = None
        self._held = 0
        for slot, delta in doubt.deltas:
            self.correct(slot, max(0, delta))

    def _forget(self, now_s: float) -> None:
        """Forget what has left the window untold."""
        oldest = self.advance(now_s) - SLOTS - 1
        if any(slot < oldest for slot in self._pending):
            self._pending = {slot: delta for slot, delta in self._pending.items() if slot >= oldest}

    def _has(self, amount: int, now_s: float) -> bool:
        # A clock that was set back ends the lease, too.
        return self._left >= amount and self._granted_s <= now_s < self._expires_s

    def _is_soon(self, until_s: float, now_s: float, most_s: float) -> bool:
        return 0 < until_s - now_s <= most_s

    def _alone(self) -> Window:
        if self._blind_window is None:
            self._blind_window = Window(self.limit, self.per_s)
        return self._blind_window
