"""What a simulated provider answers, in OpenAI's shapes, and how it fails; no time passes in these tests."""

from __future__ import annotations

import asyncio
import base64
import json
from array import array
from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.dispatch.transport import Outgoing, Response, Transport, TransportError
from runtime.sim import words
from runtime.sim.transport import SimTransport

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello there, who are you?"}]


class Waits:
    """A sleep that takes no time and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)


def quiet() -> SimTransport:
    return SimTransport(Waits(), lambda: 1_700_000_000.0)


async def body_of(response: Response) -> bytes:
    found = b""
    while chunk := await response.read():
        found += chunk
    await response.aclose()
    return found


def post(body: object, url: str = "sim://test" + CHAT, transport: Transport | None = None) -> tuple[int, bytes]:
    async def run() -> tuple[int, bytes]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await (transport or quiet()).send(Outgoing("POST", url, (), raw))
        return response.status, await body_of(response)

    return asyncio.run(run())


def chat(**fields: object) -> dict[str, object]:
    return {"model": "sim-large", "messages": HELLO, **fields}


def answer(body: object, url: str = "sim://test" + CHAT) -> dict:
    status, raw = post(body, url)
    assert status == 200, raw
    return json.loads(raw)


def events(body: object, url: str = "sim://test" + CHAT) -> list[dict]:
    status, raw = post(body, url)
    assert status == 200, raw
    blocks = raw.decode().split("\n\n")
    assert blocks[-1] == ""
    assert blocks[-2] == "data: [DONE]"
    return [json.loads(block.removeprefix("data: ")) for block in blocks[:-2]]


def text_of(chunks: list[dict], index: int = 0) -> str:
    return "".join(
        choice["delta"].get("content") or ""
        for chunk in chunks
        for choice in chunk["choices"]
        if choice["index"] == index
    )


def test_a_chat_answer_has_openais_shape_and_says_who_answered() -> None:
    found = answer(chat())
    assert found["object"] == "chat.completion"
    assert found["model"] == "sim-large"
    assert found["created"] == 1_700_000_000
    assert found["id"].startswith("chatcmpl-")
    (choice,) = found["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["role"] == "assistant"
    assert "sim-large at the simulated provider test" in choice["message"]["content"]
    assert "Hello there, who are you?" in choice["message"]["content"]
    usage = found["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] == len(words.tokens(choice["message"]["content"]))


def test_a_stream_says_the_same_as_a_whole_answer() -> None:
    whole = answer(chat())["choices"][0]["message"]["content"]
    chunks = events(chat(stream=True))
    assert text_of(chunks) == whole
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert all("usage" not in chunk for chunk in chunks)


def test_usage_comes_in_a_chunk_of_its_own_when_asked_for() -> None:
    chunks = events(chat(stream=True, stream_options={"include_usage": True}))
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == answer(chat())["usage"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


def test_the_same_question_gets_the_same_words_and_a_new_id() -> None:
    transport = quiet()
    first, second = (json.loads(post(chat(), transport=transport)[1]) for _ in range(2))
    assert first["choices"] == second["choices"]
    assert first["id"] != second["id"]


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_limit_cuts_the_answer_and_says_so(field: str, stream: bool) -> None:
    if stream:
        chunks = events(chat(stream=True, **{field: 5}))
        assert chunks[-1]["choices"][0]["finish_reason"] == "length"
        assert len(words.tokens(text_of(chunks))) == 5
    else:
        found = answer(chat(**{field: 5}))
        assert found["choices"][0]["finish_reason"] == "length"
        assert found["usage"]["completion_tokens"] == 5


def test_several_choices() -> None:
    found = answer(chat(n=3))
    assert [choice["index"] for choice in found["choices"]] == [0, 1, 2]
    chunks = events(chat(n=3, stream=True))
    for choice in found["choices"]:
        assert text_of(chunks, choice["index"]) == choice["message"]["content"]
    assert Counter(c["choices"][0]["finish_reason"] for c in chunks)["stop"] == 3


@pytest.mark.parametrize("stop", ["simulated", ["never said", "simulated"]])
def test_a_stop_sequence_ends_the_answer_before_it(stop: object) -> None:
    choice = answer(chat(stop=stop))["choices"][0]
    assert choice["message"]["content"] == "This is sim-large at the"
    assert choice["finish_reason"] == "stop"


TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
        },
    },
}
OTHER = {"type": "function", "function": {"name": "other"}}


@pytest.mark.parametrize(
    ("tool_choice", "question", "expected"),
    [
        ("required", "hi", "get_weather"),
        ({"type": "function", "function": {"name": "other"}}, "hi", "other"),
        ("auto", "please call get_weather for me", "get_weather"),
        (None, "please call other", "other"),
        ("auto", "hi", None),
        ("none", "call get_weather", None),
    ],
)
def test_when_a_tool_is_called(tool_choice: object, question: str, expected: str | None) -> None:
    fields = {"tools": [TOOL, OTHER], "messages": [{"role": "user", "content": question}]}
    found = answer(chat(**fields) | ({"tool_choice": tool_choice} if tool_choice else {}))["choices"][0]
    if expected is None:
        assert found["finish_reason"] == "stop"
        assert "tool_calls" not in found["message"]
    else:
        (call,) = found["message"]["tool_calls"]
        assert found["finish_reason"] == "tool_calls"
        assert found["message"]["content"] is None
        assert call["function"]["name"] == expected


def test_a_tool_call_fills_its_schema_streamed_or_not() -> None:
    body = chat(tools=[TOOL], tool_choice="required")
    (call,) = answer(body)["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": HELLO[0]["content"], "days": 1, "unit": "C"}
    pieces = [
        part
        for chunk in events(body | {"stream": True})
        for c in chunk["choices"]
        for part in c["delta"].get("tool_calls", ())
    ]
    assert pieces[0]["id"].startswith("call_")
    assert pieces[0]["function"]["name"] == "get_weather"
    assert "".join(piece["function"]["arguments"] for piece in pieces) == call["function"]["arguments"]


def test_a_tools_result_is_answered_with_words() -> None:
    messages = [*HELLO, {"role": "assistant", "content": None}, {"role": "tool", "content": "21"}]
    found = answer(chat(messages=messages, tools=[TOOL], tool_choice="required"))
    assert found["choices"][0]["finish_reason"] == "stop"


def test_json_answers_are_json() -> None:
    found = answer(chat(response_format={"type": "json_object"}))
    assert json.loads(found["choices"][0]["message"]["content"])["model"] == "sim-large"


def test_a_schema_is_followed() -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "minimum": 18},
            "nick": {"anyOf": [{"type": "null"}, {"type": "string"}]},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
            "ok": {"type": ["null", "boolean"]},
        },
        "$defs": {"tag": {"type": "object", "properties": {"self": {"$ref": "#/$defs/tag"}, "v": {"const": 7}}}},
    }
    found = answer(chat(response_format={"type": "json_schema", "json_schema": {"name": "p", "schema": schema}}))
    value = json.loads(found["choices"][0]["message"]["content"])
    assert (value["name"], value["age"], value["nick"], value["ok"]) == ("simulated", 18, "simulated", True)
    assert value["tags"][0]["v"] == 7


def test_completions() -> None:
    found = answer({"model": "m", "prompt": "Once upon"}, "sim://test/v1/completions")
    assert found["object"] == "text_completion"
    assert "Once upon" in found["choices"][0]["text"]
    chunks = events({"model": "m", "prompt": "Once upon", "stream": True}, "sim://test/v1/completions")
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == found["choices"][0]["text"]
    both = answer({"model": "m", "prompt": ["a", "b"], "n": 2}, "sim://test/v1/completions")
    assert [choice["index"] for choice in both["choices"]] == [0, 1, 2, 3]


def test_embeddings_are_unit_vectors_that_depend_on_the_text() -> None:
    url = "sim://test/v1/embeddings"
    found = answer({"model": "e", "input": ["a", "b", "a"], "dimensions": 8}, url)
    one, two, three = (row["embedding"] for row in found["data"])
    assert one == three != two
    assert sum(x * x for x in one) == pytest.approx(1.0, abs=1e-5)
    packed = answer({"model": "e", "input": "a", "dimensions": 8, "encoding_format": "base64"}, url)["data"][0]
    assert array("f", base64.b64decode(packed["embedding"])).tolist() == one


def test_models() -> None:
    async def run() -> bytes:
        return await body_of(await quiet().send(Outgoing("GET", "sim://test/v1/models", (), b"")))

    assert json.loads(asyncio.run(run()))["data"][0]["owned_by"] == "test"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (chat(), "chat.completion"),
        ({"model": "m", "prompt": "x"}, "text_completion"),
        ({"model": "m", "input": "x"}, "list"),
    ],
)
def test_without_a_path_the_body_tells_the_interface(body: Mapping[str, object], kind: str) -> None:
    assert answer(body, "sim://?ttft=0s")["object"] == kind


@pytest.mark.parametrize(
    ("url", "body", "status"),
    [
        ("sim://x/v1/chat/completions", b"{", 400),
        ("sim://x/v1/chat/completions", b"\xff\xfe", 400),
        ("sim://x/v1/chat/completions", b"[" * 5000, 400),
        ("sim://x/v1/chat/completions", b'{"messages": [{"role": "user", "content": "\\ud800"}]}', 400),
        ("sim://x/v1/chat/completions", {"model": "m"}, 400),
        ("sim://x/v1/chat/completions", {"model": "m", "messages": "hi"}, 400),
        ("sim://x", {"model": "m"}, 404),
        ("sim://x/v1/audio", {"model": "m"}, 404),
    ],
)
def test_what_it_cannot_read_it_refuses_in_openais_shape(url: str, body: object, status: int) -> None:
    found, raw = post(body, url)
    assert found == status
    assert set(json.loads(raw)["error"]) == {"message", "type", "param", "code"}


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(["type", "$ref", "anyOf", "items", "properties", "enum", "const"]), st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=5), st.sampled_from(["object", "array", "#", "#/a"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)))  # fmt: skip
def test_any_schema_is_filled_with_something_json_can_say(schema: dict[str, object]) -> None:
    json.dumps(words.fill(schema, "x"))


# --- pace -----------------------------------------------------------------------------------------


def test_the_pace_is_the_stated_one() -> None:
    waits = Waits()
    _, raw = post(chat(stream=True, max_tokens=21), "sim://x/chat/completions?ttft=300ms&speed=10", SimTransport(waits))
    assert raw.endswith(b"[DONE]\n\n")
    assert waits.asked[0] == 0.3
    assert sum(waits.asked[1:]) == pytest.approx(20 / 10)
    assert len(waits.asked) == 21


def test_a_whole_answer_takes_as_long_as_its_stream() -> None:
    waits = Waits()
    post(chat(max_tokens=21), "sim://x/chat/completions?ttft=300ms&speed=10", SimTransport(waits))
    assert sum(waits.asked) == pytest.approx(0.3 + 20 / 10)


def test_a_fast_model_sends_several_tokens_at_a_time() -> None:
    waits = Waits()
    post(chat(stream=True, max_tokens=40), "sim://x/chat/completions?ttft=0s&speed=1000", SimTransport(waits))
    assert len(waits.asked) <= 6
    assert sum(waits.asked) == pytest.approx(39 / 1000)


def test_jitter_moves_the_first_token_within_its_share() -> None:
    waits = Waits()
    transport = SimTransport(waits)
    for _ in range(50):
        post(chat(max_tokens=1), "sim://x/chat/completions?ttft=100ms&jitter=50%", transport)
    assert min(waits.asked) >= 0.05
    assert max(waits.asked) <= 0.15
    assert len(set(waits.asked)) == 50


# --- failures -------------------------------------------------------------------------------------


def outcomes(url: str, count: int, stream: bool) -> list[str]:
    transport = quiet()

    async def one() -> str:
        try:
            response = await transport.send(Outgoing("POST", url, (), json.dumps(chat(stream=stream)).encode()))
        except TransportError as error:
            return error.kind
        if response.status != 200:
            waits = dict(response.headers).get(b"retry-after")
            return f"{response.status}{' after ' + waits.decode() if waits else ''}"
        body = b""
        try:
            while chunk := await response.read():
                body += chunk
        except TransportError as error:
            content = text_of([json.loads(e[6:]) for e in body.decode().split("\n\n") if e]) if stream else ""
            return f"{error.kind} {'with' if content else 'without'} content"
        return "whole"

    async def run() -> list[str]:
        return [await one() for _ in range(count)]

    return asyncio.run(run())


def test_failures_come_in_the_stated_share_and_before_any_content() -> None:
    found = Counter(outcomes("sim://?fail=20%&seed=1", 500, stream=True))
    assert set(found) == {"whole", "503", "429 after 1", "lost", "lost without content"}
    assert 70 <= 500 - found["whole"] <= 130
    assert all(found[kind] >= 10 for kind in found)


def test_cut_answers_break_off_after_content() -> None:
    found = Counter(outcomes("sim://?cut=10%&seed=1", 200, stream=True))
    assert set(found) == {"whole", "lost with content"}
    assert 8 <= found["lost with content"] <= 35


def test_a_cut_whole_answer_is_lost_not_short() -> None:
    assert set(outcomes("sim://?cut=100%", 5, stream=False)) == {"lost without content"}


def test_the_sequence_of_failures_is_the_seeds_and_each_address_has_its_own() -> None:
    first, again, other = (outcomes(f"sim://?fail=50%&seed={seed}", 40, stream=True) for seed in (1, 1, 2))
    assert first == again != other


def test_a_provider_that_is_down_refuses_every_connection() -> None:
    with pytest.raises(TransportError) as caught:
        post(chat(), "sim://?down")
    assert (caught.value.kind, caught.value.sent) == ("connect", False)


def test_a_senseless_address_is_a_failed_connection() -> None:
    with pytest.raises(TransportError, match="no parameter `colour`"):
        post(chat(), "sim://?colour=red")
