"""Between Responses and chat: tables of what becomes what, and laws of going there and back."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.wire.translate import responses_answer as answers
from runtime.wire.translate import responses_request as requests
from runtime.wire.translate.loose import Dropped, InexpressibleError, Json, objects_of
from runtime.wire.translate.messages_stream import MessagesToChat
from runtime.wire.translate.responses_stream import ChatToResponses, ResponsesToChat
from runtime.wire.translate.translation import Passage, answer, obstacle, request
from tests.wire.translate.test_messages_answer import BLOCK_LISTS, CHAT_USAGE, events_of, joined, merged
from tests.wire.translate.test_messages_request import NESTED

USAGE = {
    "input_tokens": 33,
    "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 3},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 40,
}
SCHEMA = {"type": "object", "properties": {}}


def to_chat(**fields: object) -> tuple[Json, tuple[str, ...]]:
    dropped = Dropped()
    return requests.to_chat({"model": "m", "input": "Hi", **fields}, dropped), dropped.names


def from_chat(**fields: object) -> tuple[Json, tuple[str, ...]]:
    dropped = Dropped()
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}
    return requests.from_chat(body, dropped), dropped.names


def test_text_alone_is_the_users_message() -> None:
    assert to_chat() == ({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}, ())


BOTH = [
    ("limit", {"max_output_tokens": 9}, {"max_tokens": 9}),
    ("sampling", {"temperature": 1.5, "top_p": 0.5}, {"temperature": 1.5, "top_p": 0.5}),
    ("effort", {"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
    ("tools", {"tools": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": True}],
               "tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": False},
     {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}}],
      "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": False}),
    ("schema", {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True},
                         "verbosity": "low"}},
     {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
      "verbosity": "low"}),
    ("json", {"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
    ("user", {"user": "u", "prompt_cache_key": "k"}, {"user": "u", "prompt_cache_key": "k"}),
]  # fmt: skip


@pytest.mark.parametrize(("responses", "chat"), [case[1:] for case in BOTH], ids=[case[0] for case in BOTH])
def test_what_both_can_say_is_said_the_same_both_ways(responses: Json, chat: Json) -> None:
    made, dropped = to_chat(**responses)
    assert made == {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **chat}
    back, dropped_back = from_chat(**chat)
    turn = {"type": "message", "role": "user", "content": "Hi"}
    assert back == {"model": "m", "input": [turn], "store": False, **responses}
    assert dropped == dropped_back == ()


def test_tools_of_chat_stay_lax() -> None:
    made, _ = from_chat(tools=[{"type": "function", "function": {"name": "f"}}])
    assert made["tools"] == [{"type": "function", "name": "f", "parameters": None, "strict": False}]
    made, _ = to_chat(tools=[{"type": "function", "name": "f", "parameters": None, "strict": None}])
    assert made["tools"] == [{"type": "function", "function": {"name": "f"}}]


def test_nothing_comes_between_calls_and_their_results() -> None:
    def call(name: str) -> Json:
        return {"type": "function_call", "call_id": name, "name": "f", "arguments": "{}"}

    thought = {"type": "reasoning", "summary": [], "encrypted_content": "eHh4"}
    said = {"role": "assistant", "content": [{"type": "output_text", "text": "Looking."}]}
    results = [{"type": "function_call_output", "call_id": name, "output": "x"} for name in ("c1", "c2")]
    made, _ = to_chat(input=[thought, call("c1"), thought, call("c2"), said, *results])
    messages = objects_of(made["messages"])
    assert [message["role"] for message in messages] == ["assistant", "tool", "tool"]
    assert [c["id"] for c in objects_of(messages[0]["tool_calls"])] == ["c1", "c2"]
    assert (messages[0]["content"], len(objects_of(messages[0]["reasoning_details"]))) == ("Looking.", 2)


def test_a_thought_alone_is_no_message() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "eHh4"}
    body = {"model": "m", "input": [thought, {"role": "user", "content": "Hi"}, {"type": "reasoning", "summary": []}]}
    raw, dropped = request("responses", "chat", json.dumps(body).encode())
    assert json.loads(raw)["messages"] == [{"role": "user", "content": "Hi"}]
    assert dropped == ("thinking",)


def test_servers_of_chat_get_no_role_that_they_may_not_know() -> None:
    body = {"model": "m", "input": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}]}
    raw, dropped = request("responses", "chat", json.dumps(body).encode())
    assert [message["role"] for message in json.loads(raw)["messages"]] == ["system", "user"]
    assert dropped == ()


CONVERSATION: list[Json] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}}]},
    {"role": "assistant", "content": [{"type": "text", "text": "Looking."}, {"type": "text", "text": "Now."}],
     "reasoning_details": [
         {"type": "reasoning.encrypted", "data": "eHh4", "format": "openai-responses-v1", "id": "rs_1"}],
     "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
                    {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "c1", "content": "red"},
    {"role": "tool", "tool_call_id": "c2", "content": "blue"},
    {"role": "user", "content": "And now?"},
]  # fmt: skip


def test_a_conversation_survives_the_way_there_and_back() -> None:
    made, dropped = from_chat(messages=CONVERSATION)
    assert made["instructions"] == "Be brief."
    kinds = [item["type"] for item in objects_of(made["input"])]
    assert kinds == ["message", "reasoning", "message", "function_call", "function_call", "function_call_output",
                     "function_call_output", "message"]  # fmt: skip
    back, dropped_back = to_chat(**made)
    assert back["messages"] == CONVERSATION
    assert dropped == dropped_back == ()


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "input[0].content[0]"),
    ],
)
def test_what_chat_cannot_say_is_named(fields: Json, at: str) -> None:
    with pytest.raises(InexpressibleError) as caught:
        to_chat(**fields)
    assert caught.value.field == at


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"n": 2}, "n"),
        ({"stop": ["x"]}, "stop"),
        ({"logprobs": True}, "logprobs"),
        ({"messages": [{"role": "function"}]}, "messages[0].role"),
        ({"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": [{"type": "input_audio"}]}]},
         "messages[1].content[0]"),
    ],
)  # fmt: skip
def test_what_responses_cannot_say_is_named(fields: Json, at: str) -> None:
    with pytest.raises(InexpressibleError) as caught:
        from_chat(**fields)
    assert caught.value.field == at


def test_hints_are_left_out_and_told() -> None:
    assert to_chat(store=True, include=["reasoning.encrypted_content"], truncation="auto", metadata={"a": "b"})[1] == (
        "store", "truncation", "include",
    )  # fmt: skip
    assert to_chat(store=False, truncation="disabled")[1] == ()
    assert from_chat(seed=1, top_k=4)[1] == ("seed", "top_k")


def chat_answer(finish: str = "tool_calls") -> Json:
    message = {
        "role": "assistant",
        "content": "Looking.",
        "refusal": None,
        "reasoning": "Hm.",
        "reasoning_details": [
            {"type": "reasoning.text", "text": "Hm.", "format": "anthropic-claude-v1", "signature": "c2", "index": 0},
        ],
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    head = {"id": "gen-1", "object": "chat.completion", "created": 5, "model": "m"}
    return {**head, "choices": [choice], "usage": CHAT_USAGE}


def test_an_answer_survives_the_way_there_and_back() -> None:
    made = json.loads(answer("responses", "chat", json.dumps(chat_answer()).encode(), 0.0, b'{"instructions": "x"}'))
    assert made["usage"] == USAGE
    assert (made["id"], made["object"], made["status"], made["instructions"]) == (
        "resp_gen-1", "response", "completed", "x",
    )  # fmt: skip
    assert answers.to_chat(made) == chat_answer()


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_was_cut_short_is_incomplete(finish: str, reason: str) -> None:
    made = answers.from_chat(chat_answer(finish), {})
    assert made["status"] == "incomplete"
    assert made["incomplete_details"] == {"reason": reason}
    assert answers.to_chat(made)["choices"][0]["finish_reason"] == finish  # type: ignore[index]


def test_a_refusal_stays_one() -> None:
    chat = {"id": "x", "choices": [{"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]}
    back = answers.to_chat(answers.from_chat(chat, {}))
    assert back["choices"][0]["message"]["refusal"] == "No."  # type: ignore[index]


# --- streams --------------------------------------------------------------------------------------


def gathered(events: Sequence[Json]) -> Json:
    """Hold a stream to its order and its numbers; return its last response, which repeats all that was said."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    said: dict[object, str] = {}
    items: list[object] = []
    for event in events[2:-1]:
        place, kind = event["output_index"], str(event["type"])
        assert place == len(items)
        if kind.endswith(".delta"):
            said[place] = said.get(place, "") + str(event["delta"])
        elif kind.endswith((".output_text.done", ".reasoning_text.done")):
            assert said.get(place, "") == event["text"]
        elif kind.endswith("arguments.done"):
            assert said.get(place, "") == event["arguments"]
        elif kind == "response.output_item.done":
            items.append(event["item"])
    last = events[-1]["response"]
    assert isinstance(last, dict)
    assert last["output"] == items
    return last


