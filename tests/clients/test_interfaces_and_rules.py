"""What rules do to an answer (judge it, keep it, cap it) holds for every interface."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from tests.clients.serving import serving
from tests.clients.test_cross_table import PATHS, body, read, read_stream
from tests.providers import anthropics as claude
from tests.providers import scripted as say
from tests.providers.scripted import Provider

pytestmark = pytest.mark.slow

APIS = tuple(PATHS)


def run(scenario: Callable[[Provider, Provider, httpx.AsyncClient, str], Awaitable[None]], rule: str) -> None:
    """Carry out a scenario with a provider of chat, one of Messages, and a policy of one rule."""

    async def bounded() -> None:
        async with asyncio.timeout(60), Provider() as chat, Provider() as messages:
            policy = f"""
provider chat {{ url "{chat.url}" }}
provider claude {{ url "{messages.url}"  protocol anthropic }}
model small  {{ serve chat "s"  output 500 }}
model strong {{ serve claude "c"  output 800 }}
policy main {{ otherwise -> {rule} }}
"""
            async with serving(policy) as served, httpx.AsyncClient(base_url=served.url) as http:
                await scenario(chat, messages, http, served.url)

    asyncio.run(bounded())


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
def test_an_answer_that_was_cut_short_is_escalated(api: str, stream: bool) -> None:
    async def scenario(chat: Provider, messages: Provider, http: httpx.AsyncClient, _url: str) -> None:
        chat.then(say.stream("Once upon", finish="length") if stream else say.unary("Once upon", "length"))
        messages.then(claude.either())
        answer = await http.post(PATHS[api], json={**body(api, "plain"), "stream": stream})
        text, _ = read_stream(api, answer.content) if stream else read(api, answer.json())
        assert text == "hello"
        assert answer.headers["x-pointsman-endpoint"] == "strong@claude"

    run(scenario, "small escalate to strong when truncated, refused, empty")


@pytest.mark.parametrize("api", APIS)
def test_a_good_answer_is_not_escalated(api: str) -> None:
    async def scenario(chat: Provider, messages: Provider, http: httpx.AsyncClient, _url: str) -> None:
        answer = await http.post(PATHS[api], json=body(api, "plain"))
        assert read(api, answer.json())[0] == "hello"
        assert not messages.received
        assert chat.received

    run(scenario, "small escalate to strong when truncated, refused, empty")


@pytest.mark.parametrize("api", APIS)
def test_an_answer_is_kept_for_its_interface_alone(api: str) -> None:
    async def scenario(chat: Provider, _messages: Provider, http: httpx.AsyncClient, _url: str) -> None:
        asked = {**body(api, "plain"), "temperature": 0}
        first, again = [await http.post(PATHS[api], json=asked) for _ in range(2)]
        assert [answer.headers["x-pointsman-cache"] for answer in (first, again)] == ["miss", "hit"]
        assert first.content == again.content
        other = next(name for name in APIS if name != api)
        answer = await http.post(PATHS[other], json={**body(other, "plain"), "temperature": 0})
        assert read(other, answer.json())[0] == "hello"
        assert len(chat.received) == 2

    run(scenario, "small cache 1m")


@pytest.mark.parametrize("api", APIS)
def test_a_cap_holds_whatever_the_limit_is_called(api: str) -> None:
    async def scenario(chat: Provider, messages: Provider, http: httpx.AsyncClient, _url: str) -> None:
        chat.then(say.status(503))
        messages.then(claude.either())
        asked = {**body(api, "plain"), "max_output_tokens" if api == "responses" else "max_tokens": 99}
        assert (await http.post(PATHS[api], json=asked)).status_code == 200
        assert [provider.received[0].json["max_tokens"] for provider in (chat, messages)] == [7, 7]

    run(scenario, "small else strong cap max_tokens 7 retry 0")


def test_the_limit_that_anthropic_insists_on_is_what_the_endpoint_can() -> None:
    async def scenario(_chat: Provider, messages: Provider, http: httpx.AsyncClient, _url: str) -> None:
        messages.then(claude.either())
        await http.post(PATHS["chat"], json=body("chat", "plain"))
        assert messages.received[0].json["max_tokens"] == 800

    run(scenario, "strong")


@pytest.mark.parametrize("api", APIS)
def test_what_no_provider_could_answer_is_told_in_the_clients_words(api: str) -> None:
    async def scenario(chat: Provider, messages: Provider, http: httpx.AsyncClient, _url: str) -> None:
        chat.then(say.status(503))
        messages.then(claude.error(529, "overloaded_error"))
        answer = await http.post(PATHS[api], json={**body(api, "plain"), "stream": True})
        assert answer.status_code == (529 if api == "messages" else 503)
        assert answer.headers["x-should-retry"] == "false"
        error = answer.json()["error"]
        assert error["type"] == ("overloaded_error" if api == "messages" else "server_error")
        assert "small@chat: status 503, strong@claude: status 529" in error["message"]

    run(scenario, "small else strong retry 0")


@pytest.mark.parametrize("api", ["messages", "responses"])
def test_an_answer_that_cannot_be_read_to_its_end_is_asked_for_elsewhere(api: str) -> None:
    async def scenario(chat: Provider, messages: Provider, http: httpx.AsyncClient, _url: str) -> None:
        endless = say.answer("hello").replace(b'"created": 1', b'"created": ' + b"1" * 5000)
        chat.then(say.whole(200, endless, say.JSON))
        messages.then(claude.either())
        answer = await http.post(PATHS[api], json=body(api, "plain"))
        assert answer.headers["x-pointsman-endpoint"] == "strong@claude"
        assert read(api, answer.json())[0] == "hello"

    run(scenario, "small else strong retry 0")
