"""Reading a whole answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.wire import unary
from runtime.wire.unary import Answer, read
from runtime.wire.usage import Usage


def answer(message: object, finish: object = "stop", **top: object) -> Answer:
    return read(json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": finish}], **top}).encode())


def test_a_plain_answer_is_read() -> None:
    found = answer({"role": "assistant", "content": "hi"}, usage={"prompt_tokens": 5, "completion_tokens": 3})
    assert found == Answer(False, False, "stop", False, "hi", Usage(5, 3), None)


@pytest.mark.parametrize(
    "message", [{"tool_calls": [{}]}, {"refusal": "no"}, {"reasoning": "x"}, {"audio": {"id": "x"}}]
)
def test_what_is_not_text_is_not_empty_either(message: object) -> None:
    assert not answer(message).is_empty


@pytest.mark.parametrize(
    "message", [{}, None, {"content": ""}, {"content": None, "tool_calls": []}, {"role": "assistant"}, 5]
)
def test_an_answer_with_nothing_for_the_reader_is_empty(message: object) -> None:
    assert answer(message).is_empty


def test_any_of_several_choices_makes_it_full() -> None:
    raw = json.dumps({"choices": [{"message": {}}, {"message": {"content": "x"}}]}).encode()
    assert not read(raw).is_empty


def test_refusals_are_told() -> None:
    assert answer({"refusal": "no"}).refused
    assert answer({"content": "x"}, "content_filter").refused
    assert not answer({"content": "x", "refusal": None}).refused


def test_the_other_interfaces_are_not_empty() -> None:
    assert not read(b'{"data":[{"embedding":[1]}]}').is_empty
    assert not read(b'{"output":[{"type":"message"}]}').is_empty
    completion = read(b'{"choices":[{"text":"x","finish_reason":"length"}]}')
    assert (completion.is_empty, completion.text, completion.finish_reason) == (False, "x", "length")
    assert read(b'{"choices":[]}').is_empty


def test_an_error_in_a_200_is_an_error() -> None:
    assert read(b'{"error":{"message":"x"}}').error == {"message": "x"}
    assert answer({}, "error").error is not None
    assert answer({"content": "x"}, error=None).error is None


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b"5", b"null", b"{", b"\xff", b"[" * 50_000])
def test_what_is_not_a_json_object_is_malformed(raw: bytes) -> None:
    assert read(raw).malformed


def test_half_an_emoji_is_no_reason_to_lose_an_answer() -> None:
    assert not read(b'{"choices":[{"message":{"content":"\\ud83d"}}]}').malformed


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("aé", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ("choices", "message", "content", "finish_reason", "usage", "prompt_tokens", "error", "data")
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(JSON)
def test_any_json_is_survived(value: Any) -> None:
    found = read(json.dumps(value).encode())
    assert found.malformed == (not isinstance(value, dict))


COUNT = st.integers(-1, 5) | st.none() | st.just(1.5) | st.just(10**15)
DETAILS = st.none() | st.dictionaries(st.sampled_from(("cached_tokens", "reasoning_tokens")), COUNT, max_size=2)
USAGE = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": COUNT,
        "completion_tokens": COUNT,
        "input_tokens": COUNT,
        "cached_tokens": COUNT,
        "prompt_cache_hit_tokens": COUNT,
        "prompt_tokens_details": DETAILS,
        "completion_tokens_details": DETAILS,
        "output_tokens_details": DETAILS,
    },
)
MESSAGE: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "content": st.sampled_from(("hi", "", None, "\ud83d", "é", [])),
        "refusal": st.sampled_from((None, "", "no")),
        "tool_calls": st.sampled_from((None, [], [{}])),
    },
)
CHOICE = st.fixed_dictionaries(
    {"message": MESSAGE | st.none()},
    optional={"finish_reason": st.sampled_from(("stop", "", None, "error", "content_filter", 5))},
)
NEARLY_USUAL = st.fixed_dictionaries(
    {"choices": st.lists(CHOICE, max_size=2)},
    optional={"usage": USAGE | st.none(), "error": st.sampled_from((None, {}, "no"))},
)


@given(NEARLY_USUAL)
def test_what_is_usual_is_read_like_everything_else(value: object) -> None:
    raw = json.dumps(value).encode()
    assert read(raw) == unary._take_apart(raw)
