"""The official OpenAI SDK, unchanged: Responses, completions, embeddings and structured output."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import openai
import pydantic
import pytest

from tests.clients.serving import Served, serving
from tests.providers import anthropics as claude
from tests.providers import responses as native
from tests.providers import scripted as say
from tests.providers.scripted import Provider

pytestmark = pytest.mark.slow

SIMULATED = """
provider sim  { url "sim://sim?ttft=5ms&speed=2000" }
provider dead { url "sim://dead?down=true" }
model small { serve sim "up-small"  price $0.10 in $0.20 out }
model gone  { serve dead "up-gone" }
policy main { otherwise -> requested }
"""
HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "name": "weather", "strict": True, "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
    "additionalProperties": False}}  # fmt: skip


class Place(pydantic.BaseModel):
    city: str
    river: str


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())


def client(served: Served, **options: object) -> openai.AsyncOpenAI:
    # Strict: the SDK checks every answer against its own types instead of taking it as it is.
    strict = {"_strict_response_validation": True, "max_retries": 0, **options}
    return openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="sk-client", **strict)  # type: ignore[arg-type]


def policy(url: str, protocol: str) -> str:
    return f"""
provider up {{ url "{url}"  key env.UP_KEY  protocol {protocol} }}
model small {{ serve up "upstream-model"  price $1 in $2 out }}
policy main {{ otherwise -> requested }}
"""


def test_responses_are_answered_by_a_provider_that_speaks_chat() -> None:
    async def scenario() -> None:
        async with serving(SIMULATED) as served, client(served) as sdk:
            answer = await sdk.responses.create(model="small", instructions="Be brief.", input="Hello")
            assert answer.output_text
            assert answer.status == "completed"
            assert answer.instructions == "Be brief."
            assert answer.usage is not None
            assert answer.usage.output_tokens > 0
            async with sdk.responses.stream(model="small", input="Hello") as stream:
                text = "".join([e.delta async for e in stream if e.type == "response.output_text.delta"])
                final = await stream.get_final_response()
            assert final.output_text == text == answer.output_text

    run(scenario)


def test_a_function_is_called_and_its_output_taken_whole_and_streamed() -> None:
    async def scenario() -> None:
        async with serving(SIMULATED) as served, client(served) as sdk:
            asked = {"model": "small", "tools": [TOOL], "tool_choice": {"type": "function", "name": "weather"}}
            answer = await sdk.responses.create(input="the weather please", **asked)  # type: ignore[call-overload]
            call = answer.output[0]
            assert call.type == "function_call"
            assert '"city"' in call.arguments
            async with sdk.responses.stream(input="the weather please", **asked) as stream:
                final = await stream.get_final_response()
            assert final.output[0].arguments == call.arguments
            output = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
            turns = [{"role": "user", "content": "the weather please"}, *answer.output, output]
            again = await sdk.responses.create(model="small", input=turns, tools=[TOOL])  # type: ignore[arg-type, list-item]
            assert again.output_text

    run(scenario)


def test_structured_output_is_parsed_by_chat_and_by_responses() -> None:
    async def scenario() -> None:
        async with serving(SIMULATED) as served, client(served) as sdk:
            chat = await sdk.chat.completions.parse(model="small", messages=HELLO, response_format=Place)  # type: ignore[arg-type]
            assert isinstance(chat.choices[0].message.parsed, Place)
            found = await sdk.responses.parse(model="small", input="Hello", text_format=Place)
            assert isinstance(found.output_parsed, Place)

    run(scenario)


def test_completions_and_embeddings_pass() -> None:
    async def scenario() -> None:
        async with serving(SIMULATED) as served, client(served) as sdk:
            whole = await sdk.completions.create(model="small", prompt="Once upon")
            assert whole.choices[0].text
            # The SDK's own types have no chunk without a finish reason, which OpenAI sends like everybody else.
            lax = client(served, _strict_response_validation=False)
            stream = await lax.completions.create(model="small", prompt="Once upon", stream=True)
            assert "".join([chunk.choices[0].text async for chunk in stream]) == whole.choices[0].text
            # Asked for nothing, the SDK has base64 sent, and decodes it.
            floats = await lax.embeddings.create(model="small", input=["a", "b"], dimensions=8)
            await lax.close()
            assert [len(entry.embedding) for entry in floats.data] == [8, 8]
            assert floats.usage.prompt_tokens > 0
        await served.log.until(3)
        assert [line["api"] for line in served.log.seen] == ["completions", "completions", "embeddings"]

    run(scenario)


@pytest.mark.parametrize("protocol", ["openai", "responses", "anthropic"])
def test_a_stream_of_responses_that_is_cut_raises(protocol: str) -> None:
    async def scenario() -> None:
        async with Provider() as provider, serving(policy(provider.url, protocol), {"UP_KEY": "k"}) as served:
            broken = {
                "openai": say.events("Hel", "lo", finish=None, usage=None, done=False),
                "responses": native.events("Hel", "lo", end=False),
                "anthropic": claude.events(stop=None, end=False),
            }
            provider.then(say.sse(broken[protocol], end="fin"))
            async with client(served) as sdk:
                got: list[str] = []
                with pytest.raises(openai.APIError, match="broke off"):
                    await read(sdk, got)
                assert "".join(got).lower() == "hello"
            await served.log.until(1)
            assert served.log.last["end"] == "cut"

    run(scenario)


async def read(sdk: openai.AsyncOpenAI, got: list[str]) -> None:
    async with sdk.responses.stream(model="small", input="Hello") as stream:
        async for event in stream:
            if event.type == "response.output_text.delta":
                got.append(event.delta)


def test_a_provider_of_responses_gets_the_body_as_it_came_and_the_answer_passes_as_it_is() -> None:
    async def scenario() -> None:
        async with (
            Provider(native.either()) as provider,
            serving(policy(provider.url, "responses"), {"UP_KEY": "k"}) as served,
            client(served) as sdk,
        ):
            stored = {"model": "small", "input": "Hello", "previous_response_id": "resp_0", "store": True}
            raw = await sdk.responses.with_raw_response.create(**stored)  # type: ignore[arg-type]
            assert raw.parse().output_text == "hello"
            streamed = await sdk.responses.with_raw_response.create(model="small", input="Hello", stream=True)
            assert await streamed.http_response.aread() == b"".join(native.events("he", "llo"))
            assert provider.received[0].path == "/v1/responses"
            assert provider.received[0].json == {**stored, "model": "upstream-model"}
            await served.log.until(2)
            for line in served.log.seen:
                assert (line["prompt_tokens"], line["completion_tokens"], line["cached_tokens"]) == (9, 3, 3)

    run(scenario)


def test_a_chat_client_is_answered_by_a_provider_of_responses() -> None:
    async def scenario() -> None:
        async with (
            Provider(native.either()) as provider,
            serving(policy(provider.url, "responses"), {"UP_KEY": "k"}) as served,
            client(served) as sdk,
        ):
            answer = await sdk.chat.completions.create(model="small", messages=HELLO, max_tokens=9)  # type: ignore[arg-type]
            assert answer.choices[0].message.content == "hello"
            async with sdk.chat.completions.stream(model="small", messages=HELLO) as stream:  # type: ignore[arg-type]
                async for _ in stream:
                    pass
                assert (await stream.get_final_completion()).choices[0].message.content == "hello"
            turn = {"type": "message", "role": "user", "content": "Hello"}
            assert provider.received[0].json == {
                "model": "upstream-model", "input": [turn], "max_output_tokens": 9, "store": False,
            }  # fmt: skip

    run(scenario)


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"previous_response_id": "resp_0"}, openai.BadRequestError, "previous_response_id"),
        ({"tools": [{"type": "web_search"}]}, openai.BadRequestError, "tools[0].type"),
        ({"model": "nope"}, openai.NotFoundError, "model"),
        ({"model": "gone"}, openai.InternalServerError, None),
    ],
)
def test_errors_of_responses_are_openais(fields: dict[str, object], error: type[Exception], param: str | None) -> None:
    async def scenario() -> None:
        async with serving(SIMULATED) as served, client(served) as sdk:
            with pytest.raises(error) as caught:
                await sdk.responses.create(**{"model": "small", "input": "Hello", **fields})  # type: ignore[call-overload]
            assert isinstance(caught.value, openai.APIStatusError)
            assert caught.value.param == param

    run(scenario)
