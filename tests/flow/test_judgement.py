"""When an answer will not do: each reason of `escalate`, for answers that came at once and as streams."""

from __future__ import annotations

import json

import pytest

from runtime.flow.judgement import Fault, fault
from runtime.wire.said import Said, of_answer, of_stream

ALL: tuple[Fault, ...] = ("truncated", "refused", "invalid json", "empty")


def judged(*said: Said, wants_json: bool = False, when: tuple[Fault, ...] = ALL) -> Fault | None:
    return fault(said, when, wants_json=wants_json)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Said("Paris."), None),
        (Said("Paris.", "stop"), None),
        (Said("Once upon a", "length"), "truncated"),
        (Said("x", "max_tokens"), "truncated"),
        (Said("x", "content_filter"), "refused"),
        (Said("", "stop", "I must not"), "refused"),
        (Said("I'm sorry, but I can't help with that.", "stop"), "refused"),
        (Said("I’m sorry, but I can’t assist with that request.", "stop"), "refused"),
        (Said("Unfortunately, I am unable to provide legal advice.", "stop"), "refused"),
        (Said("As an AI language model, I cannot write that.", "stop"), "refused"),
        (Said("I can't.", "stop"), "refused"),
        (Said("I can't believe how easy this is: 4.", "stop"), None),
        (Said("I cannot tell you how happy I am for you!", "stop"), None),
        (Said("I won't lie: this is hard.", "stop"), None),
        (Said("Sorry for the wait. The answer is 4.", "stop"), None),
        (Said("He wrote: I cannot help you.", "stop"), None),
        (Said("I can't help you with the old API. " + "The new one works like this. " * 30, "stop"), None),
        (Said(" \n ", "stop"), "empty"),
        (Said("", "stop"), "empty"),
        (Said("", "stop", is_more=True), None),
        (Said("", "tool_calls", arguments=['{"city": "Paris"}']), None),
        (Said("", "tool_calls", arguments=[""]), None),
        (Said("", "tool_calls", arguments=['{"city": ']), "invalid json"),
        (Said('{"a": ', "stop"), "invalid json"),
        (Said('{"a": 1}', "stop"), None),
    ],
)
def test_each_reason(said: Said, reason: Fault | None) -> None:
    assert judged(said) == reason
    assert judged(said, when=tuple(other for other in ALL if other != reason)) is None


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ('{"a": 1}', True), ("[1, 2]", True), ("3", True), (' \n{"a": "\\ud83d"}\n', True),
        ("Sure! Here it is", False), ('```json\n{"a": 1}\n```', False), ('{"a": NaN}', False), ("{'a': 1}", False),
        ("[" * 100_000, False),
    ],
)  # fmt: skip
def test_json_that_was_asked_for(text: str, good: bool) -> None:
    assert judged(Said(text, "stop"), wants_json=True) == (None if good else "invalid json")


def test_a_tool_call_is_no_broken_json() -> None:
    assert judged(Said("", "tool_calls", arguments=["{}"]), wants_json=True) is None


def test_one_choice_of_several_is_enough_and_none_is_empty() -> None:
    assert judged(Said("good", "stop"), Said("half", "length")) == "truncated"
    assert judged() == "empty"
    assert judged(when=("truncated",)) is None


def test_answers_and_streams_say_the_same() -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": '{"x": 1}'}}
    whole = {
        "choices": [
            {"index": 0, "finish_reason": "tool_calls", "message": {"content": "Hello", "tool_calls": [call, call]}},
            {
                "index": 1,
                "finish_reason": "stop",
                "message": {"content": [{"type": "text", "text": "a"}], "refusal": "b"},
            },
        ]
    }
    pieces = [
        (0, {"role": "assistant", "content": ""}, None), (0, {"content": "Hel"}, None),
        (1, {"content": "a"}, None), (0, {"content": "lo"}, None), (1, {"refusal": "b"}, "stop"),
        (0, {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": '{"x"'}}]}, None),
        (0, {"tool_calls": [{"index": 1, "function": {"name": "f", "arguments": '{"x": 1}'}}]}, None),
        (0, {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}, "tool_calls"),
    ]  # fmt: skip
    stream = b"".join(
        b"data: " + json.dumps({"choices": [{"index": i, "delta": delta, "finish_reason": reason}]}).encode() + b"\n\n"
        for i, delta, reason in pieces
    )
    expected = [
        Said("Hello", "tool_calls", arguments=['{"x": 1}', '{"x": 1}']),
        Said("a", "stop", "b"),
    ]
    assert of_answer(json.dumps(whole).encode()) == expected
    assert of_stream(stream + b": comment\n\ndata: [DONE]\n\n") == expected


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"choices": [{"text": "once", "finish_reason": "length"}]}', [Said("once", "length")]),
        (b'{"choices": [{"message": {"reasoning_content": "hm"}}]}', [Said(is_more=True)]),
        (b'{"choices": [{"message": {"function_call": {"name": "f", "arguments": "{}"}}}]}', [Said(arguments=["{}"])]),
        (b'{"choices": [{}]}', [Said()]),
        (b'{"choices": [3], "x": "\\ud83d"}', []),
        (b'{"choices": {}}', []), (b"[]", []), (b"<html>", []), (b"", []), (b"[" * 100_000, []),
    ],
)  # fmt: skip
def test_odd_answers(raw: bytes, said: list[Said]) -> None:
    assert of_answer(raw) == said