@pytest.mark.slow
@given(BLOCK_LISTS, st.integers(1, 9))
def test_a_stream_survives_the_way_there_and_back(blocks: list[Json], cut: int) -> None:
    to_chat = MessagesToChat(5, wants_usage=True)
    chunks = [*(made for event in events_of(blocks, cut=cut) for made in to_chat.feed(event)), *to_chat.end()]
    there = ChatToResponses({}, 5)
    events = [*(made for chunk in chunks for made in there.feed(chunk)), *there.end()]
    last = gathered(events)
    back = ResponsesToChat(wants_usage=True)
    again = joined([*(made for event in events for made in back.feed(event)), *back.end()])
    before = joined(chunks)
    before["finish"] = "tool_calls" if before["calls"] else "stop"
    assert again == before
    assert last["usage"] == USAGE
    kinds = {"text": "message", "tool_use": "function_call", "thinking": "reasoning", "redacted_thinking": "reasoning"}
    assert [item["type"] for item in objects_of(last["output"])] == [kinds[str(b["type"])] for b in merged(blocks)]


WAYS = [("chat", "responses"), ("responses", "chat"), ("messages", "responses"), ("responses", "messages")]


@pytest.mark.slow
@given(st.lists(NESTED, max_size=5), st.sampled_from(WAYS))
def test_nothing_whatever_it_holds_breaks_a_translation(found: list[object], way: tuple[str, str]) -> None:
    passage = Passage(*way, 1.0, wants_usage=True)
    for each in found:
        passage.feed(json.dumps(each).encode())
        kind = {"type": "response.output_item.added", "item": each, "output_index": each, "delta": each}
        passage.feed(json.dumps(kind).encode())
        answer(*way, json.dumps({"output": each, "choices": each, "content": each}).encode(), 1.0)
        body = {"input": each, "messages": each, "tools": each, "text": each, "reasoning": each, "tool_choice": each}
        refused = obstacle(*way, json.dumps(body).encode())
        assert refused is None or refused.status == 400
    passage.end()
