"""Decoding what clients send and rewriting what goes out."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_dsl.fields import APIS
from runtime.wire.errors import Problem
from runtime.wire.request import ROUTER_ONLY, Body, Chat, Edits, decode, rewrite

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
LEAST = {
    "chat": CHAT,
    "messages": CHAT,
    "completions": {"model": "m", "prompt": "hi"},
    "responses": {"model": "m", "input": "hi"},
    "embeddings": {"model": "m", "input": "hi"},
}


def body(**fields: object) -> bytes:
    return json.dumps({**CHAT, **fields}).encode()


def refused(raw: bytes, api: str = "chat") -> Problem:
    found = decode(api, raw)
    assert isinstance(found, Problem), found
    assert found.status == 400
    assert found.type == "invalid_request_error"
    return found


def accepted(raw: bytes, api: str = "chat") -> Body:
    found = decode(api, raw)
    assert isinstance(found, Body), found
    return found


@pytest.mark.parametrize("api", APIS)
def test_the_least_body_of_every_interface_is_accepted(api: str) -> None:
    assert accepted(json.dumps(LEAST[api]).encode(), api).model == "m"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 3}, "model"),
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"messages": "hi"}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": [1]}, "messages[0]"),
        ({"messages": [None]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": 1}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [5]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": []}]}]},
            "messages[0].content[0].text",
        ),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": "1"}, "max_tokens"),
        ({"max_completion_tokens": True}, "max_completion_tokens"),
        ({"n": []}, "n"),
        ({"tools": {}}, "tools"),
        ({"user": 5}, "user"),
        ({"metadata": []}, "metadata"),
        ({"response_format": "json"}, "response_format"),
        ({"reasoning_effort": 3}, "reasoning_effort"),
    ],
)
def test_a_wrong_type_is_a_400_that_names_the_field(fields: dict[str, object], param: str) -> None:
    problem = refused(body(**fields))
    assert problem.param == param
    assert f"`{param}`" in problem.message


def test_a_missing_field_is_named() -> None:
    assert refused(b'{"messages":[{"role":"user","content":"hi"}]}').param == "model"
    assert refused(b'{"model":"m"}').param == "messages"
    assert refused(b'{"model":"m"}', "embeddings").param == "input"
    assert refused(b"{}").param == "messages"


def test_messages_speak_of_json_not_of_python() -> None:
    assert refused(body(model=3)).message == "`model` must be text, not a number"
    assert refused(body(stream="x")).message == "`stream` must be true or false, not text"
    assert refused(b"[]").message == "the request body must be an object, not a list"
    assert refused(body(messages=None)).message == "`messages` must be a list, not null"
    assert refused(body(n="x")).message == "`n` must be a number, not text"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"}",
        b"null",
        b"true",
        b'"x"',
        b"[]",
        b"{} trailing",
        b"\xff\xfe",
        b"\x00",
        b"\xef\xbb\xbf{}",
        b'{"model": NaN}',
        b'{"model": "m", "messages": [{"role": "user", "content": "\xff"}]}',
        b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "m", "messages": [{"role": "user", "content": "a\x00"}]}',
        b'{"model": "m", "temperature": 1e999, "messages": [{"role": "user"}]}',
        b'{"model": "m", "messages": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"model": "m", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 10_000,
        b'{"a":' * 10_000,
    ],
)
@pytest.mark.parametrize("api", APIS)
def test_what_is_not_a_proper_body_is_a_400(api: str, raw: bytes) -> None:
    refused(raw, api)


@pytest.mark.parametrize(
    "fields",
    [
        {
            "stream": None,
            "temperature": None,
            "tools": None,
            "user": None,
            "metadata": None,
            "max_tokens": None,
            "n": None,
        },
        {"stream_options": None, "response_format": None, "reasoning": None, "reasoning_effort": None},
        {"max_tokens": 100.0, "temperature": 1},
        {"seed": 10**24, "x": 1e300, "nested": [[[]]], "stop": None},
        {"messages": [{"role": "user"}, {"role": "assistant", "content": None, "tool_calls": [{"id": "x"}]}]},
        {"messages": [{"role": "user", "content": ["plain", {"type": "image_url", "image_url": {"url": "x"}}]}]},
        {"messages": [{"role": "user", "content": []}]},
        {"metadata": {"a": 1, "b": None, "c": {"d": []}}},
        {"tools": [{}, 1]},
        {"prompt": {"id": "of another interface"}, "input": 5, "system": 5, "text": "x"},
    ],
)
def test_what_clients_send_in_practice_is_accepted(fields: dict[str, object]) -> None:
    accepted(body(**fields))


def test_unknown_numbers_beyond_any_range_pass_through() -> None:
    raw = b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":1e999,"seed":123456789012345678901234}'
    accepted(raw)
    assert b'"x":1e999,"seed":123456789012345678901234' in rewrite(raw, Edits("n"))


def test_of_duplicate_keys_the_last_counts_for_router_and_provider_alike() -> None:
    raw = b'{"model":"a","messages":[{"role":"user","content":"x"}],"mod\\u0065l":"b","stream":false,"stream":true}'
    found = accepted(raw)
    assert (found.model, found.stream) == ("b", True)
    out = rewrite(raw, Edits("up"))
    assert out.count(b"model") == 1
    assert json.loads(out)["model"] == "up"
    assert json.loads(out)["stream"] is True


def test_the_anthropic_and_responses_shapes_are_accepted() -> None:
    anthropic = {
        "model": "claude",
        "max_tokens": 10,
        "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "image", "source": {}}, {"type": "text", "text": "x"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {"a": [1]}}]},
            {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "r"}]}]},
            {"role": "user", "content": [{"type": "web_search_tool_result", "content": {"type": "error"}}]},
        ],
        "metadata": {"user_id": "u"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    accepted(json.dumps(anthropic).encode(), "messages")
    responses = {
        "model": "gpt",
        "instructions": "be brief",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "x"}]},
            {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "1"},
            {"type": "function_call_output", "call_id": "1", "output": "r"},
            {"type": "computer_call_output", "output": {"type": "computer_screenshot"}},
            {"type": "reasoning", "summary": [], "content": None},
            {"type": "item_reference", "id": "x"},
        ],
        "text": {"format": {"type": "json_schema"}},
        "reasoning": {"effort": "low", "summary": "auto"},
    }
    accepted(json.dumps(responses).encode(), "responses")


def test_token_numbers_are_accepted_where_texts_are() -> None:
    for prompt in ("x", ["x", "y"], [1, 2], [[1, 2], [3]]):
        accepted(json.dumps({"model": "m", "prompt": prompt}).encode(), "completions")
        accepted(json.dumps({"model": "m", "input": prompt}).encode(), "embeddings")


TEXTS = st.text('aZ0 "\\\n\0é漢😀', max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS | st.sampled_from(("type", "role", "content", "text")), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = sorted(
    {name for api in APIS for name in msgspec.structs.asdict(accepted(json.dumps(LEAST[api]).encode(), api))}
)


@pytest.mark.slow
@given(st.sampled_from(APIS), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_any_json_in_any_field_gives_a_body_or_a_problem(api: str, fields: dict[str, Any]) -> None:
    raw = json.dumps({**LEAST[api], **fields}).encode()
    found = decode(api, raw)
    if isinstance(found, Problem):
        assert found.status == 400
        json.loads(found.to_bytes("openai"))
    else:
        sent = json.loads(rewrite(raw, Edits("up", include_usage=True)))
        assert sent["model"] == "up"
        kept = {name: value for name, value in {**LEAST[api], **fields}.items() if name not in ROUTER_ONLY}
        assert {**sent, "model": 0, "stream_options": 0} == {**kept, "model": 0, "stream_options": 0}


@given(st.sampled_from(APIS), st.binary(max_size=60))
def test_any_bytes_give_a_body_or_a_problem(api: str, raw: bytes) -> None:
    assert isinstance(decode(api, raw), Body | Problem)


# --- rewriting ------------------------------------------------------------------------------------


def rewritten(fields: dict[str, object], edits: Edits) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(rewrite(body(**fields), edits))
    return found


def test_values_that_no_edit_names_keep_their_bytes() -> None:
    raw = (
        b'{"model":"m","top_p": 1.50 ,"seed":123456789012345678901234,"stop":"\\u00e9\\/","x":{"b": 1,"a" :[ 1e5]},'
        b'"messages":[{"role":"user","content":"x"}]}'
    )
    out = rewrite(raw, Edits("up", cap=(("max_tokens", 5),)))
    for kept in (b'"top_p":1.50', b"123456789012345678901234", b'"\\u00e9\\/"', b'{"b": 1,"a" :[ 1e5]}'):
        assert kept in out


def test_router_only_fields_never_go_out() -> None:
    sent = rewritten(dict.fromkeys(ROUTER_ONLY, "x"), Edits("up"))
    assert set(sent) == {"model", "messages"}


def test_other_unknown_fields_go_out() -> None:
    assert rewritten({"top_k": 5, "reasoning": {"effort": "low"}}, Edits("up"))["top_k"] == 5


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"reasoning": {"effort": "low", "exclude": False, "summary": None}}, {"reasoning_effort": "low"}),
        ({"reasoning": {"enabled": True}}, {"reasoning_effort": "medium"}),
        ({"reasoning": {"enabled": False}}, {"reasoning_effort": "none"}),
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "high"}, {"reasoning_effort": "high"}),
        ({"reasoning": {}}, {}),
        ({"reasoning": None}, {}),
        ({"reasoning": {"effort": "low", "exclude": True}}, {"reasoning": {"effort": "low", "exclude": True}}),
        ({"reasoning": {"max_tokens": 500}}, {"reasoning": {"max_tokens": 500}}),
    ],
)
def test_reasoning_is_said_as_providers_of_chat_know_it(fields: dict[str, object], kept: dict[str, object]) -> None:
    sent = rewritten(fields, Edits("up", plain_effort=True))
    assert {name: value for name, value in sent.items() if name.startswith("reasoning")} == kept
    untouched = rewritten(fields, Edits("up"))
    assert {name: untouched[name] for name in fields} == fields


def test_usage_is_asked_for_only_when_streaming_and_other_options_stay() -> None:
    asks = Edits("up", include_usage=True)
    assert rewritten({"stream": True}, asks)["stream_options"] == {"include_usage": True}
    assert rewritten({"stream": True, "stream_options": None}, asks)["stream_options"] == {"include_usage": True}
    kept = {"include_usage": False, "include_obfuscation": False}
    assert rewritten({"stream": True, "stream_options": kept}, asks)["stream_options"] == {
        **kept,
        "include_usage": True,
    }
    assert "stream_options" not in rewritten({"stream": False}, asks)
    assert "stream_options" not in rewritten({}, asks)
    assert "stream_options" not in rewritten({"stream": True}, Edits("up"))


def test_whether_the_client_asked_for_usage_is_known() -> None:
    assert not accepted(body()).wants_usage
    assert not accepted(body(stream_options={})).wants_usage
    assert not accepted(body(stream_options={"include_usage": None})).wants_usage
    assert accepted(body(stream_options={"include_usage": True})).wants_usage


def test_a_cap_lowers_never_raises_and_bounds_what_was_not_sent() -> None:
    cap = Edits("up", cap=(("temperature", 0.5),))
    assert rewritten({"temperature": 1}, cap)["temperature"] == 0.5
    assert rewritten({"temperature": 0.2}, cap)["temperature"] == 0.2
    assert rewritten({}, cap)["temperature"] == 0.5
    assert rewritten({"temperature": None}, cap)["temperature"] == 0.5


def test_a_cap_on_the_answer_holds_under_whichever_name_the_client_sent() -> None:
    cap = Edits("up", cap=(("max_tokens", 100),))
    assert rewritten({"max_completion_tokens": 5000}, cap)["max_completion_tokens"] == 100
    assert "max_tokens" not in rewritten({"max_completion_tokens": 5}, cap)
    assert rewritten({"max_tokens": 50, "max_completion_tokens": 500}, cap)["max_completion_tokens"] == 100
    assert rewritten({"max_tokens": -1}, cap)["max_tokens"] == 100
    assert rewritten({}, cap)["max_tokens"] == 100


def test_edits_are_carried_out_as_drop_set_cap() -> None:
    edits = Edits("up", drop=("seed", "x"), set=(("x", 9), ("y", True), ("z", "t")), cap=(("x", 5),))
    sent = rewritten({"seed": 1, "x": 1}, edits)
    assert (sent["x"], sent["y"], sent["z"]) == (5, True, "t")
    assert "seed" not in sent


def test_setting_the_answer_limit_replaces_the_clients() -> None:
    sent = rewritten({"max_completion_tokens": 7}, Edits("up", set=(("max_tokens", 9),)))
    assert sent["max_completion_tokens"] == 9
    assert "max_tokens" not in sent


def test_no_edit_touches_model_and_stream() -> None:
    edits = Edits("up", drop=("model", "stream"), set=(("stream", False), ("model", "x")))
    sent = rewritten({"stream": True}, edits)
    assert (sent["model"], sent["stream"]) == ("up", True)
    assert "stream" not in rewritten({}, edits)


def test_chat_keeps_what_facts_need() -> None:
    found = accepted(body(functions=[{}], n=2))
    assert isinstance(found, Chat)
    assert found.choices == 2
