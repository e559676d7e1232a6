"""Answers and streams between Messages and chat: tables, and laws about fragments, cuts and going there and back."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.wire.translate import messages_answer as answers
from runtime.wire.translate.loose import Json, objects_of
from runtime.wire.translate.messages_stream import ChatToMessages, MessagesToChat
from runtime.wire.translate.translation import Passage, answer

USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 3,
    "cache_read_input_tokens": 20,
    "output_tokens": 7,
    "output_tokens_details": {"thinking_tokens": 4},
}
CHAT_USAGE = {
    "prompt_tokens": 33,
    "completion_tokens": 7,
    "total_tokens": 40,
    "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 4},
}
BLOCKS: list[Json] = [
    {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
    {"type": "redacted_thinking", "data": "eHh4"},
    {"type": "text", "text": "Looking."},
    {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "x"}},
    {"type": "tool_use", "id": "c2", "name": "look", "input": {}},
]
MESSAGE: Json = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": BLOCKS,
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": USAGE,
}


def test_usage_counts_what_was_cached_in_one_and_apart_in_the_other() -> None:
    assert answers.usage_to_chat(USAGE) == CHAT_USAGE
    assert answers.usage_from_chat(CHAT_USAGE) == USAGE


def test_a_message_survives_the_way_there_and_back() -> None:
    chat = answers.to_chat(MESSAGE, 1700000000)
    assert json.loads(answer("messages", "chat", json.dumps(chat).encode(), 0.0)) == MESSAGE
    message = chat["choices"][0]["message"]  # type: ignore[index]
    assert message["content"] == "Looking."
    assert message["reasoning"] == "Hm."
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == ['{"at":"x"}', "{}"]
    assert chat["choices"][0]["finish_reason"] == "tool_calls"  # type: ignore[index]


@pytest.mark.parametrize(
    ("stop", "finish", "back"),
    [
        ("end_turn", "stop", "end_turn"),
        ("stop_sequence", "stop", "end_turn"),
        ("max_tokens", "length", "max_tokens"),
        ("model_context_window_exceeded", "length", "max_tokens"),
        ("tool_use", "tool_calls", "tool_use"),
        ("refusal", "content_filter", "refusal"),
        ("pause_turn", "stop", "end_turn"),
        ("new_word", "new_word", "end_turn"),
    ],
)
def test_why_an_answer_ended_is_said_in_the_others_words(stop: str, finish: str, back: str) -> None:
    assert answers.finish_of(stop) == finish
    assert answers.stop_of(finish, has_calls=False) == back


def test_reasoning_without_a_signature_is_thinking_still() -> None:
    for field in ("reasoning", "reasoning_content"):
        chat = {"choices": [{"message": {field: "Hm.", "content": "Yes."}, "finish_reason": "stop"}]}
        made = answers.from_chat(chat)
        assert objects_of(made["content"])[0] == {"type": "thinking", "thinking": "Hm.", "signature": ""}


# --- streams --------------------------------------------------------------------------------------


def gathered(events: Sequence[Json]) -> Json:
    """Gather a stream of Messages as Anthropic's SDK does, and hold it to the order of its events."""
    assert [event["type"] for event in events[:1] + events[-2:]] == ["message_start", "message_delta", "message_stop"]
    start, delta = events[0]["message"], events[-2]
    assert isinstance(start, dict)
    blocks: list[Json] = []
    open_at: int | None = None
    for event in events[1:-2]:
        match event["type"]:
            case "content_block_start":
                assert open_at is None
                assert event["index"] == len(blocks)
                open_at = len(blocks)
                blocks.append({**event["content_block"], "json": ""})  # type: ignore[dict-item]
            case "content_block_delta":
                assert event["index"] == open_at
                assert open_at is not None
                piece, block = event["delta"], blocks[open_at]
                assert isinstance(piece, dict)
                for key, value in piece.items():
                    if key != "type":
                        key = "json" if key == "partial_json" else key
                        block[key] = str(block[key]) + value
            case "content_block_stop":
                assert event["index"] == open_at
                open_at = None
            case other:
                raise AssertionError(other)
    assert open_at is None
    for block in blocks:
        text = str(block.pop("json"))
        if text:
            block["input"] = json.loads(text)
            block["text of input"] = text
    return {**start, **delta["delta"], "content": blocks, "usage": delta["usage"]}  # type: ignore[dict-item]


