"""Streams pass the same however they are cut into reads, and never more of them than is whole."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from runtime.dispatch.relay import Relay
from runtime.wire.sse import Watch
from runtime.wire.translate.translation import Passage
from tests.providers import anthropics as claude
from tests.providers import responses as native
from tests.providers import scripted as say

EVENTS = st.sampled_from(
    [
        say.event("text"),
        say.event("zwei\u2028\U0001f600"),
        say.event(role="assistant"),
        say.event(finish="stop"),
        say.event(finish="stop", usage=say.USAGE),
        say.usage_event(),
        b": a comment\n\n",
        say.event("crlf").replace(b"\n\n", b"\r\n\r\n"),
        b"id: 7\n" + say.event("with an id"),
        b"event: ping\n\n",
        b"retry: 5\n\n",
        b"data: {broken\n\n",
        b'data: {"error": {"message": "x"}}\n\n',
        say.DONE,
        say.DONE.replace(b"\n", b"\r\n"),
    ]
)


def relayed(pieces: list[bytes], *, looks_twice: bool = False) -> tuple[bytes, Relay]:
    relay = Relay(1, wants_usage=False)
    if looks_twice:
        relay.watch = Suspicious(1)
    passed = b""
    for piece in pieces:
        if relay.is_over:
            break
        passed += relay.feed(piece)
    if not relay.is_over:
        passed += relay.end()
    return passed, relay


class Suspicious(Watch):
    """Takes nothing for everyday."""

    def is_everyday(self, chunk: bytes) -> bool:
        return False


@given(st.lists(EVENTS, max_size=8), st.lists(st.integers(0, 3000), max_size=12), st.integers(0, 12))
def test_the_cut_of_the_reads_does_not_matter(events: list[bytes], cuts: list[int], short: int) -> None:
    stream = b"".join(events)
    stream = stream[: len(stream) - short] if short < len(stream) else stream
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    pieces = [stream[a:b] for a, b in itertools.pairwise(places)]
    whole, first = relayed([stream])
    cut, second = relayed(pieces, looks_twice=True)
    assert cut == whole
    assert (first.watch.finished, first.watch.done_seen, first.is_broken, first.watch.usage) == (
        second.watch.finished,
        second.watch.done_seen,
        second.is_broken,
        second.watch.usage,
    )


@given(st.lists(EVENTS, max_size=8))
def test_only_events_with_data_and_comments_pass(events: list[bytes]) -> None:
    passed, _ = relayed(events)
    for event in passed.replace(b"\r\n", b"\n").split(b"\n\n"):
        assert event == b"" or event.startswith((b"data: {", b": "))
        assert b"[DONE]" not in event
        assert b'"choices": [], "usage"' not in event
        assert b'"error"' not in event


SPOKEN = {"chat": say.events("hel", "lo"), "messages": claude.events(), "responses": native.events("hel", "lo")}


@given(st.sampled_from(sorted(SPOKEN)), st.sampled_from(sorted(SPOKEN)), st.lists(st.integers(0, 3000), max_size=12))
def test_a_stream_is_translated_the_same_however_it_is_cut(api: str, spoken: str, cuts: list[int]) -> None:
    def passed(pieces: list[bytes]) -> bytes:
        passage = None if api == spoken else Passage(api, spoken, 1.0, wants_usage=True)
        relay = Relay(1, wants_usage=True, spoken=spoken, passage=passage)
        said = b"".join([relay.feed(piece) for piece in pieces if not relay.is_over])
        assert relay.watch.finished
        return said + relay.ending(api)

    stream = b"".join(SPOKEN[spoken])
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    made = passed([stream[a:b] for a, b in itertools.pairwise(places)])
    assert made == passed(SPOKEN[spoken])
    assert made == (stream if api == spoken else passed([stream]))
