"""One request as a machine without sockets: events in, actions out, time and chance as arguments.

Rules, each a property test in tests/flow:

1. Attempts are numbered from 0 in the order sent; their endpoints are those given, in order, some left out, none
   added. One hedge may come on top.
2. Until an attempt is committed its failure is invisible: the next place of the plan is tried, as `verdict.judge`
   says. After the commit nothing is ever sent again.
3. Content commits: the first of a stream; of a unary answer it is reported once, when the body is complete, not empty
   and free of errors. Only one attempt commits; the others are closed as `cancelled` at that moment.
4. Every Send is answered by exactly one Close; every started flow by exactly one Finish, its last action.
5. After a commit there are two ends: `complete`, or `cut`, which the driver turns into the in-band error.
6. An answer that is whole (every choice has its finish reason) is complete, however its connection ends.
7. When the client is gone everything is closed and nothing is sent.
8. Events for an attempt that is closed, that never was, or that make no sense now are ignored: carriers race.
9. Of a target that has failed before, an attempt is made only if `afford` allows it; a hedge only if its `may` does.
10. Time never runs backwards in here: an earlier `now_s` counts as the latest one seen.

An attempt's life (what is missing is ignored, rule 8):

    state       event     → state       meaning
    silent      Begun     → answering   a unary answer: its first token is here, though not yet for the client
    silent, answering  Content → relaying   the commit
    relaying    Content   ·             the provider's clock stops while the client takes the bytes
    answering, relaying, whole  Waiting  ·  it runs again
    relaying    Whole     → whole       nothing can be missing any more
    relaying, whole  Finished           complete
    silent, answering  Finished         `empty`
    any         Failed, deadline        before the commit: move on; relaying: cut; whole: complete
    any         Stopping                before the commit: exhausted; relaying: cut; whole: goes on to its end

Deadlines run for each attempt from its Send: `within` to its end, `first token` to its first content (a unary
answer: to its first byte), `stall` between contents. `deadline_s` is the nearest; the driver reports TimeUp then,
or earlier without harm.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from router_dsl.plan import FIRST_TOKEN_CEILING_S, LONGEST_PAUSE_S, Options
from runtime.flow.events import (
    Action,
    Begun,
    ClientGone,
    Close,
    Commit,
    Content,
    End,
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
    Why,
)
from runtime.flow.verdict import final_status, judge

STOPPED = "the router is stopping"

# Whoever asks again reaches another instance, which takes no time; at once would be a herd.
STOPPED_RETRY_S = 1.0

FOREVER = float("inf")

# Where the policy says nothing. 120 s of silence inside a stream is far beyond any measured pause between tokens.
STALL_CEILING_S = 120.0

# A whole stream still owes its usage chunk and `[DONE]`; a provider that sends neither must not hold the client.
LINGER_S = 2.0

# Full jitter (Marc Brooker, "Exponential Backoff And Jitter", AWS 2015), for the same endpoint again only.
BACKOFF_BASE_S = 0.2
BACKOFF_CAP_S = 2.0

# nginx's status for a client that closed before the answer; it never reaches anybody but the logs.
STATUS_CLIENT_GONE = 499


def opening_patience_s(options: Options) -> float:
    """Return how long a first attempt may be silent before its flow has anything to say about it."""
    first_token_s = FIRST_TOKEN_CEILING_S if options.first_token_s is None else options.first_token_s
    return first_token_s if options.within_s is None else min(first_token_s, options.within_s)


State = Literal["silent", "answering", "relaying", "whole"]


@dataclass(frozen=True, slots=True)
class Hedging:
    """A second attempt at `endpoint` once the first has been silent for `after_s`, if `may` (asked then) allows it."""

    endpoint: int
    after_s: float
    may: Callable[[float], bool] | None = None


@dataclass(slots=True)
class _Live:
    """An attempt in flight; `waiting_s` is when the wait for its next bytes began, None while the client takes some."""

    number: int
    place: Try
    sent_s: float
    state: State = "silent"
    waiting_s: float | None = None


class Flow:
    """The course of one request; one owner, who passes every event and performs every action.

    Args:
        tries: Where to try, in order, repeats included.
        options: Deadlines and `retry_on`.
        draw: One random number in [0, 1): the jitter of this request.
        hedge: When and where a second attempt may start, or None.
        afford: Whether a target that has failed may be tried again at an endpoint (its index; whether this request has
            asked it before; the time). None: always.

    Attributes:
        committed: The attempt whose answer is the client's, or None.
        ended: Whether it is over.
        withheld: Places of the plan that could not be afforded.
        patience_s: No event from now on makes anything due sooner than this, unless it was due already: whoever has an
            alarm for within that time need not ask for `deadline_s`.
    """

    def __init__(
        self,
        tries: Sequence[Try],
        options: Options,
        *,
        draw: float,
        hedge: Hedging | None = None,
        afford: Callable[[int, bool, float], bool] | None = None,
    ) -> None:
        self._tries = deque(tries)
        self._draw = draw
        self._hedge = hedge
        self._afford = afford
        self._failed_targets: tuple[int, ...] = ()
        self.withheld = 0
        self._retry_on = options.retry_on
        self._within_s = FOREVER if options.within_s is None else options.within_s
        self._first_token_s = FIRST_TOKEN_CEILING_S if options.first_token_s is None else options.first_token_s
        self._stall_s = STALL_CEILING_S if options.stall_s is None else options.stall_s
        self._live: dict[int, _Live] = {}
        self._sent: dict[int, int] = {}
        self._not_before: dict[int, float] = {}
        self._failures: list[tuple[Why | Literal["timeout"], int | None]] = []
        self._last: tuple[int, str] | None = None
        self._retry_after_s: float | None = None
        self._resume_s: float | None = None
        self._hedge_s: float | None = None
        self._attempts = 0
        self._now_s = -FOREVER
        self.committed: int | None = None
        self.ended = False
        self.patience_s = 0.0

    def start(self, now_s: float) -> list[Action]:
        """Return the first actions; call once, before any event."""
        assert self._now_s == -FOREVER
        self._now_s = now_s
        actions = self._move_on()
        if self._hedge is not None and not self.ended:
            self._hedge_s = now_s + self._hedge.after_s
        return actions

    def on(self, event: Event, now_s: float) -> list[Action]:
        """Return what to do about an event; nothing once the flow has ended."""
        if now_s > self._now_s:
            self._now_s = now_s
        if self.ended:
            return []
        if isinstance(event, TimeUp):
            return self._time_up()
        if isinstance(event, ClientGone):
            status = STATUS_CLIENT_GONE if self.committed is None else 200
            return self._finish("client gone", self.committed, "client gone", status)
        if isinstance(event, Stopping):
            return self._stop()
        live = self._live.get(event.attempt)
        return [] if live is None else self._reported(live, event)

    def _reported(self, live: _Live, event: Begun | Content | Waiting | Whole | Finished | Failed) -> list[Action]:
        """Return what to do about what a living attempt reports; the most frequent first."""
        match event:
            case Content():
                return self._content(live)
            case Waiting():
                if live.state != "silent":
                    live.waiting_s = self._now_s
            case Begun():
                if live.state == "silent":
                    live.state, live.waiting_s = "answering", self._now_s
            case Whole():
                if live.state == "relaying":
                    live.state = "whole"
                    if live.waiting_s is not None:
                        live.waiting_s = self._now_s  # what it still owes is waited for from here
                    self.patience_s = min(self._stall_s, LINGER_S)
            case Finished():
                return self._finished(live)
            case Failed():
                return self._failed(live, event.why, _outcome(event), event.status, event.retry_after_s)
        return []

    def _stop(self) -> list[Action]:
        if self.committed is None:
            return self._finish("exhausted", None, STOPPED, 503, STOPPED_RETRY_S)
        if self._live[self.committed].state == "whole":
            return []
        return self._finish("cut", self.committed, STOPPED, 200)

    @property
    def deadline_s(self) -> float | None:
        """The instant at which TimeUp is due, or None when nothing is timed."""
        nearest = FOREVER
        for live in self._live.values():
            nearest = min(nearest, self._due(live)[0])
        if self._resume_s is not None:
            nearest = min(nearest, self._resume_s)
        if self._hedge_s is not None:
            nearest = min(nearest, self._hedge_s)
        return None if nearest == FOREVER else nearest

    # --- attempts -------------------------------------------------------------------------------

    def _move_on(self) -> list[Action]:
        """Start the next attempt, now or after a pause; end the request when there is none left."""
        while self._tries:
            place = self._tries[0]
            pause_s = self._pause_s(place.endpoint)
            if pause_s > LONGEST_PAUSE_S or not self._may_try(place):
                self._tries.popleft()
                continue
            if pause_s > 0:
                self._resume_s = self._now_s + pause_s
                return []
            self._tries.popleft()
            return [self._send(place)]
        attempt, reason = self._last or (None, "nothing to try")
        return self._finish("exhausted", attempt, reason, final_status(self._failures), self._retry_after_s)

    def _may_try(self, place: Try) -> bool:
        if self._afford is None or place.target not in self._failed_targets:
            return True
        if self._afford(place.endpoint, place.endpoint in self._sent, self._now_s):
            return True
        self.withheld += 1
        return False

    def _pause_s(self, endpoint: int) -> float:
        """Return how long to wait before asking an endpoint (again)."""
        sent = self._sent.get(endpoint, 0)
        if sent == 0:
            return 0.0
        jitter_s = self._draw * min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** (sent - 1))
        return max(jitter_s, self._not_before.get(endpoint, 0.0) - self._now_s)

    def _send(self, place: Try, *, hedge: bool = False) -> Send:
        self._resume_s = None
        number = self._attempts
        self._attempts += 1
        self._sent[place.endpoint] = self._sent.get(place.endpoint, 0) + 1
        self._live[number] = _Live(number, place, self._now_s)
        return Send(number, place.endpoint, hedge)

    def _close(self, live: _Live, outcome: str) -> Close:
        del self._live[live.number]
        return Close(live.number, outcome)

    # --- what attempts report -------------------------------------------------------------------

    def _content(self, live: _Live) -> list[Action]:
        live.waiting_s = None
        if live.state in ("relaying", "whole"):
            return []
        live.state = "relaying"
        self.committed = live.number
        self.patience_s = self._stall_s
        self._resume_s = self._hedge_s = None
        if len(self._live) == 1:
            return [Commit(live.number)]
        losers = [other for other in self._live.values() if other is not live]
        return [*(self._close(loser, "cancelled") for loser in losers), Commit(live.number)]

    def _finished(self, live: _Live) -> list[Action]:
        if live.state in ("relaying", "whole"):
            return self._complete(live)
        return self._failed(live, "empty", "empty", None, None)

    def _complete(self, live: _Live) -> list[Action]:
        return [self._close(live, "ok"), *self._finish("complete", live.number, "ok", 200)]

    def _failed(
        self,
        live: _Live,
        why: Why | Literal["timeout"],
        outcome: str,
        status: int | None,
        retry_after_s: float | None,
    ) -> list[Action]:
        if live.state == "whole":
            return self._complete(live)
        closed = self._close(live, outcome)
        if live.state == "relaying":
            return [closed, *self._finish("cut", live.number, outcome, 200)]
        verdict = judge(why, status, self._retry_on)
        if verdict == "refuse":
            assert status is not None
            return [closed, *self._finish("refused", live.number, outcome, status)]
        self._failures.append((why, status))
        self._failed_targets = (*self._failed_targets, live.place.target)
        self._last = (live.number, outcome)
        self._heed(live.place.endpoint, retry_after_s)
        if verdict == "elsewhere":
            self._tries = deque(t for t in self._tries if t.endpoint != live.place.endpoint)
        elif verdict == "next target":
            self._tries = deque(t for t in self._tries if t.target != live.place.target)
        if self._live or self._resume_s is not None:
            return [closed]
        return [closed, *self._move_on()]

    def _heed(self, endpoint: int, retry_after_s: float | None) -> None:
        if retry_after_s is None:
            return
        until_s = self._now_s + retry_after_s
        self._not_before[endpoint] = max(until_s, self._not_before.get(endpoint, until_s))
        shortest = self._retry_after_s
        self._retry_after_s = retry_after_s if shortest is None else min(shortest, retry_after_s)

    # --- time -----------------------------------------------------------------------------------

    def _due(self, live: _Live) -> tuple[float, str]:
        """Return when this attempt's patience ends, and what that is called."""
        if live.state == "whole":
            return (FOREVER if live.waiting_s is None else live.waiting_s + LINGER_S), "stall"
        within = (live.sent_s + self._within_s, "timeout within")
        if live.state == "silent":
            return min(within, (live.sent_s + self._first_token_s, "timeout first token"))
        if live.waiting_s is None:
            return within
        return min(within, (live.waiting_s + self._stall_s, "stall"))

    def _time_up(self) -> list[Action]:
        actions: list[Action] = []
        for live in list(self._live.values()):
            due_s, outcome = self._due(live)
            if due_s <= self._now_s and not self.ended:
                actions += self._failed(live, "timeout", outcome, None, None)
        if self._resume_s is not None and self._resume_s <= self._now_s and not self.ended:
            actions.append(self._send(self._tries.popleft()))
        if self._hedge_s is not None and self._hedge_s <= self._now_s and not self.ended:
            actions += self._start_hedge()
        return actions

    def _start_hedge(self) -> list[Action]:
        """Start the hedge when exactly the first attempt is out and silent; it has one chance."""
        self._hedge_s = None
        assert self._hedge is not None
        if self._attempts != 1 or not self._live:
            return []
        (first,) = self._live.values()
        if first.state != "silent" or (self._hedge.may is not None and not self._hedge.may(self._now_s)):
            return []
        return [self._send(Try(self._hedge.endpoint, first.place.target), hedge=True)]

    # --- the end --------------------------------------------------------------------------------

    def _finish(
        self, end: End, attempt: int | None, reason: str, status: int, retry_after_s: float | None = None
    ) -> list[Action]:
        self.ended = True
        self._resume_s = self._hedge_s = None
        closed = [self._close(live, "cancelled") for live in list(self._live.values())]
        return [*closed, Finish(end, attempt, reason, status, retry_after_s)]


def _outcome(event: Failed) -> str:
    return f"status {event.status}" if event.why == "status" else event.why
