"""Signs of life in silent streams, as clients of a served router see them; the official OpenAI SDK among them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import openai
import pytest

from runtime.serve.asking import keep_alive
from runtime.serve.settings import SettingError, Settings
from runtime.wire.errors import Problem
from runtime.wire.keep_alive import KeepAlive
from tests.clients.serving import Served
from tests.hazards.gateway import HELLO, ask, dialled, routed, run
from tests.providers import scripted as say
from tests.providers.scripted import Provider, Script

pytestmark = pytest.mark.slow

SIGN = b": keep-alive\n\n"
# Shorter than a client may ask for: the tests wait for signs, and signs are what takes time here.
SOON = KeepAlive(0.02)
SOON_CHUNKS = KeepAlive(0.02, "chunk")


def served(
    scenario: Callable[[Served, asyncio.Event], Awaitable[None]],
    settings: Settings,
    *scripts: Callable[[asyncio.Event], Script],
) -> None:
    async def whole() -> None:
        gate = asyncio.Event()
        first, second = Provider(), Provider()
        first.then(*(script(gate) for script in scripts))
        second.then(say.stream("there"))
        async with first, second, routed(first, second, settings=settings) as found:
            await scenario(found, gate)

    run(whole)


def test_the_head_and_signs_of_life_come_before_any_provider_and_the_answer_after_them() -> None:
    async def scenario(found: Served, gate: asyncio.Event) -> None:
        async with dialled(found) as wire:
            wire.send(ask(stream=True))
            head = await wire.head()
            assert (head.status, head.headers["x-pointsman-attempts"]) == (200, "0")
            assert "x-pointsman-endpoint" not in head.headers
            await wire.until(SIGN + b"\r\n")
            await wire.until(SIGN + b"\r\n")
            gate.set()
            await wire.body(head)
            assert (head.whole, head.texts) == (True, "hi")
            assert head.body.endswith(b"data: [DONE]\n\n")
        await found.log.until(1)
        event = found.log.seen[0]
        assert (event["end"], event["status"], event["endpoint"]) == ("complete", 200, "m@p0")

    served(scenario, Settings(stream_keep_alive=SOON), lambda gate: say.after(gate, say.stream("hi")))


def test_what_nobody_answers_after_a_sign_of_life_raises_in_the_sdk() -> None:
    async def scenario(found: Served, gate: asyncio.Event) -> None:
        async with openai.AsyncOpenAI(base_url=f"{found.url}/v1", api_key="sk", max_retries=0) as client:
            stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)  # type: ignore[call-overload]
            assert (await anext(stream)).choices[0].delta.content == ""
            gate.set()
            with pytest.raises(openai.APIError, match="no provider could answer"):
                [chunk async for chunk in stream]
        await found.log.until(1)
        event = found.log.seen[0]
        assert (event["end"], event["status"], event["error"]) == ("exhausted", 200, "temporarily_unavailable")

    async def whole() -> None:
        gate = asyncio.Event()
        settings = Settings(stream_keep_alive=SOON_CHUNKS)
        async with Provider(say.after(gate, say.status(503))) as provider, routed(provider, settings=settings) as found:
            await scenario(found, gate)

    run(whole)


def test_the_sdk_reads_an_answer_that_another_provider_gives_behind_signs_of_life() -> None:
    async def scenario(found: Served, gate: asyncio.Event) -> None:
        async with openai.AsyncOpenAI(base_url=f"{found.url}/v1", api_key="sk", max_retries=0) as client:
            stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)  # type: ignore[call-overload]
            text = ""
            async for chunk in stream:
                gate.set()
                text += chunk.choices[0].delta.content or ""
            assert text == "there"

    served(scenario, Settings(stream_keep_alive=SOON_CHUNKS), lambda gate: say.after(gate, say.status(500)))


def test_a_header_turns_it_off_and_one_that_says_nothing_is_refused() -> None:
    async def scenario(found: Served, gate: asyncio.Event) -> None:
        async with dialled(found) as wire:
            wire.send(ask(stream=True, headers="x-pointsman-keep-alive: soon\r\n"))
            got = await wire.got()
            assert got.status == 400
            assert "x-pointsman-keep-alive" in str(got.error["message"])
            wire.send(ask(stream=True, headers="x-pointsman-keep-alive: off\r\n"))
            asyncio.get_running_loop().call_later(0.1, gate.set)
            got = await wire.got()
            assert got.texts == "hi"
            assert SIGN not in got.body

    served(scenario, Settings(stream_keep_alive=SOON), lambda gate: say.after(gate, say.stream("hi")))


def test_a_header_turns_it_on() -> None:
    async def scenario(found: Served, gate: asyncio.Event) -> None:
        async with dialled(found) as wire:
            wire.send(ask(stream=True, headers="x-pointsman-keep-alive: 1s\r\n"))
            head = await wire.head()
            await wire.until(SIGN + b"\r\n")
            gate.set()
            await wire.body(head)
            assert head.texts == "hi"

    served(scenario, Settings(), lambda gate: say.after(gate, say.stream("hi")))


def test_unary_answers_have_none() -> None:
    async def scenario(found: Served, gate: asyncio.Event) -> None:
        async with dialled(found) as wire:
            wire.send(ask())
            asyncio.get_running_loop().call_later(0.1, gate.set)
            got = await wire.got()
            assert (got.status, got.whole) == (200, True)
            assert got.body == say.answer()

    served(scenario, Settings(stream_keep_alive=SOON), lambda gate: say.after(gate, say.unary()))


def test_the_setting_is_read_and_checked() -> None:
    assert Settings.read({}).stream_keep_alive is None
    assert Settings.read({"POINTSMAN_STREAM_KEEP_ALIVE": "off"}).stream_keep_alive is None
    assert Settings.read({"POINTSMAN_STREAM_KEEP_ALIVE": "10s chunk"}).stream_keep_alive == KeepAlive(10.0, "chunk")
    with pytest.raises(SettingError, match="POINTSMAN_STREAM_KEEP_ALIVE"):
        Settings.read({"POINTSMAN_STREAM_KEEP_ALIVE": "soon"})


def test_the_requests_header_goes_before_its_keys_attribute_and_that_before_the_operators_setting() -> None:
    settings = Settings(stream_keep_alive=KeepAlive(9.0))
    header = {"x-pointsman-keep-alive": "3s"}
    assert keep_alive(header, {"keep-alive": "5s chunk"}, settings) == KeepAlive(3.0)
    assert keep_alive({}, {"keep-alive": "5s chunk"}, settings) == KeepAlive(5.0, "chunk")
    assert keep_alive({}, {"keep-alive": "off"}, settings) is None
    assert keep_alive({}, {"keep-alive": "what an operator mistyped"}, settings) == KeepAlive(9.0)
    assert keep_alive({}, {"id": "k"}, settings) == KeepAlive(9.0)
    assert isinstance(keep_alive({"x-pointsman-keep-alive": "?"}, {}, settings), Problem)
