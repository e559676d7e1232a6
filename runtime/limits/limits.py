"""What a policy's limits say about a request: reserved before it is sent, settled when it is over.

Requests count as they come. Tokens and dollars are reserved at the estimate of the dearest way the request can go, then
corrected to what the provider counted, whichever way the request ended; so requests in flight together never overshoot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from router_dsl.plan import Limit, Program, Scalar
from runtime.decision.engine import condition
from runtime.limits.lease import Lease
from runtime.limits.window import Window

Facts = Mapping[str, Scalar | None]
Key = tuple[Scalar | None, ...]
Account = Window | Lease
"""What one value of a limit's facts has used: counted here, or together with other instances."""

Wanted = tuple[Limit, Account, int]
"""A limit that a request falls under, its account, and how much of it the request needs."""

Open = Callable[[Limit, Key], Account]
"""Makes the account of a limit and the values of its facts."""

# Values of a limit's facts that are remembered at once: 100,000 windows are some 60 MB. Past it the idle ones are
# dropped, then the ones seen first, which forgives the longest silent.
MOST_WINDOWS = 100_000


# A bound that is this many times in the room left is reserved without a closer look: a thousand such requests at once
# take two thirds of it, and those after them are looked at.
PLENTY = 1000


class Need(NamedTuple):
    """What a request may use at most: tokens, and nano-dollars."""

    tokens: int
    cost_nusd: int


@dataclass(frozen=True, slots=True)
class Room:
    """How much room a limit has.

    Attributes:
        unit: `requests`, `tokens` or `$`; `limit` and `remaining` are in it, dollars in nano-dollars.
        reset_s: Until it has all of it again, if nobody else comes.
    """

    unit: str
    limit: int
    remaining: int
    reset_s: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """A hard limit that has no room.

    Attributes:
        wait_s: Until it has, if nobody else comes; infinity when the request alone is over the limit.
        rooms: Of this limit, and of the tightest one for every other unit that the request falls under.
        is_blind: Whether it may have room, and cannot be asked.
    """

    name: str
    wait_s: float
    rooms: tuple[Room, ...]
    is_blind: bool = False


@dataclass(frozen=True, slots=True)
class Short:
    """Leases that must be renewed before a request can be told whether it fits, and how much it needs of each."""

    leases: tuple[tuple[Lease, int], ...]


@dataclass(slots=True)
class Reservation:
    """What one request holds in the windows of its limits."""

    held: list[tuple[Limit, Account, int, int]]
    settled: bool = False

    def settle(self, spent: tuple[int, int] | None) -> None:
        """Correct it to the tokens and nano-dollars used. None, nobody counted, leaves the estimate; twice is once."""
        if self.settled:
            return
        self.settled = True
        if spent is None:
            return
        for limit, window, slot, amount in self.held:
            if limit.unit != "requests":
                window.correct(slot, spent[limit.unit == "$"] - amount)


