"""Instances that share a limit spend no more than it together, and the store hears of everything once."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runtime.limits import lease as lease_room
from runtime.limits.lease import BLIND_S, REMEMBERED_S, Exchange, Lease
from tests.limits.ledger import Ledger

AMOUNT, PER_S = 1000, 3600.0
NAMES = ("a", "b", "c")


@dataclass
class Instance:
    name: str
    dirty: set[Lease] = field(default_factory=set)
    spent: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lease = Lease("k", AMOUNT, PER_S, self.dirty, closed=True)

    def take(self, amount: int, now_s: float) -> bool:
        """Spend as much, if it fits by what is known."""
        if self.lease.is_short(amount, now_s) or self.lease.wait_s(amount, now_s) > 0:
            return False
        self.spent.append([self.lease.take(amount, now_s), amount])
        return True


class Shared(RuleBasedStateMachine):
    """Three instances and a network that loses what it is sent, loses answers, and delivers late and twice."""

    def __init__(self) -> None:
        super().__init__()
        lease_room.LEASE_SHARE = 3  # so that leases are worth a quarrel
        self.now_s = 1_000_000.0
        self.ledger = Ledger()
        self.instances = [Instance(name) for name in NAMES]
        self.late: list[Exchange] = []

    who = st.integers(0, 2)
    amounts = st.integers(1, 200)

    @rule(by_s=st.floats(0, 0.05))
    def time_passes(self, by_s: float) -> None:
        self.now_s += by_s

    @rule(who=who, amount=amounts)
    def a_request_comes(self, who: int, amount: int) -> None:
        instance = self.instances[who]
        if not instance.take(amount, self.now_s) and instance.lease.is_short(amount, self.now_s):
            instance.lease.want(amount)
            self.exchange(who, "fine", during=0)
            instance.take(amount, self.now_s)

    @rule(who=who, share=st.floats(0, 1))
    def one_is_settled(self, who: int, share: float) -> None:
        instance = self.instances[who]
        if instance.spent:
            slot, amount = last = instance.spent[-1]
            last[1] = int(amount * share)
            instance.lease.correct(slot, last[1] - amount)

    @rule(who=who, fate=st.sampled_from(["fine", "request lost", "answer lost"]), during=st.integers(0, 350))
    def exchange(self, who: int, fate: str, during: int) -> None:
        instance = self.instances[who]
        asked = instance.lease.ask(instance.name, self.now_s)
        instance.take(during, self.now_s)
        if fate != "request lost":
            answer = self.ledger.exchange(asked, self.now_s)
        if fate == "fine":
            instance.lease.told(answer, self.now_s)
        else:
            instance.lease.failed(self.now_s)
            self.late.append(asked)
            self.now_s += BLIND_S / 3

    @rule(data=st.data())
    def something_arrives_late_or_again(self, data: st.DataObject) -> None:
        if self.late:
            self.ledger.exchange(data.draw(st.sampled_from(self.late)), self.now_s)

    @invariant()
    def together_they_spend_no_more_than_the_limit(self) -> None:
        assert sum(amount for instance in self.instances for _, amount in instance.spent) <= AMOUNT

    def teardown(self) -> None:
        lease_room.LEASE_SHARE = 100
        for who, instance in enumerate(self.instances):
            self.now_s += BLIND_S
            while instance.dirty or instance.lease._doubt:
                self.exchange(who, "fine", during=0)
        told: dict[int, int] = {}
        for instance in self.instances:
            for slot, amount in instance.spent:
                told[slot] = told.get(slot, 0) + amount
        assert {slot: count for slot, count in self.ledger.spent.items() if count} == {
            slot: count for slot, count in told.items() if count
        }


Shared.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestShared = Shared.TestCase


def granted(lease: Lease, amount: int, now_s: float, ledger: Ledger, name: str = "a") -> None:
    lease.want(amount)
    lease.told(ledger.exchange(lease.ask(name, now_s), now_s), now_s)


def test_a_busy_account_is_served_from_its_lease_without_asking() -> None:
    lease, ledger = Lease("k", 1000, 60.0, set()), Ledger()
    granted(lease, 1, 100.0, ledger)
    for _ in range(10):  # a hundredth of the limit
        assert not lease.is_short(1, 100.1)
        lease.take(1, 100.1)
    assert lease.is_short(1, 100.1)


@pytest.mark.parametrize("later_s", [1.0, 30.0, 86400.0, -0.1])
def test_a_lease_ends_by_the_wall_clock_whatever_stood_still(later_s: float) -> None:
    lease = Lease("k", 1000, 60.0, set())
    granted(lease, 5, 100.0, Ledger())
    assert not lease.is_short(5, 100.9)
    assert lease.is_short(5, 100.0 + later_s)


def test_what_a_dead_instance_held_is_free_again_soon() -> None:
    ledger = Ledger()
    granted(Lease("k", 10, 60.0, set()), 10, 100.0, ledger, "dead")
    other = Lease("k", 10, 60.0, set())
    granted(other, 10, 101.0, ledger, "b")
    assert other.wait_s(10, 101.0) > 0
    granted(other, 10, 104.0, ledger, "b")
    assert other.wait_s(10, 104.0) == 0


@pytest.mark.parametrize("closed", [True, False])
def test_without_the_store_it_counts_alone_or_refuses_and_tells_it_all_later(closed: bool) -> None:
    dirty: set[Lease] = set()
    lease, ledger = Lease("k", 10, 60.0, dirty, closed=closed), Ledger()
    lease.want(1)
    lease.ask("a", 100.0)
    lease.failed(100.0)
    taken = 0
    while lease.wait_s(1, 100.5) == 0:
        assert not lease.is_short(1, 100.5)
        lease.take(1, 100.5)
        taken += 1
    assert taken == (0 if closed else 10)
    assert lease.is_short(1, 100.0 + BLIND_S)  # and then one tries it again
    while dirty:
        lease.told(ledger.exchange(lease.ask("a", 102.0), 102.0), 102.0)
    assert sum(ledger.spent.values()) == taken


def test_what_can_no_longer_be_repeated_gives_nothing_back() -> None:
    dirty: set[Lease] = set()
    lease, ledger = Lease("k", 100, 3600.0, dirty), Ledger()
    granted(lease, 50, 1000.0, ledger)
    slot = lease.take(50, 1000.0)
    lease.told(ledger.exchange(lease.ask("a", 1000.1), 1000.1), 1000.1)
    lease.correct(slot, -40)
    ledger.exchange(lease.ask("a", 1000.2), 1000.2)
    lease.failed(1000.2)
    later_s = 1000.2 + REMEMBERED_S + 1
    while dirty or lease._doubt:
        lease.told(ledger.exchange(lease.ask("a", later_s), later_s), later_s)
    assert sum(ledger.spent.values()) == 10


def test_a_copy_of_a_process_goes_by_its_own_name_and_holds_nothing() -> None:
    lease, ledger = Lease("k", 1000, 3600.0, set()), Ledger()
    granted(lease, 5, 1000.0, ledger)
    asked = lease.ask("copy", 1000.1)
    assert (asked.instance, asked.number, asked.keep) == ("copy", 1, 0)


def test_more_than_the_limit_never_asks() -> None:
    lease = Lease("k", 10, 60.0, set())
    assert not lease.is_short(11, 0.0)
    assert lease.wait_s(11, 0.0) == float("inf")


def test_what_is_spent_while_an_exchange_is_under_way_comes_out_of_the_new_lease() -> None:
    lease, ledger = Lease("k", 10, 3600.0, set()), Ledger()
    granted(lease, 10, 1000.0, ledger)
    asked = lease.ask("a", 1000.1)
    lease.take(7, 1000.1)
    lease.told(ledger.exchange(asked, 1000.1), 1000.1)
    assert not lease.wait_s(3, 1000.1)
    assert lease.is_short(4, 1000.1)


def test_what_is_left_of_a_lease_is_kept_where_more_does_not_fit() -> None:
    lease, ledger = Lease("k", 10, 3600.0, set()), Ledger()
    granted(lease, 10, 1000.0, ledger)
    lease.take(6, 1000.0)
    granted(lease, 5, 1000.1, ledger)
    assert lease.wait_s(4, 1000.1) == 0
    assert lease.wait_s(5, 1000.1) > 0
