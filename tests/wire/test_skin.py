"""Answers as OpenRouter's clients read them: counts are numbers, everything else keeps its bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.wire import skin
from runtime.wire.skin import Cost, Skin, Stream
from runtime.wire.usage import Usage


def cost(usage: Usage) -> Cost:
    return Cost(usage.prompt * 100, usage.completion * 200)


SKIN = Skin("gen-1", "acme", "small", cost)
ANSWER: dict[str, Any] = {
    "id": "chatcmpl-9", "object": "chat.completion", "created": 5, "model": "up-small", "system_fingerprint": "fp",
    "choices": [
        {"finish_reason": "eos", "message": {"role": "assistant", "content": "hi", "reasoning_content": "hm"}}
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "prompt_tokens_details": None, "x": 1},
}  # fmt: skip


def whole(answer: object = ANSWER, dressing: Skin | None = SKIN, metadata: dict[str, object] | None = None) -> Any:
    return json.loads(skin.answer(json.dumps(answer).encode(), dressing, metadata))


def test_a_whole_answer_says_who_gave_it_and_what_it_cost() -> None:
    found = whole()
    assert (found["id"], found["provider"], found["model"], found["system_fingerprint"]) == (
        "gen-1", "acme", "small", "fp",
    )  # fmt: skip
    choice = found["choices"][0]
    assert (choice["finish_reason"], choice["native_finish_reason"]) == ("stop", "eos")
    assert choice["message"] == {"role": "assistant", "content": "hi", "reasoning": "hm"}
    assert found["usage"] == {
        "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "x": 1,
        "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0},
        "cost": 7e-7, "is_byok": False,
        "cost_details": {
            "upstream_inference_cost": 7e-7, "upstream_inference_prompt_cost": 3e-7,
            "upstream_inference_completions_cost": 4e-7,
        },
    }  # fmt: skip


def test_an_answer_without_a_price_has_no_cost_and_one_from_the_store_used_nothing() -> None:
    assert "cost" not in whole(dressing=Skin("g", "", "", lambda _usage: None))["usage"]
    stored = whole(dressing=Skin("g", "acme", "small", cost, is_free=True))["usage"]
    assert (stored["prompt_tokens"], stored["total_tokens"], stored["cost"]) == (0, 0, 0.0)


@pytest.mark.parametrize(
    ("native", "said"),
    [
        ("stop", "stop"),
        ("max_tokens", "length"),
        ("function_call", "tool_calls"),
        ("weird", "stop"),
        ("error", "error"),
    ],
)
def test_finish_reasons_are_openrouters_five(native: str, said: str) -> None:
    choice = whole({**ANSWER, "choices": [{"finish_reason": native}]})["choices"][0]
    assert (choice["finish_reason"], choice["native_finish_reason"]) == (said, native)


def test_an_unfinished_choice_has_neither() -> None:
    assert whole({**ANSWER, "choices": [{"finish_reason": None}]})["choices"][0] == {"finish_reason": None}


def test_embeddings_have_no_completion_to_count() -> None:
    found = whole({"object": "list", "data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 4, "total_tokens": 4}})
    assert (found["data"], found["usage"]["cost"]) == ([{"embedding": [0.1]}], 4e-7)
    assert "completion_tokens" not in found["usage"]


def test_without_a_skin_only_metadata_is_added() -> None:
    assert whole(dressing=None, metadata={"a": 1}) == {**ANSWER, "openrouter_metadata": {"a": 1}}


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"nonsense", b'{"choices": 5}', b'{"choices":[1],"usage":"x"}', b"[" * 9999]
)
def test_what_is_no_answer_passes(raw: bytes) -> None:
    found = skin.answer(raw, SKIN, {"a": 1})
    assert found == raw or json.loads(found)["id"] == "gen-1"


def test_bytes_of_an_answer_stay_as_they_are() -> None:
    raw = b'{"choices":[{"message":{"content":"\\ud83d half","n":1.50,"big":123456789012345678901234}}],"x":{"b": 1}}'
    found = skin.answer(raw, SKIN, None)
    for piece in (b'"\\ud83d half"', b"1.50", b"123456789012345678901234", b'{"b": 1}'):
        assert piece in found


# --- streams --------------------------------------------------------------------------------------

DONE = b"data: [DONE]\n\n"


def chunk(**fields: object) -> bytes:
    return b"data: " + json.dumps({"id": "c", "model": "up", **fields}).encode() + b"\n\n"


def delta(text: str, reason: str | None = None) -> bytes:
    return chunk(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": reason}])


USED = chunk(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 2})
WHOLE = [delta("a"), b": alive\n\n", delta("b"), delta("", "stop"), USED, DONE]


def fed(pieces: list[bytes], dressing: Skin | None, metadata: dict[str, object] | None) -> bytes:
    stream = Stream(dressing, metadata)
    return b"".join(stream.feed(piece, last=place == len(pieces) - 1) for place, piece in enumerate(pieces))


def chunks(block: bytes) -> list[Any]:
    return [json.loads(event[6:]) for event in block.split(b"\n\n") if event.startswith(b"data: {")]


def test_every_chunk_of_a_stream_is_dressed() -> None:
    block = fed(WHOLE, SKIN, None)
    assert block.endswith(DONE)
    assert b": alive\n\n" in block
    assert all((c["id"], c["provider"], c["model"]) == ("gen-1", "acme", "small") for c in chunks(block))
    assert [c["choices"][0]["delta"]["content"] for c in chunks(block)[:3]] == ["a", "b", ""]
    assert chunks(block)[2]["choices"][0]["native_finish_reason"] == "stop"
    assert chunks(block)[3]["usage"]["cost"] == 7e-7


def test_a_chunk_without_usage_says_nothing_of_it() -> None:
    block = chunk(choices=[{"index": 0, "delta": {"content": "a"}, "finish_reason": None}], usage=None, error=None)
    assert chunks(fed([block, DONE], SKIN, None))[0].keys().isdisjoint(("usage", "error"))
    assert fed([block, DONE], None, None) == block + DONE


def test_metadata_rides_on_the_last_chunk() -> None:
    for pieces in (WHOLE, [b"".join(WHOLE)], [*WHOLE[:4], DONE], [*WHOLE[:4], USED + DONE], WHOLE[:-1]):
        found = chunks(fed(pieces, None, {"a": 1}))
        assert found[-1]["openrouter_metadata"] == {"a": 1}
        assert not any("openrouter_metadata" in each for each in found[:-1])
    block = fed([delta("a"), DONE], None, {"a": 1})
    assert block.startswith(delta("a"))
    assert block.endswith(DONE)
    assert chunks(block)[-1]["choices"] == []


def test_metadata_rides_on_the_error_that_ends_a_stream() -> None:
    broken = chunk(error={"message": "x"}, choices=[{"index": 0, "delta": {}, "finish_reason": "error"}])
    for pieces in ([delta("a"), broken], [delta("a"), delta("", "stop"), broken]):
        assert chunks(fed(pieces, SKIN, {"a": 1}))[-1]["openrouter_metadata"] == {"a": 1}
        assert chunks(fed(pieces, SKIN, {"a": 1}))[-1]["error"] == {"message": "x"}


def test_anthropics_last_event_carries_it_too() -> None:
    last = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    for pieces in ([b"event: ping\ndata: {}\n\n", last], [last, b""]):
        assert b'event: message_stop\ndata: {"type":"message_stop","openrouter_metadata":{"a":1}}' in fed(
            pieces, None, {"a": 1}
        )


def test_nothing_is_held_back_before_an_answer_is_finished() -> None:
    stream = Stream(None, {"a": 1})
    assert stream.feed(delta("a"), last=False) == delta("a")
    assert stream.is_plain
    assert stream.feed(delta("", "stop"), last=False) == b""
    assert not stream.is_plain
    assert stream.feed(USED, last=False) == delta("", "stop")


@given(st.lists(st.sampled_from([*WHOLE[:5], b"data: nonsense\n\n", b"event: x\ndata: {}\n\n"]), max_size=8), st.data())
def test_however_a_stream_is_cut_into_events_the_client_gets_the_same(events: list[bytes], data: st.DataObject) -> None:
    events = [*events, delta("", "stop"), DONE]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(events)))) | {len(events)})
    pieces = [b"".join(events[a:b]) for a, b in zip([0, *cuts], cuts, strict=False)]
    for dressing in (SKIN, None):
        once = fed([b"".join(events)], dressing, {"a": 1})
        assert fed(pieces, dressing, {"a": 1}) == once
        assert once.count(b"openrouter_metadata") == 1
        plain = fed(pieces, dressing, None)
        assert plain.count(b"data:") == b"".join(events).count(b"data:")
        assert dressing is not None or plain == b"".join(events)
