"""Laws of the flow under hostile schedules: events late, twice, out of order, for dead attempts; clocks set back."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from router_dsl.plan import DEFAULT_OPTIONS, DEFAULT_RETRY_ON, Options
from runtime.flow.events import (
    Action,
    Begun,
    ClientGone,
    Close,
    Commit,
    Content,
    Event,
    Failed,
    Finish,
    Finished,
    Send,
    Stopping,
    TimeUp,
    Try,
    Waiting,
    Whole,
)
from runtime.flow.flow import Flow, Hedging

DURATION = st.one_of(st.none(), st.sampled_from([0.5, 1.0, 5.0]))
CLASSES = ["429", "5xx", "4xx", "503", "404", "timeout", "connect", "empty"]
RETRY_ON = st.just(DEFAULT_RETRY_ON) | st.sets(st.sampled_from(CLASSES)).map(tuple)
STATUS = st.sampled_from([301, 400, 401, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529, 599])
# Mostly attempts that live, sometimes one that is over or never was.
ATTEMPT = st.sampled_from(["oldest", "oldest", "newest", "newest", 0, 1, 7])
WHY = st.sampled_from(["connect", "lost", "cut", "empty", "malformed", "error"])


@st.composite
def options(draw: st.DrawFn) -> Options:
    return msgspec.structs.replace(
        DEFAULT_OPTIONS,
        within_s=draw(DURATION),
        first_token_s=draw(DURATION),
        stall_s=draw(DURATION),
        retry_on=draw(RETRY_ON),
    )


class HostileWorld(RuleBasedStateMachine):
    """Says anything at any time to a flow, and keeps the book of what it asked for."""

    @initialize(
        tries=st.lists(st.builds(Try, st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=8),
        options=options(),
        draw=st.floats(0, 1, exclude_max=True),
        hedge=st.one_of(st.none(), st.builds(Hedging, st.integers(0, 3), st.sampled_from([0.0, 0.5, 2.0]))),
        allowed=st.lists(st.booleans(), max_size=8),
    )
    def begin(
        self, tries: list[Try], options: Options, draw: float, hedge: Hedging | None, allowed: list[bool]
    ) -> None:
        self.tries = tries
        self.hedge = hedge
        self.now_s = 100.0
        self.actions: list[Action] = []
        self.sends: list[Send] = []
        self.closes: Counter[int] = Counter()
        self.commits: list[int] = []
        self.finishes: list[Finish] = []
        self.client_gone = False
        self.committed_whole = False
        self.allowed = allowed
        self.paid: list[int] = []
        self.denied = False
        if hedge is not None:
            self.hedge = Hedging(hedge.endpoint, hedge.after_s, self.may)
        self.flow = Flow(tries, options, draw=draw, hedge=self.hedge, afford=self.afford)
        self.book(self.flow.start(self.now_s))

    def may(self, now_s: float) -> bool:
        assert now_s >= 100.0
        self.denied = not (self.allowed.pop() if self.allowed else True)
        return not self.denied

    def afford(self, endpoint: int, asked: bool, now_s: float) -> bool:
        assert now_s >= 100.0
        assert asked == (endpoint in [send.endpoint for send in self.sends])
        may = self.allowed.pop() if self.allowed else True
        if may:
            self.paid.append(endpoint)
        return may

    def book(self, actions: list[Action]) -> None:
        for action in actions:
            assert not self.finishes, "something follows the Finish"
            match action:
                case Send():
                    assert action.attempt == len(self.sends)
                    assert not self.commits, "sent after the commit"
                    assert not self.client_gone, "sent for a client that left"
                    self.sends.append(action)
                case Commit():
                    assert self.closes[action.attempt] == 0
                    self.commits.append(action.attempt)
                case Close():
                    assert action.attempt < len(self.sends)
                    self.closes[action.attempt] += 1
                case Finish():
                    self.finishes.append(action)
        self.actions += actions

    def number(self, attempt: str | int) -> int:
        """Return the number of an attempt."""
        alive = [send.attempt for send in self.sends if not self.closes[send.attempt]]
        if isinstance(attempt, int):
            return attempt
        return (alive[0] if attempt == "oldest" else alive[-1]) if alive else 0

    def say(self, event: Event) -> None:
        due_s = self.flow.deadline_s
        self.book(self.flow.on(event, self.now_s))
        next_s = self.flow.deadline_s
        patient_until_s = self.now_s + self.flow.patience_s
        soonest_s = patient_until_s if due_s is None else min(due_s, patient_until_s)
        assert next_s is None or next_s >= soonest_s

    @rule(step=st.sampled_from([-50.0, -0.1, 0.0, 0.1, 0.6, 3.0, 700.0]), rings=st.booleans())
    def time_passes(self, step: float, rings: bool) -> None:
        self.now_s += step
        if rings:
            self.say(TimeUp())

    @precondition(lambda self: self.flow.deadline_s is not None)
    @rule()
    def alarm_on_time(self) -> None:
        due_s = self.flow.deadline_s
        assert due_s is not None
        self.now_s = max(self.now_s, due_s)
        before = len(self.actions)
        self.say(TimeUp())
        after_s = self.flow.deadline_s
        assert len(self.actions) > before or after_s is None or after_s > due_s, "an alarm on time does something"

    @rule(which=ATTEMPT)
    def content(self, which: str | int) -> None:
        self.say(Content(self.number(which)))

    @rule(which=ATTEMPT, kind=st.sampled_from([Begun, Waiting, Whole, Whole, Finished]))
    def report(self, which: str | int, kind: type[Begun | Waiting | Whole | Finished]) -> None:
        attempt = self.number(which)
        if kind is Whole and self.commits == [attempt] and not self.finishes:
            self.committed_whole = True
        self.say(kind(attempt))

    @rule(
        which=ATTEMPT, failure=st.one_of(WHY, STATUS), after_s=st.one_of(st.none(), st.sampled_from([0.0, 0.3, 60.0]))
    )
    def fail(self, which: str | int, failure: str | int, after_s: float | None) -> None:
        attempt = self.number(which)
        if isinstance(failure, int):
            self.say(Failed(attempt, "status", failure, after_s))
        else:
            self.say(Failed(attempt, failure))  # type: ignore[arg-type]

    @rule(really=st.integers(0, 9))
    def leave(self, really: int) -> None:
        if really:
            return  # a client that leaves at once teaches nothing
        was_over = bool(self.finishes)
        self.client_gone = True
        self.say(ClientGone())
        assert self.finishes
        assert was_over or self.finishes[0].end == "client gone"

    @rule(really=st.integers(0, 9))
    def stop(self, really: int) -> None:
        if really:
            return
        self.say(Stopping())
        assert self.finishes or self.committed_whole

    @invariant()
    def one_commit_and_one_finish(self) -> None:
        assert len(self.commits) <= 1
        assert len(self.finishes) <= 1
        assert self.flow.ended == bool(self.finishes)

    @invariant()
    def each_send_is_closed_once(self) -> None:
        assert all(count == 1 for count in self.closes.values())
        if self.finishes:
            assert set(self.closes) == {send.attempt for send in self.sends}
            assert self.flow.deadline_s is None

    @invariant()
    def nothing_is_tried_that_was_not_given(self) -> None:
        plain = [send.endpoint for send in self.sends if not send.hedge]
        given = iter(place.endpoint for place in self.tries)
        assert all(endpoint in given for endpoint in plain), "attempts are a subsequence of what was given"
        hedges = [send for send in self.sends if send.hedge]
        assert len(hedges) <= (self.hedge is not None)

    @invariant()
    def further_attempts_of_a_target_are_paid_for(self) -> None:
        endpoints = [send.endpoint for send in self.sends if not send.hedge]
        targets = {place.target for place in self.tries}
        assert len(endpoints) <= len(targets) + len(self.paid)
        if self.denied:
            assert not any(send.hedge for send in self.sends)

    @invariant()
    def somebody_is_waited_for(self) -> None:
        if not self.finishes:
            alive = len(self.sends) - len(self.closes)
            assert alive > 0 or self.flow.deadline_s is not None
            assert alive <= (1 if self.commits else 2)

    @invariant()
    def the_end_tells_the_truth(self) -> None:
        if not self.finishes:
            return
        finish = self.finishes[0]
        if finish.end in ("complete", "cut"):
            assert self.commits == [finish.attempt]
        if finish.end in ("exhausted", "refused"):
            assert not self.commits
            assert finish.status >= 400
        if self.committed_whole:
            assert finish.end != "cut", "whole answers are not cut"


HostileWorld.TestCase.settings = settings(max_examples=250, stateful_step_count=25, deadline=None)


@pytest.mark.slow
class TestHostileWorld(HostileWorld.TestCase):  # type: ignore[misc,name-defined]
    pass
