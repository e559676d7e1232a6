"""`langchain-openai`, unchanged, against a router on a real socket with a scripted provider."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import openai
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from tests.clients.serving import serving
from tests.clients.test_openrouter_ai_sdk import provider
from tests.providers.scripted import Provider

pytestmark = pytest.mark.slow

POLICY = """
provider one {{ url "{one}" }}
model small {{ aka "gpt-4o-mini"  serve one "up-small" price $1 in $2 out }}
policy chat {{ otherwise -> requested }}
"""


@tool
def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"sunny in {city}"


@dataclass
class Clients:
    """Makes clients of a router that share connections, which nobody else would close."""

    url: str
    http: Any

    def chat(self, prefix: str = "", **options: Any) -> ChatOpenAI:
        settings = {"model": "gpt-4o-mini", "max_retries": 0, "http_async_client": self.http, **options}
        return ChatOpenAI(base_url=f"{self.url}{prefix}/v1", api_key="sk-client", **settings)  # type: ignore[arg-type]


def routed(scenario: Callable[[Clients], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with (
            asyncio.timeout(60),
            Provider(provider) as one,
            serving(POLICY.format(one=one.url)) as served,
            openai.DefaultAsyncHttpxClient() as http,
        ):
            await scenario(Clients(served.url, http))

    asyncio.run(whole())


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_it_gets_answers_streams_and_usage(prefix: str) -> None:
    async def scenario(clients: Clients) -> None:
        model = clients.chat(prefix)
        answer = await model.ainvoke("hello")
        assert answer.content == "hi from up-small"
        assert answer.usage_metadata is not None
        assert (answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]) == (9, 3)
        assert answer.response_metadata["finish_reason"] == "stop"
        whole = None
        async for piece in model.astream("hello", stream_usage=True):
            whole = piece if whole is None else whole + piece
        assert whole is not None
        assert whole.content == "hi from up-small"
        assert whole.usage_metadata is not None
        assert whole.usage_metadata["total_tokens"] == 12

    routed(scenario)


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_it_calls_tools_whole_and_streamed(prefix: str) -> None:
    async def scenario(clients: Clients) -> None:
        model = clients.chat(prefix).bind_tools([weather])
        first = await model.ainvoke("weather")
        (call,) = first.tool_calls
        assert (call["name"], call["args"]) == ("weather", {"city": "Rome"})
        told = ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
        assert (await model.ainvoke([HumanMessage("weather"), first, told])).content == "hi from up-small"
        whole = None
        async for piece in model.astream("weather"):
            whole = piece if whole is None else whole + piece
        assert whole is not None
        assert [(c["name"], c["args"]) for c in whole.tool_calls] == [("weather", {"city": "Rome"})]

    routed(scenario)


def test_it_gets_structured_output_and_embeddings() -> None:
    async def scenario(clients: Clients) -> None:
        schema = {"title": "place", "type": "object", "properties": {"city": {"type": "string"}}}
        found = await clients.chat().with_structured_output(schema, method="json_mode").ainvoke("object")
        assert found == {"city": "Rome"}
        embeddings = OpenAIEmbeddings(
            base_url=f"{clients.url}/v1",
            api_key="sk-client",  # type: ignore[arg-type]
            model="small",
            http_async_client=clients.http,
            check_embedding_ctx_length=False,
        )
        assert await embeddings.aembed_query("hello") == [0.25, 0.5, -1.0]

    routed(scenario)


def test_it_raises_what_went_wrong() -> None:
    async def scenario(clients: Clients) -> None:
        with pytest.raises(openai.NotFoundError):
            await clients.chat(model="nope").ainvoke("hello")
        with pytest.raises(openai.BadRequestError, match="allow_fallbacks"):
            await clients.chat(extra_body={"provider": {"allow_fallback": False}}).ainvoke("hello")
        with pytest.raises(openai.InternalServerError):
            await clients.chat().ainvoke("fail")
        with pytest.raises(openai.APIError):
            async for _ in clients.chat().astream("cut"):
                pass

    routed(scenario)


def test_wishes_travel_in_its_extra_body() -> None:
    async def scenario(clients: Clients) -> None:
        wished = clients.chat("/api", model="nope", extra_body={"models": ["small:floor"], "provider": {"zdr": False}})
        assert (await wished.ainvoke("hello")).content == "hi from up-small"

    routed(scenario)
