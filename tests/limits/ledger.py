"""A store in memory that does what the real ones do: the oracle of their contract."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.limits.lease import REMEMBERED_S, Answer, Exchange
from runtime.limits.window import SLOTS

GRACE_S = 2.0


@dataclass
class Held:
    number: int
    expires_s: float
    granted: int
    answer: Answer


@dataclass
class Ledger:
    """One shared window; the caller tells the time."""

    spent: dict[int, int] = field(default_factory=dict)
    leases: dict[str, Held] = field(default_factory=dict)

    def exchange(self, asked: Exchange, now_s: float) -> Answer:
        slot_s = asked.per_s / SLOTS
        slot = int(now_s / slot_s)
        mine = self.leases.get(asked.instance)
        if mine is not None and mine.number >= asked.number:
            return mine.answer
        self.spent = {at: count for at, count in self.spent.items() if at >= slot - SLOTS}
        self.leases = {name: held for name, held in self.leases.items() if held.expires_s + REMEMBERED_S >= now_s}
        for at, delta in asked.deltas:
            if (at := min(at, slot)) >= slot - SLOTS:
                self.spent[at] = max(0, self.spent.get(at, 0) + delta)
        others = [
            held for name, held in self.leases.items() if name != asked.instance and held.expires_s > now_s
        ]  # fmt: skip
        used = sum(self.spent.values()) + sum(held.granted for held in others)
        room = max(0, asked.amount - used)
        granted = min(asked.most, room) if room >= asked.least else min(asked.keep, room)
        wait_s = 0.0
        if granted < asked.least:
            frees = [(held.expires_s, held.granted) for held in others]
            frees += [((at + SLOTS + 1) * slot_s, count) for at, count in self.spent.items()]
            missing = asked.least - room
            for at_s, count in sorted(frees):
                missing -= count
                if missing <= 0:
                    wait_s = max(0.001, at_s - now_s)
                    break
        newest = max((at for at, count in self.spent.items() if count), default=None)
        reset_s = 0.0 if newest is None else max(0.0, (newest + SLOTS + 1) * slot_s - now_s)
        answer = Answer(granted, used, wait_s, reset_s)
        self.leases[asked.instance] = Held(asked.number, now_s + asked.lease_s + GRACE_S, granted, answer)
        return answer
