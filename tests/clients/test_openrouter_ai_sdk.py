"""OpenRouter's provider for Vercel's AI SDK, unchanged, against a router on a real socket with scripted providers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.clients.javascript import CameTo, failure, node, result, run
from tests.clients.serving import serving
from tests.providers import scripted as say
from tests.providers.scripted import Provider, Talk

pytestmark = pytest.mark.slow

POLICY = """
provider one {{ url "{one}" }}
provider two {{ url "{two}" }}
model small {{ serve one "up-small" price $1 in $2 out  serve two "up-small" price $3 in $4 out }}
model large {{ serve two "up-large" price $3 in $4 out }}
policy chat {{ otherwise -> requested by order }}
"""


def chunk(delta: dict[str, object], finish: str | None = None) -> bytes:
    body = {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "upstream",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }  # fmt: skip
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def message(finish: str = "stop", **said: object) -> bytes:
    found = json.loads(say.answer("", finish))
    found["choices"][0]["message"] = {"role": "assistant", "content": None, **said}
    return json.dumps(found).encode()


async def provider(talk: Talk) -> None:
    """Do as the last message of the user says."""
    body: Any = talk.request.json
    if talk.request.path.endswith("/embeddings"):
        vector = {"object": "embedding", "index": 0, "embedding": [0.25, 0.5, -1.0]}
        usage = {"prompt_tokens": 4, "total_tokens": 4}
        found = {"object": "list", "model": "up", "data": [vector], "usage": usage}
        await talk.whole(200, json.dumps(found).encode(), say.JSON)
        return
    if talk.request.path.endswith("/completions") and "prompt" in body:
        text = {"id": "c", "object": "text_completion", "created": 1, "model": "up", "usage": say.USAGE}
        text["choices"] = [{"index": 0, "text": "hi there", "finish_reason": "stop", "logprobs": None}]
        await talk.whole(200, json.dumps(text).encode(), say.JSON)
        return
    messages = body["messages"]
    asked = next(m["content"] for m in reversed(messages) if m["role"] == "user")
    word = asked if isinstance(asked, str) else asked[0]["text"]
    is_stream = bool(body.get("stream"))
    end = [say.usage_event(), say.DONE]
    if word == "fail":
        await say.status(503)(talk)
    elif word == "cut":
        await say.sse([say.event("", role="assistant"), say.event("half an ans")], end="fin")(talk)
    elif word == "weather" and messages[-1]["role"] != "tool":
        call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
        if not is_stream:
            await talk.whole(200, message("tool_calls", tool_calls=[call]), say.JSON)
            return
        first = {"index": 0, **call, "function": {"name": "weather", "arguments": '{"ci'}}
        rest = {"index": 0, "function": {"arguments": 'ty": "Rome"}'}}
        pieces = [chunk({"role": "assistant", "tool_calls": [first]}), chunk({"tool_calls": [rest]})]
        await say.sse([*pieces, chunk({}, "tool_calls"), *end])(talk)
    elif word == "think":
        if not is_stream:
            await talk.whole(200, message(content="42", reasoning_content="deep thought"), say.JSON)
            return
        pieces = [chunk({"role": "assistant", "reasoning_content": t}) for t in ("deep ", "thought")]
        await say.sse([*pieces, chunk({"content": "42"}), chunk({}, "stop"), *end])(talk)
    elif word == "object":
        await talk.whole(200, message(content='{"city": "Rome"}'), say.JSON)
    else:
        await say.either(f"hi from {talk.request.json['model']}")(talk)


@pytest.fixture(scope="module")
def came_to() -> CameTo:
    """What every scenario of `clients.mjs` came to."""
    node()

    async def scenario() -> CameTo:
        async with (
            asyncio.timeout(60),
            Provider(provider) as one,
            Provider(provider) as two,
            serving(POLICY.format(one=one.url, two=two.url)) as served,
        ):
            return await run("clients.mjs", served.url)

    return asyncio.run(scenario())


COST = (9 * 1 + 3 * 2) / 1e6


@pytest.mark.parametrize("name", ["text", "stream", "accounted"])
def test_answers_come_with_usage_cost_and_provider(came_to: CameTo, name: str) -> None:
    found = result(came_to, name)
    assert found["text"] == "hi from up-small"
    assert found["finishReason"] == "stop"
    assert found["id"].startswith("gen-")
    assert found["model"] == "small"
    assert (found["usage"]["inputTokens"], found["usage"]["outputTokens"]) == (9, 3)
    assert found["metadata"]["provider"] == "one"
    assert found["metadata"]["usage"]["cost"] == pytest.approx(COST)


@pytest.mark.parametrize("name", ["tools", "streamedTools"])
def test_tools_are_called_and_their_results_answered(came_to: CameTo, name: str) -> None:
    found = result(came_to, name)
    assert found["calls"] == [["weather", {"city": "Rome"}]]
    assert found["text"] == "hi from up-small"


def test_structured_output_and_reasoning_arrive(came_to: CameTo) -> None:
    assert result(came_to, "object") == {"city": "Rome"}
    assert result(came_to, "reasoning") == result(came_to, "streamedReasoning") == "deep thought"


def test_embeddings_and_completions_arrive(came_to: CameTo) -> None:
    assert result(came_to, "embedding")["length"] == 3
    assert result(came_to, "embedding")["usage"]["tokens"] == 4


@pytest.mark.parametrize(("name", "provider"), [("listed", "one"), ("preferred", "two"), ("floor", "one")])
def test_wishes_are_heard(came_to: CameTo, name: str, provider: str) -> None:
    assert result(came_to, name)["metadata"]["provider"] == provider


@pytest.mark.parametrize(
    ("name", "status", "word"),
    [
        ("unknown", 400, "`nope`"),
        ("mistaken", 400, "allow_fallbacks"),
        ("nothingLeft", 404, "provider.only"),
        ("failed", 503, "no provider could answer"),
    ],
)
def test_errors_have_their_status_and_say_what_is_wrong(came_to: CameTo, name: str, status: int, word: str) -> None:
    found = failure(came_to, name)
    assert (found["name"], found["statusCode"]) == ("AI_APICallError", status)
    assert word in found["message"]


def test_a_stream_that_fails_or_breaks_off_says_so(came_to: CameTo) -> None:
    assert "no provider could answer" in result(came_to, "streamFailed")["errors"][0]
    found = result(came_to, "cut")
    assert found["text"] == "half an ans"
    assert found["errors"]
