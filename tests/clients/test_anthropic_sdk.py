"""The official Anthropic SDK, unchanged, against a router on a real socket; and what Anthropic itself is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anthropic
import openai
import pydantic
import pytest

from tests.clients.serving import Served, serving
from tests.providers import anthropics as claude
from tests.providers import scripted as say
from tests.providers.scripted import Provider

pytestmark = pytest.mark.slow

SIMULATED = """
provider sim  { url "sim://sim?ttft=5ms&speed=2000" }
provider dead { url "sim://dead?down=true" }
model small { aka "claude-x"  serve sim "up-small"  price $0.10 in $0.20 out }
model gone  { serve dead "up-gone" }
policy main {
  busy: when user == eager -> reject 529 "slow down"
  otherwise -> requested
}
"""
HELLO = [{"role": "user", "content": "Hello"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "weather", "description": "Weather.", "input_schema": SCHEMA}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Place(pydantic.BaseModel):
    city: str
    river: str


def policy(url: str, protocol: str = "anthropic", more: str = "") -> str:
    return f"""
provider up {{ url "{url}"  key env.UP_KEY  protocol {protocol} }}
{more}
model small {{ serve up "upstream-model"  price $1 in $2 out $0.50 cached }}
policy main {{ otherwise -> requested }}
"""


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())


def client(served: Served, **options: object) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=served.url, api_key="sk-client", **options)  # type: ignore[arg-type]


def ask(found: anthropic.AsyncAnthropic, **fields: object) -> Awaitable[anthropic.types.Message]:
    return found.messages.create(**{"model": "small", "max_tokens": 64, "messages": HELLO, **fields})  # type: ignore[call-overload, no-any-return]


async def read(sdk: anthropic.AsyncAnthropic, got: list[str]) -> None:
    async with sdk.messages.stream(model="small", max_tokens=9, messages=HELLO) as stream:  # type: ignore[arg-type]
        async for piece in stream.text_stream:
            got.append(piece)


# --- translated: the provider speaks chat -------------------------------------------------------------


def test_messages_are_answered_by_a_provider_that_speaks_chat() -> None:
    async def scenario() -> None:
        async with serving(SIMULATED) as served, client(served) as sdk:
            raw = await sdk.messages.with_raw_response.create(
                model="claude-x",
                max_tokens=64,
                system="Be brief.",
                messages=HELLO,  # type: ignore[arg-type]
            )
            answer = await raw.parse()
            assert answer.content[0].type == "text"
            assert answer.content[0].text
            assert answer.stop_reason == "end_turn"
            assert answer.usage.input_tokens > 0
            assert answer.usage.output_tokens > 0
            assert answer._request_id == raw.headers["x-request-id"]
            assert raw.headers["x-pointsman-endpoint"] == "small@sim"

    run(scenario)


def test_streams_come_in_anthropics_events() -> None:
    async def scenario() -> None:
        async with (
            serving(SIMULATED) as served,
            client(served) as sdk,
            sdk.messages.stream(model="small", max_tokens=64, messages=HELLO) as stream,  # type: ignore[arg-type]
        ):
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
            assert text
            assert final.content[0].text == text  # type: ignore[union-attr]
            assert final.stop_reason == "end_turn"
            assert final.usage.output_tokens > 0
            assert final.usage.input_tokens > 0

    run(scenario)


def test_a_tool_is_called_and_its_result_taken_whole_and_streamed() -> None:
    async def scenario() -> None:
        async with serving(SIMULATED) as served, client(served) as sdk:
            question = [{"role": "user", "content": "the weather please"}]
            choice = {"type": "tool", "name": "weather"}
            answer = await ask(sdk, messages=question, tools=[TOOL], tool_choice=choice)
            assert answer.stop_reason == "tool_use"
            call = answer.content[0]
            assert call.type == "tool_use"
            assert set(call.input) == {"city"}
            async with sdk.messages.stream(
                model="small",
                max_tokens=64,
                messages=question,
                tools=[TOOL],
                tool_choice=choice,  # type: ignore[arg-type]
            ) as stream:
                final = await stream.get_final_message()
            assert final.stop_reason == "tool_use"
            assert final.content[0].input == call.input  # type: ignore[union-attr]
            result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
            turns = [*question, {"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
            assert (await ask(sdk, messages=turns, tools=[TOOL])).stop_reason == "end_turn"

    run(scenario)


def test_tokens_are_counted_by_our_estimate() -> None:
    async def scenario() -> None:
        async with serving(SIMULATED) as served, client(served) as sdk:
            short = await sdk.messages.count_tokens(model="small", messages=HELLO)  # type: ignore[arg-type]
            long = await sdk.messages.count_tokens(
                model="small",
                system="Be brief. " * 50,
                messages=HELLO,  # type: ignore[arg-type]
                tools=[TOOL],  # type: ignore[list-item]
            )
            assert 0 < short.input_tokens < long.input_tokens
            with pytest.raises(anthropic.BadRequestError):
                await sdk.messages.count_tokens(model="small", messages=[])

    run(scenario)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": "nope"}, anthropic.NotFoundError),
        ({"messages": []}, anthropic.BadRequestError),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, anthropic.BadRequestError),
        ({"metadata": {"user_id": "eager"}}, anthropic.APIStatusError),
        ({"model": "gone"}, anthropic.InternalServerError),
    ],
)
def test_errors_are_anthropics(fields: dict[str, object], error: type[Exception]) -> None:
    async def scenario() -> None:
        async with serving(SIMULATED) as served, client(served, max_retries=0) as sdk:
            with pytest.raises(error) as caught:
                await ask(sdk, **fields)
            assert isinstance(caught.value, anthropic.APIStatusError)
            body = caught.value.body
            assert isinstance(body, dict)
            assert body["type"] == "error"
            assert body["error"]["message"]
            assert caught.value.request_id == body["request_id"]
            if "metadata" in fields or fields.get("model") == "gone":
                assert caught.value.status_code == 529
                assert body["error"]["type"] == "overloaded_error"
            if "tools" in fields:
                assert "tools[0].type" in body["error"]["message"]

    run(scenario)


def test_a_stream_that_is_cut_raises() -> None:
    async def scenario() -> None:
        async with Provider() as provider, serving(policy(provider.url, "openai"), {"UP_KEY": "k"}) as served:
            provider.then(say.sse(say.events("Hel", "lo", finish=None, usage=None, done=False), end="fin"))
            async with client(served, max_retries=0) as sdk:
                got: list[str] = []
                with pytest.raises(anthropic.APIStatusError):
                    await read(sdk, got)
                assert got == ["Hel", "lo"]
            await served.log.until(1)
            assert served.log.last["end"] == "cut"

    run(scenario)


def test_the_synchronous_client_parses_structured_output_and_lists_models() -> None:
    def ask_all(served: Served) -> None:
        with anthropic.Anthropic(base_url=served.url, api_key="sk-client") as sdk:
            asked = {"model": "small", "max_tokens": 300, "messages": HELLO}
            assert isinstance(sdk.messages.parse(**asked, output_format=Place).parsed_output, Place)  # type: ignore[call-overload]
            with sdk.messages.stream(**asked, output_format=Place) as stream:  # type: ignore[call-overload]
                assert isinstance(stream.get_final_message().parsed_output, Place)
            assert sdk.beta.messages.create(**asked, betas=["some-beta"]).content  # type: ignore[call-overload]
            kinds = [event.type for event in sdk.messages.create(**asked, stream=True)]  # type: ignore[call-overload]
            assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
            assert [model.id for model in sdk.models.list()] == ["small", "gone"]

    async def scenario() -> None:
        async with serving(SIMULATED) as served:
            await asyncio.to_thread(ask_all, served)

    run(scenario)


def test_a_wrong_method_is_refused_in_anthropics_words() -> None:
    async def scenario() -> None:
        async with serving(SIMULATED) as served, client(served, max_retries=0) as sdk:
            with pytest.raises(anthropic.APIStatusError) as caught:
                await sdk.get("/v1/messages", cast_to=object)
            assert caught.value.status_code == 405
            assert caught.value.body["type"] == "error"  # type: ignore[index]
            assert caught.value.request_id

    run(scenario)


# --- untouched: the provider speaks Messages too ------------------------------------------------------


def test_a_provider_of_messages_gets_the_body_as_it_came_and_the_answer_passes_as_it_is() -> None:
    async def scenario() -> None:
        thinking = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
        said = (thinking, {"type": "text", "text": "Yes."})
        async with Provider(claude.either(said)) as provider, serving(policy(provider.url), {"UP_KEY": "k"}) as served:
            async with client(served) as sdk:
                options = {"thinking": {"type": "adaptive"}, "extra_headers": {"anthropic-beta": "new-thing"},
                           "extra_body": {"context_management": {"edits": []}}}  # fmt: skip
                raw = await sdk.messages.with_raw_response.create(
                    model="small",
                    max_tokens=64,
                    messages=HELLO,
                    **options,  # type: ignore[arg-type]
                )
                assert await raw.http_response.aread() == claude.message(said)
                async with sdk.messages.stream(model="small", max_tokens=64, messages=HELLO) as stream:  # type: ignore[arg-type]
                    final = await stream.get_final_message()
                assert [block.type for block in final.content] == ["thinking", "text"]
            sent = provider.received[0]
            assert sent.path == "/v1/messages"
            assert sent.json == {"model": "upstream-model", "max_tokens": 64, "messages": HELLO,
                                 "thinking": {"type": "adaptive"}, "context_management": {"edits": []}}  # fmt: skip
            assert sent.headers["x-api-key"] == "k"
            assert sent.headers["anthropic-version"] == "2023-06-01"
            assert sent.headers["anthropic-beta"] == "new-thing"
            assert "authorization" not in sent.headers
            await served.log.until(2)
            for line in served.log.seen:
                counts = [line[name] for name in ("prompt_tokens", "completion_tokens", "cached_tokens")]
                assert counts == [9, 3, 3], "what was cached is part of the prompt, whichever way it was counted"
                assert line["cost_usd"] == pytest.approx((6 * 1 + 3 * 0.5 + 3 * 2) / 1e6)

    run(scenario)


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (claude.error(529, "overloaded_error"), "status 529"),
        (claude.error(500), "status 500"),
        (say.sse([claude.named({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})]),
         "error"),
        (say.sse(claude.events(())), "empty"),
        (say.sse(claude.events()[:2], end="fin"), "lost"),
        (say.html(), "malformed"),
    ],
)  # fmt: skip
def test_what_fails_before_the_first_word_is_tried_elsewhere_unseen(script: say.Script, outcome: str) -> None:
    async def scenario() -> None:
        async with Provider() as first, Provider(say.either("from chat")) as second:
            first.then(script)
            text = f"""