def joined(chunks: Sequence[Json]) -> Json:
    """Join chunks of chat as OpenAI's SDK does."""
    message: Json = {"content": "", "reasoning": ""}
    calls: dict[int, Json] = {}
    finish, usage = None, None
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in objects_of(chunk["choices"]):
            finish = choice["finish_reason"] or finish
            delta = choice["delta"]
            assert isinstance(delta, dict)
            for key in ("content", "reasoning"):
                message[key] = str(message[key]) + (delta.get(key) or "")
            for piece in delta.get("tool_calls", ()):
                call = calls.setdefault(piece["index"], {"id": piece.get("id"), "name": "", "arguments": ""})
                for key in ("name", "arguments"):
                    call[key] = str(call[key]) + piece["function"].get(key, "")
    return {**message, "calls": [call for _, call in sorted(calls.items())], "finish": finish, "usage": usage}


def events_of(blocks: Sequence[Json], stop: str = "end_turn", cut: int = 3) -> list[Json]:
    """Return a stream of Messages, its pieces of `cut` characters."""
    empty = {**MESSAGE, "content": [], "stop_reason": None, "usage": {**USAGE, "output_tokens": 1}}
    events: list[Json] = [{"type": "message_start", "message": empty}, {"type": "ping"}]
    for index, block in enumerate(blocks):
        start, pieces = dict(block), []
        match block["type"]:
            case "text":
                start["text"], pieces = "", [("text_delta", "text", str(block["text"]))]
            case "thinking":
                start.update(thinking="", signature="")
                pieces = [("thinking_delta", "thinking", str(block["thinking"])),
                          ("signature_delta", "signature", str(block["signature"]))]  # fmt: skip
            case "tool_use":
                start["input"], text = {}, json.dumps(block["input"])
                pieces = [("input_json_delta", "partial_json", text if block["input"] else "")]
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        for kind, key, text in pieces:
            step = len(text) if kind == "signature_delta" else cut
            for at in range(0, max(len(text), 1), max(step, 1)):
                delta = {"type": kind, key: text[at : at + max(step, 1)]}
                events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": stop, "stop_sequence": None}
    usage = {"output_tokens": 7, "output_tokens_details": {"thinking_tokens": 4}}
    return [*events, {"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]


def through(step: MessagesToChat | ChatToMessages, events: Sequence[Json]) -> list[Json]:
    return [*(made for event in events for made in step.feed(event)), *step.end()]


def test_a_stream_of_messages_becomes_chunks_of_chat() -> None:
    chunks = through(MessagesToChat(5, wants_usage=True), events_of(BLOCKS, "tool_use"))
    found = joined(chunks)
    assert (found["content"], found["reasoning"], found["finish"]) == ("Looking.", "Hm.", "tool_calls")
    assert found["calls"] == [
        {"id": "c1", "name": "look", "arguments": '{"at": "x"}'},
        {"id": "c2", "name": "look", "arguments": "{}"},
    ]
    assert found["usage"] == CHAT_USAGE
    assert {(chunk["id"], chunk["model"], chunk["created"]) for chunk in chunks} == {("msg_1", "claude", 5)}


def test_the_usage_chunk_is_only_for_those_who_asked() -> None:
    assert all(c["choices"] for c in through(MessagesToChat(5, wants_usage=False), events_of(BLOCKS)))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
ARGUMENTS = st.dictionaries(TEXTS, st.integers() | TEXTS | st.lists(TEXTS, max_size=2), max_size=3)
BLOCK_LISTS = st.lists(
    st.one_of(
        TEXTS.map(lambda text: {"type": "text", "text": text}),
        st.tuples(TEXTS, TEXTS).map(lambda t: {"type": "thinking", "thinking": t[0], "signature": t[1]}),
        TEXTS.map(lambda text: {"type": "redacted_thinking", "data": text}),
        st.tuples(TEXTS, ARGUMENTS).map(lambda t: {"type": "tool_use", "id": t[0], "name": "f", "input": t[1]}),
    ),
    min_size=1,
    max_size=5,
)


def merged(blocks: Sequence[Json]) -> list[Json]:
    """Blocks as chat can tell them apart: text next to text is one text."""
    found: list[Json] = []
    for block in blocks:
        if found and block["type"] == found[-1]["type"] == "text":
            found[-1] = {"type": "text", "text": str(found[-1]["text"]) + str(block["text"])}
        else:
            found.append(block)
    return found


@pytest.mark.slow
@given(BLOCK_LISTS, st.integers(1, 9))
def test_a_stream_of_messages_survives_the_way_there_and_back(blocks: list[Json], cut: int) -> None:
    chunks = through(MessagesToChat(5, wants_usage=True), events_of(blocks, cut=cut))
    found = gathered(through(ChatToMessages(), chunks))
    content = objects_of(found["content"])
    for block in content:
        block.pop("text of input", None)
    assert content == merged(blocks)
    assert found["usage"] == USAGE
    has_calls = any(block["type"] == "tool_use" for block in blocks)
    assert found["stop_reason"] == ("tool_use" if has_calls else "end_turn")


def chunk_of(delta: Json, finish: str | None = None) -> Json:
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


@pytest.mark.slow
@given(st.lists(ARGUMENTS, min_size=1, max_size=4), st.data())
def test_fragments_of_parallel_calls_join_byte_exact_however_they_are_cut_and_mixed(
    arguments: list[Json], data: st.DataObject
) -> None:
    texts = [json.dumps(each, ensure_ascii=False) for each in arguments]
    left = list(texts)
    chunks = [chunk_of({"role": "assistant", "content": ""})]
    begun: set[int] = set()
    while any(left):
        index = data.draw(st.sampled_from([i for i, text in enumerate(left) if text]))
        size = data.draw(st.integers(1, len(left[index])))
        piece, left[index] = left[index][:size], left[index][size:]
        call: Json = {"index": index, "function": {"arguments": piece}}
        if index not in begun:
            call.update(id=f"id{index}", type="function", function={"name": f"f{index}", "arguments": piece})
            begun.add(index)
        chunks.append(chunk_of({"tool_calls": [call]}))
    chunks.append(chunk_of({}, "tool_calls"))
    found = gathered(through(ChatToMessages(), chunks))
    got = {str(b["id"]): b["text of input"] for b in objects_of(found["content"])}
    assert got == {f"id{index}": text for index, text in enumerate(texts)}
    assert found["stop_reason"] == "tool_use"


def test_text_after_an_unfinished_call_waits_for_its_end() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":'}}
    rest = {"index": 0, "function": {"arguments": "1}"}}
    chunks = [chunk_of({"tool_calls": [call]}), chunk_of({"content": "so"}), chunk_of({"tool_calls": [rest]})]
    found = gathered(through(ChatToMessages(), [*chunks, chunk_of({"content": "!"}, "stop")]))
    assert [(b["type"], b.get("text", b.get("input"))) for b in objects_of(found["content"])] == [
        ("tool_use", {"a": 1}),
        ("text", "so!"),
    ]


def test_a_stream_that_refused_ends_in_a_refusal() -> None:
    chunks = [chunk_of({"refusal": "No"}), chunk_of({"refusal": "."}), chunk_of({}, "stop")]
    found = gathered(through(ChatToMessages(), chunks))
    assert (found["content"], found["stop_reason"]) == ([{"type": "text", "text": "No."}], "refusal")


def test_a_stream_that_said_nothing_still_has_its_frame() -> None:
    assert [event["type"] for event in ChatToMessages().end()] == ["message_start", "message_delta", "message_stop"]


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["type", "delta", "content_block", "message", "choices", "tool_calls", "function", "index",
                         "arguments", "usage", "text", "content", "reasoning_details", "input", "id"]),
        inner | st.sampled_from(["text", "tool_use", "text_delta", "input_json_delta", "content_block_start",
                                 "content_block_delta", "message_delta", "message_start"]),
        max_size=4,
    ),
)  # fmt: skip


@pytest.mark.slow
@given(st.lists(JSON, max_size=6), st.sampled_from([("chat", "messages"), ("messages", "chat")]))
def test_no_stream_and_no_answer_whatever_it_holds_breaks_the_passage(
    found: list[object], way: tuple[str, str]
) -> None:
    passage = Passage(*way, 1.0, wants_usage=True)
    for each in found:
        passage.feed(json.dumps(each).encode())
        answer(*way, json.dumps(each).encode(), 1.0)
    assert passage.end().endswith(b"data: [DONE]\n\n" if way[0] == "chat" else b'data: {"type":"message_stop"}\n\n')
