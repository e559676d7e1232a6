"""The official OpenAI SDK, unchanged, against a router on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import openai
import pytest

from runtime.serve.keys import Keys
from runtime.serve.settings import Settings
from tests.clients.serving import Served, serving
from tests.providers import scripted as say
from tests.providers.scripted import Provider

pytestmark = pytest.mark.slow

SIMULATED = """
provider sim  { url "sim://sim?ttft=5ms&speed=2000"  protocol sim }
provider dead { url "sim://dead?down=true"  protocol sim }
model small { aka "gpt-4o-mini"  serve sim "up-small"  price $0.10 in $0.20 out }
model gone  { serve dead "up-gone" }
policy chat {
  banned: when user == mallory -> reject 403 "not for you"
  busy:   when user == eager   -> reject 429 "slow down"
  otherwise -> requested
}
policy second { otherwise -> small }
"""
HELLO = [{"role": "user", "content": "Hello"}]


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())


def sync_client(served: Served, **options: object) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="sk-client", **options)  # type: ignore[arg-type]


def async_client(served: Served, **options: object) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="sk-client", **options)  # type: ignore[arg-type]


def test_the_synchronous_client_gets_answers_and_streams() -> None:
    def ask(served: Served) -> None:
        with sync_client(served) as client:
            answer = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)  # type: ignore[arg-type]
            assert answer.choices[0].message.content
            assert answer.choices[0].finish_reason == "stop"
            assert answer.usage is not None
            assert answer._request_id
            stream = client.chat.completions.create(model="small", messages=HELLO, stream=True)  # type: ignore[arg-type]
            chunks = list(stream)
            assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
            assert all(c.choices for c in chunks), "the usage chunk is kept from clients that did not ask for it"
            assert chunks[-1].choices[0].finish_reason == "stop"

    async def scenario() -> None:
        async with serving(SIMULATED) as served:
            await asyncio.to_thread(ask, served)

    run(scenario)


def test_the_asynchronous_client_gets_answers_streams_and_usage() -> None:
    async def scenario() -> None:
        async with serving(SIMULATED) as served, async_client(served) as client:
            raw = await client.chat.completions.with_raw_response.create(model="small", messages=HELLO)  # type: ignore[arg-type]
            assert raw.headers["x-pointsman-endpoint"] == "small@sim"
            assert raw.parse().choices[0].message.content
            stream = await client.chat.completions.create(
                model="small",
                messages=HELLO,  # type: ignore[arg-type]
                stream=True,
                stream_options={"include_usage": True},
            )
            chunks = [chunk async for chunk in stream]
            assert chunks[-1].usage is not None
            assert chunks[-1].usage.completion_tokens > 0
            # The SDK's own accumulator checks the protocol more strictly than a loop does.
            async with client.chat.completions.stream(model="small", messages=HELLO) as events:  # type: ignore[arg-type]
                async for _ in events:
                    pass
                final = await events.get_final_completion()
            assert final.choices[0].message.content

    run(scenario)


def test_models_are_listed_and_found() -> None:
    async def scenario() -> None:
        async with serving(SIMULATED) as served, async_client(served) as client:
            assert [model.id async for model in client.models.list()] == ["small", "gone"]
            assert (await client.models.retrieve("gpt-4o-mini")).id == "small"
            with pytest.raises(openai.NotFoundError):
                await client.models.retrieve("nope/nope")

    run(scenario)


def test_a_policy_is_selected_by_the_models_name() -> None:
    async def scenario() -> None:
        async with serving(SIMULATED) as served, async_client(served) as client:
            raw = await client.chat.completions.with_raw_response.create(model="@second", messages=HELLO)  # type: ignore[arg-type]
            assert raw.headers["x-pointsman-policy"].startswith("second@")

    run(scenario)


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "error", "code"),
    [
        ({"model": "nope"}, openai.NotFoundError, "model_not_found"),
        ({"model": "@nope"}, openai.BadRequestError, "policy_not_found"),
        ({"model": "small", "user": "mallory"}, openai.PermissionDeniedError, "rejected_by_policy"),
        ({"model": "small", "user": "eager"}, openai.RateLimitError, "rejected_by_policy"),
        ({"model": "small", "messages": []}, openai.BadRequestError, "invalid_request"),
        ({"model": "small", "temperature": "warm"}, openai.BadRequestError, "invalid_type"),
        ({"model": "gone"}, openai.InternalServerError, None),
        ({"model": "gone", "stream": True}, openai.InternalServerError, None),
    ],
)
def test_every_error_raises_the_right_class_after_one_call(
    asked: dict[str, object], error: type[openai.APIStatusError], code: str | None
) -> None:
    async def scenario() -> None:
        async with serving(SIMULATED) as served, async_client(served) as client:
            with pytest.raises(error) as caught:
                await client.chat.completions.create(**{"messages": HELLO, **asked})  # type: ignore[call-overload]
            assert caught.value.message
            assert code is None or caught.value.code == code
            assert len(served.log.seen) == 1, "the SDK must not repeat what we have given up"

    run(scenario)


def test_a_wrong_key_raises_the_right_class() -> None:
    async def scenario() -> None:
        async with serving(SIMULATED, settings=Settings(keys=Keys.parse("sk-other"))) as served:
            async with async_client(served) as client:
                with pytest.raises(openai.AuthenticationError):
                    await client.chat.completions.create(model="small", messages=HELLO)  # type: ignore[arg-type]
            async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="sk-other") as client:
                assert await client.chat.completions.create(model="small", messages=HELLO)  # type: ignore[arg-type]

    run(scenario)


def test_a_body_over_the_limit_raises_the_right_class() -> None:
    async def scenario() -> None:
        small = Settings(body_limit_bytes=10_000)
        async with serving(SIMULATED, settings=small) as served, async_client(served) as client:
            with pytest.raises(openai.APIStatusError) as caught:
                await client.chat.completions.create(
                    model="small", messages=[{"role": "user", "content": "x" * 2_000_000}]
                )
            assert caught.value.status_code == 413
            # The connection, or another one, is still good.
            assert await client.chat.completions.create(model="small", messages=HELLO)  # type: ignore[arg-type]

    run(scenario)


# --- through to a real provider -------------------------------------------------------------------


def policy_for(*urls: str) -> str:
    providers = "\n".join(
        f'provider p{n} {{ url "{url}"  key env.P{n}_KEY  header "x-team" "blue" }}' for n, url in enumerate(urls)
    )
    serves = "\n".join(f'  serve p{n} "upstream/model-{n}"  price ${n + 1} in ${n + 1} out' for n in range(len(urls)))
    return f"{providers}\nmodel m {{\n{serves}\n}}\npolicy chat {{ otherwise -> m by price }}\n"


ENVIRON = {"P0_KEY": "sk-provider-0", "P1_KEY": "sk-provider-1"}


@contextlib.asynccontextmanager
async def routed(*providers: Provider) -> AsyncIterator[Served]:
    async with serving(policy_for(*(p.url for p in providers)), ENVIRON) as served:
        yield served


def test_the_provider_gets_its_own_key_and_model_and_the_rest_byte_for_byte() -> None:
    body = (
        b'{"model":"m", "messages" : [ {"role":"user","content":"gr\\u00fc\\u00df dich \\ud83d\\ude00"} ],'
        b'"temperature":1.50,"seed":123456789012345678901234,"x_vendor":{"deep":[1.0,2e3,{"a":null}],"b":"\\/"},'
        b'"logit_bias":{"50256":-100},"models":["other"],"provider":{"order":["x"]}}'
    )

    async def scenario() -> None:
        async with Provider() as provider, routed(provider) as served, httpx.AsyncClient() as client:
            answer = await client.post(
                f"{served.url}/v1/chat/completions",
                content=body,
                headers={"authorization": "Bearer sk-client", "cookie": "a=b", "x-api-key": "sk-client-2"},
            )
            assert answer.status_code == 200
            assert answer.content == say.answer()
            (received,) = provider.received
            assert received.path == "/v1/chat/completions"
            assert received.headers["authorization"] == "Bearer sk-provider-0"
            assert received.headers["x-team"] == "blue"
            assert "sk-client" not in str(received.headers) + received.body.decode()
            assert "cookie" not in received.headers
            assert received.json["model"] == "upstream/model-0"
            for kept in (
                b'[ {"role":"user","content":"gr\\u00fc\\u00df dich \\ud83d\\ude00"} ]',
                b"1.50",
                b"123456789012345678901234",
                b'{"deep":[1.0,2e3,{"a":null}],"b":"\\/"}',
                b'{"50256":-100}',
            ):
                assert kept in received.body
            # Fields meant for a router stay here.
            assert "models" not in received.json
            assert "provider" not in received.json

    run(scenario)


def test_tool_calls_pass_both_ways() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "now", "arguments": '{"zone":"UTC"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    whole = json.loads(say.answer())
    whole["choices"] = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    tools = [{"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}]

    async def scenario() -> None:
        async with Provider() as provider, routed(provider) as served, async_client(served) as client:
            provider.then(say.whole(200, json.dumps(whole).encode(), say.JSON))
            answer = await client.chat.completions.create(model="m", messages=HELLO, tools=tools)  # type: ignore[call-overload]
            (asked,) = answer.choices[0].message.tool_calls
            assert asked.function.name == "now"
            assert asked.function.arguments == '{"zone":"UTC"}'
            assert provider.received[0].json["tools"] == tools
            # A streamed call arrives in pieces, without any text.
            delta = {"tool_calls": [{"index": 0, **call}]}
            piece = {**json.loads(say.event("")[6:]), "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
            events = [b"data: " + json.dumps(piece).encode() + b"\n\n", say.event(finish="tool_calls"), say.DONE]
            provider.then(say.sse(events))
            async with client.chat.completions.stream(model="m", messages=HELLO, tools=tools) as stream:  # type: ignore[arg-type]
                final = await stream.get_final_completion()
            assert final.choices[0].message.tool_calls[0].function.name == "now"  # type: ignore[index]

    run(scenario)


def test_a_refusal_of_the_provider_reaches_the_client_as_what_it_is() -> None:
    async def scenario() -> None:
        async with Provider() as provider, routed(provider) as served, async_client(served) as client:
            provider.then(say.status(400, "this model takes no images"))
            with pytest.raises(openai.BadRequestError, match="takes no images"):
                await client.chat.completions.create(model="m", messages=HELLO)  # type: ignore[arg-type]
            assert len(provider.received) == 1
            await served.log.until(1)
            assert served.log.last["end"] == "refused"

    run(scenario)


def test_a_failure_before_the_first_token_is_not_seen_by_the_client() -> None:
    failures = [say.status(503), say.reset(), say.close(), say.html(502), say.status(429), say.sse([], end="fin")]

    async def scenario() -> None:
        async with Provider() as bad, Provider(say.either("rescued")) as good, routed(bad, good) as served:
            async with async_client(served, max_retries=0) as client:
                for failure in failures:
                    bad.then(failure)
                    raw = await client.chat.completions.with_raw_response.create(model="m", messages=HELLO)  # type: ignore[arg-type]
                    assert raw.parse().choices[0].message.content in ("rescued", "hello")
            assert len(good.received) >= 1

    run(scenario)


def test_an_answer_that_breaks_off_raises_instead_of_ending_short() -> None:
    async def scenario() -> None:
        async with Provider() as provider, routed(provider) as served, async_client(served) as client:
            provider.then(say.sse([say.event("", role="assistant"), say.event("Hel")], end="rst"))
            stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)  # type: ignore[arg-type]
            texts: list[str] = []

            async def read() -> None:
                async for chunk in stream:
                    texts.append(chunk.choices[0].delta.content or "")

            with pytest.raises(openai.APIError):
                await read()
            assert "".join(texts) == "Hel"
            await served.log.until(1)
            assert served.log.last["end"] == "cut"
            assert len(provider.received) == 1

    run(scenario)


def test_a_client_that_leaves_ends_its_request_at_the_provider() -> None:
    async def scenario() -> None:
        async with Provider() as provider, routed(provider) as served, async_client(served) as client:
            provider.then(say.sse([say.event("", role="assistant"), say.event("Hel")], end="stall"))
            stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)  # type: ignore[arg-type]
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    break
            await stream.close()
            await provider.talks[0].closed.wait()
            await served.log.until(1)
            assert served.log.last["end"] == "client gone"

    run(scenario)


def test_tokens_arrive_as_they_are_made() -> None:
    async def scenario() -> None:
        gates = [asyncio.Event() for _ in range(5)]
        async with Provider() as provider, routed(provider) as served, async_client(served) as client:
            provider.then(say.gated(gates, say.events("one", "two", usage=None)))
            gates[0].set()
            gates[1].set()
            stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)  # type: ignore[arg-type]
            texts = []
            async for chunk in stream:
                if text := chunk.choices[0].delta.content:
                    texts.append(text)
                    # The next one is made only after this one was read here.
                    gates[len(texts) + 1].set()
                    if len(texts) == 2:
                        gates[4].set()
            assert texts == ["one", "two"]

    run(scenario)


def test_a_provider_killed_in_mid_run_costs_no_request_that_had_not_begun_to_be_answered() -> None:
    async def scenario() -> None:
        first, second = Provider(say.either("first")), Provider(say.either("second"))
        async with first, second, routed(first, second) as served, async_client(served, max_retries=0) as client:
            failed: list[BaseException] = []
            texts: list[str] = []

            async def one(number: int) -> None:
                try:
                    if number % 2:
                        answer = await client.chat.completions.create(model="m", messages=HELLO)  # type: ignore[arg-type]
                        texts.append(answer.choices[0].message.content or "")
                    else:
                        stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)  # type: ignore[arg-type]
                        texts.append("".join([c.choices[0].delta.content or "" async for c in stream if c.choices]))
                except openai.APIError as error:
                    failed.append(error)

            await asyncio.gather(*(one(number) for number in range(20)))
            assert set(texts) == {"first"}
            running = asyncio.gather(*(one(number) for number in range(40)))
            await first.until_requests(25)
            await first.stop()
            await running
            await asyncio.gather(*(one(number) for number in range(20)))
            # An answer that had begun when its provider died may end in the error that says so; no other may fail.
            begun = [error for error in failed if "broke off" in str(error)]
            assert failed == begun
            assert texts[-20:] == ["second"] * 20
            assert len(texts) + len(failed) == 80

    run(scenario)
