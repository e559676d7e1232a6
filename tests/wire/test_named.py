"""Watching streams whose events have names: the same is seen however they are cut, and the end is never missed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.wire.errors import problem
from runtime.wire.interface import Watch, broken, ending, read, watch
from runtime.wire.usage import Usage
from tests.providers import anthropics as claude
from tests.providers import responses as native

STREAMS = {"messages": claude.events(), "responses": native.events("hel", "lo")}
CUT = {"messages": claude.events(stop=None, end=False), "responses": native.events("hel", "lo", end=False)}
NAMES = tuple(STREAMS)

both = pytest.mark.parametrize("spoken", NAMES)


def seen(found: Watch) -> tuple[object, ...]:
    return (found.content_seen, found.done_seen, found.finished, found.finish_reason, found.usage, found.error,
            found.malformed, found.has_begun)  # fmt: skip


def fed(spoken: str, chunks: list[bytes]) -> Watch:
    found = watch(spoken, 1)
    for chunk in chunks:
        found.feed(chunk)
    return found


@given(st.sampled_from(NAMES), st.lists(st.integers(0, 4000), max_size=8))
def test_a_stream_is_the_same_however_it_is_cut(spoken: str, places: list[int]) -> None:
    whole = b"".join(STREAMS[spoken])
    cuts = sorted({0, len(whole), *(place for place in places if place < len(whole))})
    assert seen(fed(spoken, [whole[a:b] for a, b in pairwise(cuts)])) == seen(fed(spoken, STREAMS[spoken]))


@both
def test_a_whole_stream_is_finished_and_counted(spoken: str) -> None:
    found = fed(spoken, STREAMS[spoken])
    assert found.finished
    assert found.done_seen
    assert found.usage == Usage(9, 3, cached=3)
    assert found.error is None


@both
def test_a_stream_that_was_cut_is_not_finished(spoken: str) -> None:
    found = fed(spoken, CUT[spoken])
    assert found.content_seen
    assert not found.finished


@both
def test_nothing_is_content_before_the_first_word(spoken: str) -> None:
    events = STREAMS[spoken]
    first = next(place for place, event in enumerate(events) if b".delta" in event or b"block_delta" in event)
    found = fed(spoken, events[:first])
    assert found.has_begun
    assert not found.content_seen
    found.feed(events[first])
    assert found.content_seen


@both
def test_everyday_events_change_nothing_and_are_only_deltas(spoken: str) -> None:
    found = watch(spoken, 1)
    for event in STREAMS[spoken]:
        is_everyday, before = found.is_everyday(event), seen(found)
        found.feed(event)
        assert not is_everyday or seen(found) == before
        assert is_everyday == (before[0] and b"delta" in event.split(b"\n")[0] and b"message_delta" not in event)


@pytest.mark.parametrize(
    ("spoken", "event"),
    [
        ("messages", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
        ("responses", {"type": "error", "message": "Overloaded", "code": "x"}),
        ("responses", {"type": "response.failed", "response": {"error": {"message": "Overloaded"}}}),
        ("responses", {"type": "response.failed", "response": {}}),
    ],
)
def test_what_a_provider_says_instead_of_going_on_is_an_error(spoken: str, event: dict[str, object]) -> None:
    found = fed(spoken, [*CUT[spoken], claude.named(event)])
    assert found.error is not None
    assert not found.finished


@both
def test_nonsense_is_told(spoken: str) -> None:
    assert fed(spoken, [b"event: x\ndata: [1\n\n"]).malformed
    assert not fed(spoken, [b"data: [DONE]\n\n", b": ping\n\n", b"event: ping\ndata: {}\n\n"]).malformed


def test_messages_are_complete_with_their_stop_reason() -> None:
    assert fed("messages", claude.events(end=False)).finished


@both
def test_an_answer_without_a_word_is_empty(spoken: str) -> None:
    empty = {
        "messages": b'{"type":"message","content":[{"type":"text","text":""}],"stop_reason":"end_turn"}',
        "responses": b'{"output":[{"type":"message","content":[]},{"type":"reasoning"}],"status":"completed"}',
    }
    assert read(spoken, empty[spoken]).is_empty
    assert not read(spoken, empty[spoken]).malformed
    assert read(spoken, b"[]").malformed


def test_an_answer_says_why_it_ended_and_whether_it_refused() -> None:
    found = read("messages", claude.message(stop="refusal"))
    assert (found.finish_reason, found.refused, found.text, found.usage) == (
        "refusal", True, "hello", Usage(9, 3, cached=3),
    )  # fmt: skip
    raw = b'{"status":"incomplete","incomplete_details":{"reason":"content_filter"},"output":[{"type":"call"}]}'
    found = read("responses", raw)
    assert (found.finish_reason, found.refused, found.is_empty) == ("content_filter", True, False)
    assert read("responses", b'{"status":"failed","output":[]}').error == "failed"


@pytest.mark.parametrize("api", ["chat", "completions", "messages", "responses"])
def test_every_interface_has_one_way_to_end_and_one_to_break(api: str) -> None:
    assert ending(api).endswith(b"\n\n")
    told = broken(api, None, problem(502, "it broke off"), "anthropic" if api == "messages" else "openai")
    assert told.endswith(b"\n\n")
    assert b"it broke off" in told
    assert (b"event: error\n" in told) == (api in NAMES)
