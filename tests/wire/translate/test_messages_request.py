"""Requests between Messages and chat: tables of what becomes what, and laws of going there and back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.wire.translate import messages_from_chat
from runtime.wire.translate import messages_request as requests
from runtime.wire.translate.loose import Dropped, InexpressibleError, Json, encoded
from runtime.wire.translate.translation import obstacle, request

PNG = "data:image/png;base64,iVBORw0KGgo="


def to_chat(**fields: object) -> tuple[Json, tuple[str, ...]]:
    dropped = Dropped()
    body = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return requests.to_chat(body, dropped), dropped.names


def from_chat(**fields: object) -> tuple[Json, tuple[str, ...]]:
    dropped = Dropped()
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}
    return json.loads(encoded(messages_from_chat.from_chat(body, dropped, 4096))), dropped.names


TOOL_CHAT = {
    "type": "function",
    "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}},
}
TOOL_MESSAGES = {"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {}}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}

BOTH = [
    ("plain", {}, {}),
    ("system", {"system": "Be brief."}, {"messages": [{"role": "system", "content": "Be brief."}]}),
    ("stop", {"stop_sequences": ["a", "b"]}, {"stop": ["a", "b"]}),
    ("sampling", {"temperature": 0.5, "top_p": 0.9, "top_k": 5}, {"temperature": 0.5, "top_p": 0.9, "top_k": 5}),
    ("user", {"metadata": {"user_id": "u1"}}, {"user": "u1"}),
    ("tools", {"tools": [TOOL_MESSAGES]}, {"tools": [TOOL_CHAT]}),
    ("any", {"tools": [TOOL_MESSAGES], "tool_choice": {"type": "any"}},
     {"tools": [TOOL_CHAT], "tool_choice": "required"}),
    ("none", {"tools": [TOOL_MESSAGES], "tool_choice": {"type": "none"}},
     {"tools": [TOOL_CHAT], "tool_choice": "none"}),
    ("named", {"tools": [TOOL_MESSAGES], "tool_choice": {"type": "tool", "name": "look"}},
     {"tools": [TOOL_CHAT], "tool_choice": {"type": "function", "function": {"name": "look"}}}),
    ("one at a time", {"tools": [TOOL_MESSAGES], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
     {"tools": [TOOL_CHAT], "tool_choice": "auto", "parallel_tool_calls": False}),
    ("schema", {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
     {"response_format": {"type": "json_schema",
                          "json_schema": {"name": "output", "schema": SCHEMA, "strict": True}}}),
    ("no thinking", {"thinking": {"type": "disabled"}}, {"reasoning_effort": "none"}),
    ("effort", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}, {"reasoning_effort": "high"}),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "chat"), [case[1:] for case in BOTH], ids=[case[0] for case in BOTH])
def test_what_both_can_say_is_said_the_same_both_ways(messages: Json, chat: Json) -> None:
    turns = [{"role": "user", "content": "Hi"}]
    system = chat.get("messages", [])
    assert isinstance(system, list)
    in_chat = {"model": "m", "max_tokens": 100, **chat, "messages": [*system, *turns]}
    in_messages = {"model": "m", "max_tokens": 100, "messages": turns, **messages}
    assert to_chat(**messages) == (in_chat, ())
    assert from_chat(**in_chat) == (in_messages, ())


CONVERSATIONS = [
    ("pictures", {"role": "user", "content": [
        {"type": "text", "text": "What is this?"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}]},
     [{"role": "user", "content": [
         {"type": "text", "text": "What is this?"},
         {"type": "image_url", "image_url": {"url": PNG}},
         {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]}]),
    ("a document", {"role": "user", "content": [
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
         "title": "a.pdf"}]},
     [{"role": "user", "content": [
         {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}]}]),
    ("calls in parallel", {"role": "assistant", "content": [
        {"type": "text", "text": "Looking."},
        {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "x"}},
        {"type": "tool_use", "id": "c2", "name": "look", "input": {}}]},
     [{"role": "assistant", "content": "Looking.", "tool_calls": [
         {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at":"x"}'}},
         {"id": "c2", "type": "function", "function": {"name": "look", "arguments": "{}"}}]}]),
    ("results and a word more", {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "c1", "content": "red"},
        {"type": "tool_result", "tool_use_id": "c2", "content": "blue"},
        {"type": "text", "text": "And now?"}]},
     [{"role": "tool", "tool_call_id": "c1", "content": "red"},
      {"role": "tool", "tool_call_id": "c2", "content": "blue"},
      {"role": "user", "content": [{"type": "text", "text": "And now?"}]}]),
    ("signed thoughts", {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "eHh4"},
        {"type": "text", "text": "Yes."}]},
     [{"role": "assistant", "content": "Yes.", "reasoning_details": [
         {"type": "reasoning.text", "text": "Hm.", "format": "anthropic-claude-v1", "signature": "c2ln"},
         {"type": "reasoning.encrypted", "data": "eHh4", "format": "anthropic-claude-v1"}]}]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "chat"), [case[1:] for case in CONVERSATIONS], ids=[case[0] for case in CONVERSATIONS]
)
def test_a_conversation_survives_the_way_there_and_back(message: Json, chat: list[Json]) -> None:
    made, dropped = to_chat(messages=[message])
    back, dropped_back = from_chat(messages=made["messages"])
    assert back["messages"] == [message]
    assert dropped == dropped_back == ()
    if len(chat) == 1:
        assert made["messages"] == chat
        assert from_chat(messages=chat)[0]["messages"] == [message]
    else:
        assert from_chat(messages=chat)[0]["messages"] == [message]


def test_pictures_in_a_tools_result_follow_it_as_the_users() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "here"}, picture]}
    made, _ = to_chat(messages=[{"role": "user", "content": [result]}])
    assert made["messages"] == [
        {"role": "tool", "tool_call_id": "c1", "content": "here"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}}]},
    ]


def test_system_text_in_parts_keeps_its_cache_marks() -> None:
    system = [{"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "x"}]
    made, _ = to_chat(system=system)
    assert made["messages"][0] == {"role": "system", "content": system}  # type: ignore[index]
    assert from_chat(messages=made["messages"])[0]["system"] == system


def test_a_strict_server_gets_neither_cache_marks_nor_thoughts_of_another_model() -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm", "signature": "s"},
                                          {"type": "text", "text": "Yes"}]},
        {"role": "user", "content": "Go on"}]}  # fmt: skip
    raw, dropped = request("messages", "chat", json.dumps(body).encode())
    assert json.loads(raw)["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": "Go on"},
    ]
    assert dropped == ("cache_control", "thinking")


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"mcp_servers": [{}]}, "mcp_servers"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "search_result"}]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]}]},
            "messages[0].content[0]",
        ),
        ({"messages": [{"role": "assistant", "content": [{"type": "server_tool_use"}]}]}, "messages[0].content[0]"),
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
        ({"logprobs": True}, "logprobs"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tools": [{"type": "custom"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
         "messages[0].content[0]"),
    ],
)  # fmt: skip
def test_what_anthropic_cannot_say_is_named(fields: Json, at: str) -> None:
    with pytest.raises(InexpressibleError) as caught:
        from_chat(**fields)
    assert caught.value.field == at
    found = obstacle("chat", "messages", json.dumps({"model": "m", "messages": [], **fields}).encode())
    assert found is not None
    assert (found.status, found.param) == (400, at)


def test_hints_are_left_out_and_told() -> None:
    made, dropped = from_chat(seed=1, frequency_penalty=0.5, logit_bias={}, temperature=1.5, store=None, whatever=1)
    assert dropped == ("temperature above 1", "seed", "frequency_penalty", "logit_bias", "whatever")
    assert made["temperature"] == 1
    assert to_chat(context_management={})[1] == ("context_management",)


def test_the_limit_that_anthropic_insists_on_is_the_clients_or_the_default() -> None:
    assert from_chat()[0]["max_tokens"] == 4096
    assert from_chat(max_completion_tokens=7, max_tokens=9)[0]["max_tokens"] == 7
    assert from_chat(max_tokens=-1)[0]["max_tokens"] == 4096


def test_a_budget_for_thinking_becomes_an_effort_and_fits_into_the_limit() -> None:
    for budget, effort in ((100, "minimal"), (300, "low"), (500, "medium"), (800, "high"), (990, "xhigh")):
        made, _ = to_chat(max_tokens=1000, thinking={"type": "enabled", "budget_tokens": budget})
        assert made["reasoning_effort"] == effort
    made, _ = from_chat(max_tokens=1000, reasoning={"max_tokens": 2000})
    assert made["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert made["max_tokens"] == 3000


def test_sampling_that_anthropic_refuses_beside_thinking_is_left_out() -> None:
    made, dropped = from_chat(reasoning_effort="low", temperature=0, top_p=0.5, top_k=3)
    assert dropped == ("temperature", "top_p", "top_k")
    assert not {"temperature", "top_p", "top_k"} & made.keys()
    assert from_chat(reasoning_effort="low", temperature=1, top_p=0.99)[1] == ()
    assert from_chat(reasoning_effort="none", temperature=0)[0]["temperature"] == 0


def test_effort_is_left_out_where_anthropic_would_refuse_the_request_for_it() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    thought = {"type": "reasoning.text", "text": "Hm", "signature": "c2", "format": "anthropic-claude-v1"}
    result = {"role": "tool", "tool_call_id": "c1", "content": "red"}

    def asked(**more: object) -> tuple[object, tuple[str, ...]]:
        answer = {"role": "assistant", "content": None, "tool_calls": [call], **more}
        turns = [{"role": "user", "content": "Hi"}, answer, result]
        made, dropped = from_chat(messages=turns, tools=[TOOL_CHAT], reasoning_effort="low")
        return made.get("thinking"), dropped

    assert asked() == (None, ("reasoning_effort",)), "a call without its thoughts cannot be gone on from with thinking"
    assert asked(reasoning_details=[thought]) == ({"type": "adaptive"}, ())
    made, dropped = from_chat(tools=[TOOL_CHAT], tool_choice="required", reasoning={"max_tokens": 2000})
    assert (made.get("thinking"), dropped) == (None, ("reasoning",))


def test_arguments_that_are_no_object_are_wrapped_and_unwrapped() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": '}}
    made, _ = from_chat(messages=[{"role": "assistant", "content": None, "tool_calls": [call]}])
    assert made["messages"][0]["content"][0]["input"] == {"INVALID_JSON": '{"a": '}  # type: ignore[index]
    assert to_chat(messages=made["messages"])[0]["messages"][0]["tool_calls"] == [call]  # type: ignore[index]


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=8)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))


@pytest.mark.slow
@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
def test_arguments_keep_their_bytes_on_the_way_to_anthropic(arguments: Json) -> None:
    text = json.dumps(arguments, ensure_ascii=False, indent=1)
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": text}}
    body = {"model": "m", "messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    raw, _ = request("chat", "messages", json.dumps(body).encode())
    assert text.encode() in raw


FIELDS = st.sampled_from(
    ["role", "type", "content", "text", "source", "image_url", "url", "file", "tool_calls", "function", "arguments",
     "name", "tool_use_id", "reasoning_details", "input", "format", "data", "is_error"]
)  # fmt: skip
WORDS = st.sampled_from(
    ["user", "assistant", "tool", "system", "text", "image", "image_url", "tool_use", "tool_result", "thinking", "url",
     "base64", "document", "function", "json_schema", "adaptive", "enabled", "auto", "", "{}", "reasoning.text"]
)  # fmt: skip
NESTED = st.recursive(
    SCALARS | WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS | WORDS, inner, max_size=4)
)
TOP = st.sampled_from(
    ["messages", "system", "tools", "tool_choice", "thinking", "output_config", "output_format", "metadata", "stop",
     "stop_sequences", "max_tokens", "n", "response_format", "reasoning", "reasoning_effort", "temperature", "user",
     "parallel_tool_calls", "modalities", "service_tier", "stream_options"]
)  # fmt: skip


@pytest.mark.slow
@given(st.dictionaries(TOP, NESTED, max_size=5), st.sampled_from([("messages", "chat"), ("chat", "messages")]))
def test_no_request_whatever_it_holds_is_more_than_refused(body: Json, way: tuple[str, str]) -> None:
    raw = json.dumps(body).encode()
    if (found := obstacle(*way, raw)) is not None:
        assert found.status == 400
        assert found.param


def test_thoughts_that_nobody_signed_are_taken_out_of_a_body_for_anthropic() -> None:
    thought = {"type": "thinking", "thinking": "Hm", "signature": ""}
    signed = {"type": "thinking", "thinking": "Hm", "signature": "c2ln"}
    text = {"type": "text", "text": "Yes"}
    body: Json = {"model": "m", "messages": [{"role": "assistant", "content": [thought, signed, text]}, "odd"]}
    assert requests.signed(body)["messages"] == [{"role": "assistant", "content": [signed, text]}, "odd"]
