"""Whatever order requests come, end, fail to end or end twice in, a hard limit holds."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from router_dsl.plan import Limit, Program
from runtime.limits.limits import Limits, Need, Refusal, Reservation

TOKENS = Limit("tokens", None, 100, "tokens", 60, ("user",), False)
MONEY = Limit("money", None, 700, "$", 3600, ("user",), False)
CALLS = Limit("calls", None, 6, "requests", 1, ("user",), False)
SOFT = Limit("soft", None, 50, "tokens", 60, ("user",), True)


@dataclass
class Taken:
    user: str
    at_s: float
    reservation: Reservation
    tokens: int
    cost: int


class Hostile(RuleBasedStateMachine):
    """Requests of two users; the truth is kept beside, for each by the latest time that he was seen at."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits(Program("p", (), (), (), (), (), (), (TOKENS, MONEY, CALLS, SOFT), (), (), ()))
        self.told_s = 1000.0
        self.latest_s = {"anna": 0.0, "otto": 0.0}
        self.taken: list[Taken] = []

    @rule(by_s=st.floats(-5000, 5000) | st.floats(0, 2))
    def time_passes_or_the_clock_is_set(self, by_s: float) -> None:
        self.told_s += by_s

    @rule(user=st.sampled_from(["anna", "otto"]), tokens=st.integers(0, 120), cost=st.integers(0, 800))
    def a_request_comes(self, user: str, tokens: int, cost: int) -> None:
        found = self.reserve(user, tokens, cost)
        if isinstance(found, Refusal):
            if found.wait_s == float("inf"):
                assert tokens > TOKENS.amount or cost > MONEY.amount
                return
            # What is promised is kept: nobody else comes, and then there is room.
            self.told_s = self.latest_s[user] + found.wait_s + 1e-6
            found = self.reserve(user, tokens, cost)
        assert isinstance(found, Reservation)
        self.taken.append(Taken(user, self.latest_s[user], found, tokens, cost))

    def reserve(self, user: str, tokens: int, cost: int) -> Reservation | Refusal:
        self.latest_s[user] = max(self.latest_s[user], self.told_s)
        return self.limits.reserve({"user": user}, lambda: Need(tokens, cost), self.told_s)

    @rule(data=st.data(), share=st.floats(0, 1), twice=st.booleans(), counted=st.booleans())
    def one_ends_early_late_or_again(self, data: st.DataObject, share: float, twice: bool, counted: bool) -> None:
        if not self.taken:
            return
        taken = data.draw(st.sampled_from(self.taken))
        was_settled = taken.reservation.settled
        spent = (int(taken.tokens * share), int(taken.cost * share)) if counted else None
        taken.reservation.settle(spent)
        if twice:
            taken.reservation.settle((0, 0))
        if not was_settled and spent is not None:
            taken.tokens, taken.cost = spent

    @invariant()
    def no_limit_is_overshot(self) -> None:
        for user in ("anna", "otto"):
            mine = [taken for taken in self.taken if taken.user == user]
            for limit, amounts in (
                (TOKENS, [(taken.at_s, taken.tokens) for taken in mine]),
                (MONEY, [(taken.at_s, taken.cost) for taken in mine]),
                (CALLS, [(taken.at_s, 1) for taken in mine]),
            ):
                for start_s, _ in amounts:
                    used = sum(amount for at_s, amount in amounts if start_s <= at_s < start_s + limit.per_s)
                    assert used <= limit.amount, (limit.name, user)

    @invariant()
    def a_refusal_takes_nothing_and_room_is_never_below_nothing(self) -> None:
        found = self.reserve("anna", 101, 0)
        assert isinstance(found, Refusal)
        assert all(0 <= room.remaining <= room.limit for room in found.rooms)
        assert all(room.reset_s >= 0 for room in found.rooms)


Hostile.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestHostile = Hostile.TestCase