class Limits:
    """The limits of a program on this instance; owned by one `Router`.

    Args:
        program: Whose limits they are.
        heir_of: Whose counts go on here, where a limit of the same name counts the same thing over the same time.
    """

    def __init__(self, program: Program, *, heir_of: Limits | None = None, open: Open | None = None) -> None:
        self._open: Open = open or (_alone if heir_of is None else heir_of._open)
        self._limits: tuple[tuple[Limit, Callable[[Facts], bool] | None, dict[Key, Account]], ...]
        self._limits = tuple(
            (
                limit,
                None if limit.when is None else condition(limit.when),
                {} if heir_of is None else heir_of._left(limit),
            )
            for limit in program.limits
        )
        self.soft = tuple(limit.name for limit in program.limits if limit.soft)

    def _left(self, heir: Limit) -> dict[Key, Account]:
        """Return the windows that a limit of another program goes on with, at that one's amount."""
        for limit, _, windows in self._limits:
            if (limit.name, limit.unit, limit.per_s, limit.by) == (heir.name, heir.unit, heir.per_s, heir.by):
                if limit.amount != heir.amount:
                    for window in windows.values():
                        window.limit = heir.amount
                return windows
        return {}

    def is_over(self, name: str, facts: Facts, now_s: float) -> bool:
        """Whether the soft limit of that name is used up for the request that has these facts."""
        for limit, applies, windows in self._limits:
            if limit.name == name and (applies is None or applies(facts)):
                window = windows.get(_key(limit, facts))
                return window is not None and (window.advance(now_s), window.used)[1] >= limit.amount
        return False

    def used(self, now_s: float) -> list[tuple[str, int, float]]:
        """Return for each limit its name, how many values of its facts are counted, and the largest share used of one.

        Changes nothing, and may be asked beside whoever does.
        """
        found = []
        for limit, _, windows in self._limits:
            shares = [window.peek(now_s) / max(1, limit.amount) for window in list(windows.values())]
            found.append((limit.name, len(shares), max(shares, default=0.0)))
        return found

    def rooms(self, facts: Facts, now_s: float) -> list[tuple[str, Room, int]]:
        """Return each limit that a request falls under: its name, its room, and the seconds that it is about.

        Changes nothing but what a window has forgotten.
        """
        found = []
        for limit, applies, windows in self._limits:
            if applies is None or applies(facts):
                window = windows.get(_key(limit, facts))
                used, reset_s = (0, 0.0) if window is None else (window.peek(now_s), window.reset_s(now_s))
                room = Room(limit.unit, limit.amount, max(0, limit.amount - used), reset_s)
                found.append((limit.name, room, limit.per_s))
        return found

    def reserve(
        self, facts: Facts, need: Callable[[], Need], now_s: float, bound: Callable[[], Need | None] | None = None
    ) -> Reservation | Refusal | Short:
        """Take what a request needs from all its limits, or nothing when a hard one has no room.

        `Short` comes only where accounts are leases.

        Args:
            facts: Of the request.
            need: Asked only when a limit counts tokens or dollars, and there is not room in plenty.
            now_s: The time.
            bound: What it cannot exceed, found more cheaply; reserved where there is room in plenty.
        """
        wanted: list[Wanted] = []
        most: Need | None = None
        loose: Need | None = None
        for limit, applies, windows in self._limits:
            if applies is not None and not applies(facts):
                continue
            key = _key(limit, facts)
            window = windows.get(key)
            if window is None:
                window = self._account(limit, windows, key, now_s)
            amount = 1
            if limit.unit != "requests":
                if bound is not None:
                    loose, bound = bound(), None
                window.advance(now_s)
                place = limit.unit == "$"
                if loose is not None and loose[place] * PLENTY <= limit.amount - window.used:
                    amount = loose[place]
                else:
                    most = need() if most is None else most
                    amount = most[place]
            wanted.append((limit, window, amount))
        if self._open is not _alone and (short := _short(wanted, now_s)):
            return Short(short)
        for limit, window, amount in wanted:
            if not limit.soft and not window.has_room(amount, now_s):
                return _refusal(wanted, now_s)
        return Reservation([(limit, window, window.take(amount, now_s), amount) for limit, window, amount in wanted])

    def _account(self, limit: Limit, windows: dict[Key, Account], key: Key, now_s: float) -> Account:
        """Return a new account, for which an old one may have to go."""
        if len(windows) >= MOST_WINDOWS:
            _make_room(windows, now_s)
        account = windows[key] = self._open(limit, key)
        return account


def _refusal(wanted: list[Wanted], now_s: float) -> Refusal:
    """Return the refusal of the hard limit that will have room last."""
    waits = [(account.wait_s(amount, now_s), limit, account) for limit, account, amount in wanted if not limit.soft]
    wait_s, limit, account = max(waits, key=lambda each: each[0])
    is_blind = isinstance(account, Lease) and account.is_blind(now_s)
    return Refusal(limit.name, wait_s, () if is_blind else _rooms(limit, wanted, now_s), is_blind)


def _short(wanted: list[Wanted], now_s: float) -> tuple[tuple[Lease, int], ...]:
    """Return the leases that must be renewed before these amounts can be said to fit or not."""
    return tuple(
        (account, amount)
        for limit, account, amount in wanted
        if isinstance(account, Lease) and not limit.soft and account.is_short(amount, now_s)
    )


def _alone(limit: Limit, _key: Key) -> Account:
    return Window(limit.amount, limit.per_s)


def _rooms(first: Limit, wanted: list[Wanted], now_s: float) -> tuple[Room, ...]:
    """Return the room of one limit, and of the tightest hard one for each other unit."""
    found: dict[str, Room] = {}
    for limit, window, _ in sorted(wanted, key=lambda each: each[0] is not first):
        room = Room(limit.unit, limit.amount, max(0, limit.amount - window.used), window.reset_s(now_s))
        known = found.get(limit.unit)
        if not limit.soft and (known is None or (limit.unit != first.unit and room.remaining < known.remaining)):
            found[limit.unit] = room
    return tuple(found.values())


def _key(limit: Limit, facts: Facts) -> Key:
    by = limit.by
    return (facts[by[0]],) if len(by) == 1 else tuple([facts[name] for name in by])


def _make_room(windows: dict[Key, Account], now_s: float) -> None:
    for key in [key for key, window in windows.items() if window.is_idle(now_s)]:
        del windows[key]
    for key in list(windows)[: max(0, len(windows) - MOST_WINDOWS + MOST_WINDOWS // 10)]:
        del windows[key]
