"""OpenRouter's own SDK, unchanged, which checks every answer and every page against its schemas."""

from __future__ import annotations

import asyncio

import pytest

from tests.clients.javascript import CameTo, failure, node, result, run
from tests.clients.serving import serving

pytestmark = pytest.mark.slow

POLICY = """
provider one { url "sim://one?ttft=1ms&speed=5000"  protocol sim  region us }
provider two { url "sim://two?ttft=1ms&speed=5000"  protocol sim  region eu }
model small {
  context 8k
  aka "vendor/small"
  serve one "up-small"  price $0.10 in $0.20 out
  serve two as flex "up-small"  price $0.30 in $0.60 out  quantization fp8
}
model bare { serve two "x" }
limit spend: $5 per day by key.id
policy chat { otherwise -> requested by order }
"""


@pytest.fixture(scope="module")
def came_to() -> CameTo:
    """What every scenario of `sdk.mjs` came to."""
    node()

    async def scenario() -> CameTo:
        async with asyncio.timeout(60), serving(POLICY) as served:
            return await run("sdk.mjs", served.url)

    return asyncio.run(scenario())


def test_chats_pass_its_schemas(came_to: CameTo) -> None:
    assert result(came_to, "chat")["model"] == "small"
    assert result(came_to, "chat")["usage"]["cost"] > 0
    chunks = result(came_to, "stream")
    assert len(chunks) > 3
    assert chunks[-1]["usage"]["completionTokens"] > 0
    assert {chunk["id"] for chunk in chunks} == {chunks[0]["id"]}
    assert result(came_to, "responses")["status"] == "completed"


def test_wishes_are_heard(came_to: CameTo) -> None:
    prices = {name: result(came_to, name)["usage"]["cost"] for name in ("chat", "preferred")}
    assert prices["preferred"] == pytest.approx(3 * prices["chat"])


@pytest.mark.parametrize("page", ["models", "endpoints", "providers", "key", "credits", "generation"])
def test_every_page_passes_its_schemas(came_to: CameTo, page: str) -> None:
    assert result(came_to, page)


def test_errors_are_of_their_class(came_to: CameTo) -> None:
    for name, kind, status in (("unknown", "BadRequest", 400), ("nothingLeft", "NotFound", 404)):
        found = failure(came_to, name)
        assert (found["name"], found["statusCode"]) == (f"{kind}ResponseError", status)
