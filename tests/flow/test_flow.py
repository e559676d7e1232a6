"""The flow's cases one by one: deadlines, retries, hedges and ends."""

from __future__ import annotations

import msgspec
import pytest

from router_dsl.plan import DEFAULT_OPTIONS
from runtime.flow.events import (
    Begun,
    ClientGone,
    Close,
    Commit,
    Content,
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
from runtime.flow.flow import (
    FIRST_TOKEN_CEILING_S,
    LINGER_S,
    STOPPED,
    STOPPED_RETRY_S,
    Flow,
    Hedging,
    opening_patience_s,
)

A, B, C = 0, 1, 2


def flow(
    *endpoints: int, targets: tuple[int, ...] = (), draw: float = 0.5, hedge: Hedging | None = None, **changes: object
) -> Flow:
    tries = [Try(endpoint, targets[i] if targets else 0) for i, endpoint in enumerate(endpoints)]
    return Flow(tries, msgspec.structs.replace(DEFAULT_OPTIONS, **changes), draw=draw, hedge=hedge)


def test_a_stream_from_send_to_finish() -> None:
    it = flow(A, B)
    assert it.start(0.0) == [Send(0, A)]
    assert it.on(Content(0), 1.0) == [Commit(0)]
    assert it.on(Content(0), 2.0) == []
    assert it.on(Whole(0), 2.0) == []
    assert it.on(Finished(0), 3.0) == [Close(0, "ok"), Finish("complete", 0, "ok", 200)]
    assert it.deadline_s is None


def test_a_failure_before_the_commit_moves_on_at_once() -> None:
    it = flow(A, B)
    it.start(0.0)
    assert it.on(Failed(0, "lost"), 1.0) == [Close(0, "lost"), Send(1, B)]


def test_a_failure_after_the_commit_cuts() -> None:
    it = flow(A, B)
    it.start(0.0)
    it.on(Content(0), 1.0)
    assert it.on(Failed(0, "lost"), 2.0) == [Close(0, "lost"), Finish("cut", 0, "lost", 200)]


def test_what_a_whole_answer_still_owes_is_waited_for_from_when_it_became_whole() -> None:
    it = flow(A)
    it.start(0.0)
    it.on(Content(0), 1.0)
    it.on(Waiting(0), 1.0)
    assert it.on(Whole(0), 50.0) == []
    assert it.deadline_s == 50.0 + LINGER_S
    assert it.patience_s == LINGER_S
    assert it.on(TimeUp(), 51.0) == []
    assert it.on(TimeUp(), 52.0)[-1] == Finish("complete", 0, "ok", 200)


def test_a_whole_answer_is_complete_whatever_comes() -> None:
    for last in (Failed(0, "lost"), TimeUp()):
        it = flow(A, within_s=5.0)
        it.start(0.0)
        it.on(Content(0), 1.0)
        it.on(Whole(0), 1.0)
        it.on(Waiting(0), 1.0)
        assert it.on(last, 100.0) == [Close(0, "ok"), Finish("complete", 0, "ok", 200)]


def test_a_whole_answer_is_not_hurried_while_the_client_takes_it() -> None:
    it = flow(A, within_s=5.0, stall_s=1.0)
    it.start(0.0)
    it.on(Content(0), 1.0)
    it.on(Whole(0), 1.0)
    assert it.deadline_s is None
    assert it.on(TimeUp(), 100.0) == []


def test_an_answer_without_content_is_empty() -> None:
    it = flow(A)
    it.start(0.0)
    assert it.on(Finished(0), 1.0) == [Close(0, "empty"), Finish("exhausted", 0, "empty", 502)]


@pytest.mark.parametrize(
    ("option", "outcome"), [("first_token_s", "timeout first token"), ("within_s", "timeout within")]
)
def test_each_attempt_has_its_own_deadlines(option: str, outcome: str) -> None:
    it = flow(A, B, **{option: 3.0})
    it.start(10.0)
    assert it.deadline_s == 13.0
    assert it.on(TimeUp(), 12.9) == []
    assert it.on(TimeUp(), 13.0) == [Close(0, outcome), Send(1, B)]
    assert it.deadline_s == 16.0
    assert it.on(TimeUp(), 16.0) == [Close(1, outcome), Finish("exhausted", 1, outcome, 504)]


def test_stall_counts_from_the_last_content_and_only_while_the_provider_is_waited_for() -> None:
    it = flow(A, first_token_s=3.0, stall_s=2.0)
    it.start(0.0)
    it.on(Content(0), 1.0)
    assert it.deadline_s is None, "the client is taking it"
    it.on(Waiting(0), 10.0)
    assert it.deadline_s == 12.0
    it.on(Content(0), 11.0)
    assert it.deadline_s is None, "the client is taking more"
    it.on(Waiting(0), 11.0)
    assert it.deadline_s == 13.0
    assert it.on(TimeUp(), 13.0) == [Close(0, "stall"), Finish("cut", 0, "stall", 200)]


def test_a_unary_answer_has_its_first_token_when_it_begins() -> None:
    it = flow(A, B, first_token_s=3.0, within_s=9.0, stall_s=5.0)
    it.start(0.0)
    it.on(Begun(0), 2.0)
    assert it.deadline_s == 7.0
    it.on(Waiting(0), 6.0)
    assert it.deadline_s == 9.0
    assert it.on(Content(0), 8.0) == [Commit(0)]


def test_unset_deadlines_have_ceilings() -> None:
    it = flow(A)
    it.start(0.0)
    assert it.deadline_s == 600.0
    it.on(Content(0), 1.0)
    it.on(Waiting(0), 1.0)
    assert it.deadline_s == 121.0


def test_the_same_endpoint_rests_with_full_jitter_and_growing_pauses() -> None:
    it = flow(A, A, A, draw=0.5)
    it.start(0.0)
    assert it.on(Failed(0, "status", 503), 1.0) == [Close(0, "status 503")]
    assert it.deadline_s == pytest.approx(1.1)
    assert it.on(TimeUp(), 1.1) == [Send(1, A)]
    it.on(Failed(1, "status", 503), 2.0)
    assert it.deadline_s == pytest.approx(2.2)


def test_a_wish_for_a_short_pause_is_granted_and_a_long_one_goes_elsewhere() -> None:
    short = flow(A, A, B)
    short.start(0.0)
    short.on(Failed(0, "status", 429, 1.5), 0.0)
    assert short.deadline_s == 1.5
    long = flow(A, A, B)
    long.start(0.0)
    assert long.on(Failed(0, "status", 429, 60.0), 0.0) == [Close(0, "status 429"), Send(1, B)]


def test_when_all_are_throttled_the_shortest_wish_is_passed_on() -> None:
    it = flow(A, B)
    it.start(0.0)
    it.on(Failed(0, "status", 429, 7.0), 1.0)
    assert it.on(Failed(1, "status", 429, 9.0), 2.0)[-1] == Finish("exhausted", 1, "status 429", 429, 7.0)


def test_a_refused_request_ends_at_once() -> None:
    it = flow(A, B)
    it.start(0.0)
    assert it.on(Failed(0, "status", 400), 1.0) == [Close(0, "status 400"), Finish("refused", 0, "status 400", 400)]


def test_a_setup_fault_skips_its_endpoint_only() -> None:
    it = flow(A, A, B, targets=(0, 0, 1))
    it.start(0.0)
    assert it.on(Failed(0, "status", 401), 1.0) == [Close(0, "status 401"), Send(1, B)]


def test_what_is_not_retried_skips_its_target_only() -> None:
    it = flow(A, B, C, targets=(0, 0, 1), retry_on=("429",))
    it.start(0.0)
    assert it.on(Failed(0, "lost"), 1.0) == [Close(0, "lost"), Send(1, C)]


def test_nothing_to_try_is_the_end() -> None:
    assert flow().start(0.0) == [Finish("exhausted", None, "nothing to try", 503)]


# --- hedges ---------------------------------------------------------------------------------------


def test_a_hedge_starts_while_the_first_is_silent_and_the_first_content_wins() -> None:
    it = flow(A, B, hedge=Hedging(C, 1.0))
    it.start(0.0)
    assert it.deadline_s == 1.0
    assert it.on(TimeUp(), 1.0) == [Send(1, C, hedge=True)]
    assert it.on(Content(1), 2.0) == [Close(0, "cancelled"), Commit(1)]
    assert it.on(Content(0), 3.0) == []


def test_no_hedge_once_the_first_has_begun() -> None:
    for event in (Content(0), Begun(0)):
        it = flow(A, hedge=Hedging(C, 1.0))
        it.start(0.0)
        it.on(event, 0.5)
        assert it.on(TimeUp(), 1.0) == []
        assert it.deadline_s is None or it.deadline_s > 1.0


def test_no_hedge_after_a_fail_over() -> None:
    it = flow(A, B, hedge=Hedging(C, 1.0))
    it.start(0.0)
    it.on(Failed(0, "lost"), 0.5)
    assert it.on(TimeUp(), 1.0) == []


def test_a_failure_beside_a_living_attempt_waits_for_it() -> None:
    it = flow(A, B, hedge=Hedging(C, 1.0))
    it.start(0.0)
    it.on(TimeUp(), 1.0)
    assert it.on(Failed(0, "lost"), 2.0) == [Close(0, "lost")]
    assert it.on(Failed(1, "lost"), 3.0) == [Close(1, "lost"), Send(2, B)]


def test_a_refusal_of_one_stops_the_other() -> None:
    it = flow(A, hedge=Hedging(C, 1.0))
    it.start(0.0)
    it.on(TimeUp(), 1.0)
    assert it.on(Failed(1, "status", 422), 2.0) == [
        Close(1, "status 422"),
        Close(0, "cancelled"),
        Finish("refused", 1, "status 422", 422),
    ]


def test_a_hedge_that_may_not_be_is_not() -> None:
    it = flow(A, hedge=Hedging(C, 1.0, lambda now_s: now_s > 100.0))
    it.start(0.0)
    assert it.on(TimeUp(), 1.0) == []
    assert it.on(TimeUp(), 200.0) == []


# --- what can be afforded -------------------------------------------------------------------------


def test_a_target_that_failed_is_tried_again_only_if_that_can_be_afforded() -> None:
    asked: list[tuple[int, bool, float]] = []

    def afford(endpoint: int, again: bool, now_s: float) -> bool:
        asked.append((endpoint, again, now_s))
        return endpoint == B

    places = [Try(A, 0), Try(A, 0), Try(B, 0), Try(C, 1)]
    it = Flow(places, DEFAULT_OPTIONS, draw=0.0, afford=afford)
    it.start(0.0)
    assert it.on(Failed(0, "lost"), 1.0) == [Close(0, "lost"), Send(1, B)]
    assert it.on(Failed(1, "lost"), 2.0) == [Close(1, "lost"), Send(2, C)]
    assert asked == [(A, True, 1.0), (B, False, 1.0)]
    assert it.withheld == 1
    assert it.on(Failed(2, "lost"), 3.0) == [Close(2, "lost"), Finish("exhausted", 2, "lost", 502, None)]


# --- the client leaves ----------------------------------------------------------------------------


def test_a_client_that_leaves_ends_everything() -> None:
    it = flow(A, B, hedge=Hedging(C, 1.0))
    it.start(0.0)
    it.on(TimeUp(), 1.0)
    assert it.on(ClientGone(), 2.0) == [
        Close(0, "cancelled"),
        Close(1, "cancelled"),
        Finish("client gone", None, "client gone", 499),
    ]
    assert it.on(Failed(0, "lost"), 3.0) == []


def test_a_client_may_leave_during_a_pause() -> None:
    it = flow(A, A)
    it.start(0.0)
    it.on(Failed(0, "lost"), 1.0)
    assert it.on(ClientGone(), 1.0) == [Finish("client gone", None, "client gone", 499)]
    assert it.on(TimeUp(), 100.0) == []


def test_a_clock_set_back_is_a_clock_that_stands() -> None:
    it = flow(A, B, first_token_s=3.0)
    it.start(10.0)
    it.on(Failed(0, "lost"), 5.0)
    assert it.deadline_s == 13.0


def test_a_router_that_stops_leaves_a_whole_answer_alone_cuts_a_stream_and_answers_who_waits() -> None:
    waiting = flow(A, B)
    waiting.start(0.0)
    assert waiting.on(Stopping(), 1.0) == [
        Close(0, "cancelled"),
        Finish("exhausted", None, STOPPED, 503, STOPPED_RETRY_S),
    ]
    streaming = flow(A, B)
    streaming.start(0.0)
    streaming.on(Content(0), 1.0)
    assert streaming.on(Stopping(), 2.0) == [Close(0, "cancelled"), Finish("cut", 0, STOPPED, 200)]
    whole = flow(A)
    whole.start(0.0)
    whole.on(Content(0), 1.0)
    whole.on(Whole(0), 1.0)
    assert whole.on(Stopping(), 2.0) == []
    assert whole.on(Finished(0), 3.0) == [Close(0, "ok"), Finish("complete", 0, "ok", 200)]


def test_a_router_that_stops_between_two_attempts_starts_no_other() -> None:
    it = flow(A, A)
    it.start(0.0)
    it.on(Failed(0, "status", 503, 0.5), 1.0)
    assert it.deadline_s is not None
    assert it.on(Stopping(), 2.0) == [Finish("exhausted", None, STOPPED, 503, STOPPED_RETRY_S)]
    assert it.deadline_s is None


@pytest.mark.parametrize(
    ("changes", "patience_s"),
    [
        ({}, FIRST_TOKEN_CEILING_S),
        ({"first_token_s": 3.0}, 3.0),
        ({"within_s": 5.0}, 5.0),
        ({"first_token_s": 3.0, "within_s": 5.0}, 3.0),
        ({"first_token_s": 9.0, "within_s": 5.0}, 5.0),
    ],
)
def test_a_first_attempt_may_be_silent_until_its_first_deadline(changes: dict[str, float], patience_s: float) -> None:
    assert opening_patience_s(msgspec.structs.replace(DEFAULT_OPTIONS, **changes)) == patience_s
    it = flow(A, **changes)
    it.start(0.0)
    assert it.deadline_s == patience_s