provider one {{ url "{first.url}"  protocol anthropic }}
provider two {{ url "{second.url}" }}
model small {{ serve one "a"  serve two "b" }}
policy main {{ otherwise -> small by order  retry 1 on 5xx, connect, empty }}
"""
            async with serving(text) as served, client(served, max_retries=0) as sdk:
                async with sdk.messages.stream(model="small", max_tokens=9, messages=HELLO) as stream:  # type: ignore[arg-type]
                    assert "".join([piece async for piece in stream.text_stream]) == "from chat"
                await served.log.until(1)
                attempts = served.log.last["attempts"]
                assert isinstance(attempts, list)
                assert [a["outcome"] for a in attempts] == [outcome, "ok"]
            assert first.received[0].path == "/v1/messages"
            assert second.received[0].path == "/v1/chat/completions"

    run(scenario)


def test_a_stream_of_messages_that_is_cut_raises_and_one_without_its_last_event_gets_it() -> None:
    async def scenario() -> None:
        async with Provider() as provider, serving(policy(provider.url), {"UP_KEY": "k"}) as served:
            provider.then(say.sse(claude.events(stop=None, end=False), end="fin"), say.sse(claude.events(end=False)))
            async with client(served, max_retries=0) as sdk:
                with pytest.raises(anthropic.APIStatusError):
                    await read(sdk, [])
                raw = await sdk.messages.with_raw_response.create(
                    model="small",
                    max_tokens=9,
                    messages=HELLO,
                    stream=True,  # type: ignore[arg-type]
                )
                assert (await raw.http_response.aread()).endswith(b'data: {"type":"message_stop"}\n\n')
            await served.log.until(2)
            assert [line["end"] for line in served.log.seen] == ["cut", "complete"]

    run(scenario)


# --- OpenAI's clients at a provider of Messages -------------------------------------------------------


def test_openais_client_is_answered_by_a_provider_of_messages() -> None:
    async def scenario() -> None:
        said = ({"type": "text", "text": "Yes."}, {"type": "tool_use", "id": "c1", "name": "look", "input": {"a": 1}})
        answers = claude.either(said, "tool_use")
        async with Provider(answers) as provider, serving(policy(provider.url), {"UP_KEY": "k"}) as served:
            async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="x") as sdk:
                image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
                turns = [{"role": "system", "content": "Be brief."},
                         {"role": "user", "content": [{"type": "text", "text": "What?"}, image]}]  # fmt: skip
                raw = await sdk.chat.completions.with_raw_response.create(
                    model="small",
                    messages=turns,
                    seed=1,
                    temperature=0,  # type: ignore[arg-type]
                )
                answer = raw.parse()
                assert answer.choices[0].message.content == "Yes."
                assert answer.choices[0].finish_reason == "tool_calls"
                assert answer.choices[0].message.tool_calls[0].function.arguments == '{"a":1}'  # type: ignore[index, union-attr]
                assert answer.usage is not None
                assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (9, 3)
                assert raw.headers["x-pointsman-dropped"] == "seed"
                async with sdk.chat.completions.stream(
                    model="small",
                    messages=turns,  # type: ignore[arg-type]
                    stream_options={"include_usage": True},
                ) as stream:
                    async for _ in stream:
                        pass
                    final = await stream.get_final_completion()
                assert final.choices[0].message.content == "Yes."
                assert final.usage is not None
                assert final.usage.prompt_tokens_details is not None
                assert final.usage.prompt_tokens_details.cached_tokens == 3
                with pytest.raises(openai.BadRequestError) as caught:
                    await sdk.chat.completions.create(model="small", messages=turns, n=2)  # type: ignore[arg-type]
                assert caught.value.param == "n"
                with pytest.raises(openai.NotFoundError, match="protocol anthropic has no embeddings"):
                    await sdk.embeddings.create(model="small", input="x")
            sent = provider.received[0].json
            assert sent["system"] == "Be brief."
            assert sent["max_tokens"] == 4096
            assert sent["messages"][0]["content"][1]["source"]["media_type"] == "image/png"  # type: ignore[index]

    run(scenario)
