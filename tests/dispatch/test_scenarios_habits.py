"""Whole requests past providers' habits: error shapes and where they put usage."""

from __future__ import annotations

import json

import pytest

from tests.dispatch.bench import STREAM, UNARY, Bench, run
from tests.dispatch.truth import ends_well, outcomes
from tests.providers import scripted as say
from tests.providers.client import FakeClient

BASETEN = json.dumps({"error": "the model is not ready"}).encode()
FASTAPI = json.dumps(
    {"detail": [{"loc": ["body", "messages", 0], "msg": "field required", "type": "missing"}]}
).encode()


@pytest.mark.parametrize("body", [UNARY, STREAM], ids=["unary", "stream"])
def test_an_error_as_text_fails_over_like_any_other(body: dict[str, object]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.status(502, body=BASETEN), say.whole(200, BASETEN, say.JSON))
        bench.providers[1].fallback = say.either("hi")
        assert outcomes(await bench.ask(body)) == ["status 502", "ok"]
        assert outcomes(await bench.ask(body, client=FakeClient())) == ["error", "ok"]

    run(scenario)


def test_an_error_as_text_about_the_request_keeps_its_words() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.status(400, body=BASETEN))
        assert (await bench.ask(UNARY)).end == "refused"
        assert json.loads(bench.client.body)["error"]["message"] == "the model is not ready"

    run(scenario)


def test_a_validation_error_of_fastapi_says_where() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.status(422, body=FASTAPI))
        record = await bench.ask(UNARY)
        error = json.loads(bench.client.body)["error"]
        assert (record.end, error["message"], error["param"]) == ("refused", "messages.0: field required", "messages.0")

    run(scenario)


@pytest.mark.parametrize("status", [200, 502, 503])
@pytest.mark.parametrize("body", [UNARY, STREAM], ids=["unary", "stream"])
def test_a_page_is_no_answer(body: dict[str, object], status: int) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.html(status))
        bench.providers[1].then(say.either("hi"))
        record = await bench.ask(body)
        assert record.end == "complete"
        assert record.attempts[0].outcome in ("malformed", f"status {status}")
        assert b"<html" not in bench.client.body

    run(scenario)


USAGES = {
    "a chunk of its own": say.events("hi"),
    "with the finish reason": [say.event("hi"), say.event(finish="stop", usage=say.USAGE), say.DONE],
    "before the finish reason": [say.event("hi", usage=say.USAGE), say.event(finish="stop"), say.DONE],
    "and no done": [say.event("hi"), say.event(finish="stop", usage=say.USAGE)],
}


@pytest.mark.parametrize("chunks", USAGES.values(), ids=USAGES.keys())
def test_usage_is_found_wherever_it_stands(chunks: list[bytes]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.sse(chunks))
        record = await bench.ask(STREAM)
        assert record.cost_nusd == 15_000
        ends_well(bench, "hi")

    run(scenario)


CACHED = ("fireworks-cached-prompt-tokens", "4")
TOLD = {**say.USAGE, "prompt_tokens_details": {"cached_tokens": 2}}


@pytest.mark.parametrize(
    ("usage", "headers", "cached"),
    [
        (say.USAGE, [CACHED, ("fireworks-prompt-tokens", "9")], 4),
        (TOLD, [CACHED], 2),
        (say.USAGE, [(CACHED[0], "many")], 0),
        (say.USAGE, [(CACHED[0], "10")], 0),
        (say.USAGE, [], 0),
    ],
    ids=["in a header", "in the body", "nonsense", "more than the prompt", "nowhere"],
)
def test_cached_tokens_are_found_in_headers_where_the_body_names_none(
    usage: dict[str, object], headers: list[tuple[str, str]], cached: int
) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.whole(200, say.answer(usage=usage), say.JSON, *headers))
        record = await bench.ask(UNARY)
        assert record.usage is not None
        assert (record.usage.prompt, record.usage.completion, record.usage.cached) == (9, 3, cached)

    run(scenario)


def test_headers_alone_are_no_usage() -> None:
    """They count the prompt and not the answer: a cost made of half of it would be wrong."""

    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.whole(200, say.answer(usage=None), say.JSON, ("fireworks-prompt-tokens", "9")))
        record = await bench.ask(UNARY)
        assert (record.usage, record.cost_nusd) == (None, None)

    run(scenario)
