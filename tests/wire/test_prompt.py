"""One shape of a prompt for every interface."""

from __future__ import annotations

import json

from runtime.wire.prompt import Prompt, read
from runtime.wire.request import Body, decode


def prompt(api: str, **fields: object) -> Prompt:
    body = decode(api, json.dumps({"model": "m", **fields}).encode())
    assert isinstance(body, Body), body
    return read(body)


def user(*parts: object) -> dict[str, object]:
    return {"role": "user", "content": list(parts)}


TEXT = {"type": "text", "text": "a"}


def test_a_chat_is_read_by_role() -> None:
    found = prompt(
        "chat",
        messages=[
            {"role": "system", "content": "be brief"},
            {"role": "developer", "content": [{"type": "text", "text": "be kind"}]},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "x"}]},
            {"role": "tool", "content": "result"},
            {"role": "user", "content": [{"type": "text", "text": "two"}, "three"]},
            {"role": "assistant", "content": "four"},
        ],
    )
    assert found.system == "be brief\nbe kind"
    assert found.texts == ["be brief", "be kind", "one", "", "result", "two\nthree", "four"]
    assert (found.first, found.last, found.turns) == ("one", "two\nthree", 5)
    assert found.structured_bytes == len('[{"id":"x"}]') + 1  # as sent, with its white space


def test_parts_that_are_not_text_are_counted() -> None:
    found = prompt(
        "chat",
        messages=[
            user(
                TEXT, {"type": "image_url", "image_url": {"url": "x"}}, {"type": "image_url", "image_url": {"url": "y"}}
            ),
            user({"type": "input_audio", "input_audio": {}}, {"type": "file", "file": {}}, {"type": "unheard_of"}),
        ],
    )
    assert (found.images, found.audio, found.files, found.last) == (2, 1, 1, "")


def test_anthropics_messages_are_read_with_their_tools_results() -> None:
    found = prompt(
        "messages",
        system=[{"type": "text", "text": "s"}],
        messages=[
            user(TEXT, {"type": "image", "source": {}}, {"type": "document", "source": {}}),
            {"role": "assistant", "content": [{"type": "tool_use", "input": {"a": 1}}]},
            user({"type": "tool_result", "content": [{"type": "text", "text": "r"}, {"type": "image", "source": {}}]}),
            user({"type": "tool_result", "content": "plain"}),
        ],
    )
    assert found.system == "s"
    assert found.texts == ["s", "a", "", "r", "plain"]
    assert (found.last, found.images, found.files, found.turns) == ("a", 2, 1, 4)
    assert found.structured_bytes == len('{"a": 1}')


def test_responses_are_read_from_text_or_items() -> None:
    plain = prompt("responses", input="hi", instructions="be brief")
    assert (plain.system, plain.texts, plain.last, plain.turns) == ("be brief", ["be brief", "hi"], "hi", 1)
    found = prompt(
        "responses",
        input=[
            {"role": "developer", "content": "d"},
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "x"}],
            },
            {"type": "function_call", "name": "f", "arguments": '{"x":1}'},
            {"type": "function_call_output", "output": "r"},
            {"type": "reasoning", "summary": []},
            {"type": "computer_call_output", "output": {"type": "computer_screenshot"}},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
        ],
    )
    assert (found.system, found.texts, found.last) == ("d", ["d", "a", "r", "b"], "a")
    assert (found.turns, found.images) == (3, 1)
    assert found.structured_bytes > 0


def test_completions_and_embeddings_take_texts_and_token_numbers() -> None:
    assert prompt("completions", prompt=["a", "b"]).last == "a\nb"
    assert prompt("completions", prompt=[1, 2, 3]).token_ids == 3
    assert prompt("embeddings", input=[[1, 2], [3]]).token_ids == 3
    assert prompt("embeddings", input="a").texts == ["a"]
    assert prompt("completions").texts == [""]


def test_without_a_user_message_there_is_no_last_one() -> None:
    assert prompt("chat", messages=[{"role": "system", "content": "s"}]).last is None
    assert prompt("responses").texts == [""]
