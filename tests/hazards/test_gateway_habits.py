"""What Fireworks, Baseten and Anthropic do in their own way, declared in a policy and met on the wire."""

from __future__ import annotations

import asyncio
import json

import anthropic
import pytest

from runtime.serve.settings import Settings
from runtime.wire.keep_alive import KeepAlive
from tests.clients.serving import serving
from tests.hazards.gateway import HELLO, ask, dialled, run
from tests.providers import anthropics as claude
from tests.providers import scripted as say
from tests.providers.scripted import Provider

pytestmark = pytest.mark.slow

KEYS = {"UP_KEY": "secret"}


def policy(url: str, declared: str = "", options: str = "", more: str = "", serves: str = "") -> str:
    return f"""
provider up {{ url "{url}"  key env.UP_KEY  {declared} }}
{more}
model m {{ serve up "upstream"  price $1 in $2 out $0.50 cached  {serves} }}
policy main {{ otherwise -> m by order {options} }}
"""


@pytest.mark.parametrize(
    ("declared", "header", "value"),
    [
        ("", "authorization", "Bearer secret"),
        ("auth bearer", "authorization", "Bearer secret"),
        ("auth api-key", "authorization", "Api-Key secret"),
        ('auth header "x-key"', "x-key", "secret"),
    ],
)
def test_each_provider_gets_its_key_as_it_wants_it(declared: str, header: str, value: str) -> None:
    async def scenario() -> None:
        async with Provider() as provider, serving(policy(provider.url, declared), KEYS) as served:
            async with dialled(served) as wire:
                wire.send(ask(headers="authorization: Bearer sk-client\r\nx-session-affinity: s1\r\n"))
                assert (await wire.got()).status == 200
            received = provider.received[0].headers
            assert received[header] == value
            assert not any("sk-client" in sent for sent in received.values())
            assert received["x-session-affinity"] == "s1"
            assert (header == "authorization") == ("authorization" in received)

    run(scenario)


def test_a_deployment_that_is_scaling_up_is_woken_and_the_warm_one_answers_meanwhile() -> None:
    """Fireworks says 503 `DEPLOYMENT_SCALING_UP` at once; Baseten has an address that wakes."""
    scaling = json.dumps({"error": {"code": "DEPLOYMENT_SCALING_UP", "message": "scaling up"}}).encode()

    async def scenario() -> None:
        async with Provider() as cold, Provider(say.either("warm")) as warm:
            cold.then(say.status(503, body=scaling), say.whole(202, b"{}"))
            text = policy(
                cold.url,
                f'cold reject  wake "{cold.url}/wake"',
                more=f'provider warm {{ url "{warm.url}" }}',
                serves='serve warm "upstream"',
            )
            async with serving(text, KEYS) as served, dialled(served) as wire:
                for _ in range(3):
                    wire.send(ask())
                    got = await wire.got()
                    assert json.loads(got.body)["choices"][0]["message"]["content"] == "warm"
                await cold.until_requests(2)
                assert [each.path for each in cold.received] == ["/v1/chat/completions", "/v1/wake"]
                assert len(warm.received) == 3

    run(scenario)


def test_a_deployment_that_parks_requests_costs_one_first_token_and_no_more() -> None:
    async def scenario() -> None:
        async with Provider(say.hang()) as cold, Provider(say.either("warm")) as warm:
            text = policy(
                cold.url,
                "cold park",
                options="first token 100ms",
                more=f'provider warm {{ url "{warm.url}" }}',
                serves='serve warm "upstream"',
            )
            async with serving(text, KEYS) as served, dialled(served) as wire:
                for _ in range(3):
                    wire.send(ask(stream=True))
                    assert (await wire.got()).texts == "warm"
                assert len(cold.received) == 1
                await cold.until_all_closed()
                assert served.router.health.snapshot(served.router.clock.now_s())[0]["why_not"] == "cooling down"

    run(scenario)


# --- Anthropic's clients and what their streams may hold ----------------------------------------------


def sdk(url: str, **options: object) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=url, api_key="sk-client", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "noise",
    [
        b": comment\n\n",
        claude.named({"type": "ping"}),
        claude.named({"type": "brand_new_event", "x": 1}),
        b"data: [DONE]\n\n",
    ],
    ids=["comment", "ping", "unknown event", "done"],
)
@pytest.mark.parametrize("place", [0, 2, -1])
def test_what_anthropics_sdk_reads_past_does_no_harm(noise: bytes, place: int) -> None:
    chunks = list(claude.events())
    chunks.insert(place if place >= 0 else len(chunks), noise)
    if noise.startswith(b"data: [DONE]") and place >= 0:
        return  # in front of the end it would be one

    async def scenario() -> None:
        async with Provider(say.sse(chunks)) as provider:
            text = policy(provider.url, "protocol anthropic")
            async with serving(text, KEYS) as served, sdk(served.url) as client:
                asking = client.messages.stream(model="m", max_tokens=9, messages=HELLO)  # type: ignore[arg-type]
                async with asking as stream:
                    said = "".join([piece async for piece in stream.text_stream])
                    final = await stream.get_final_message()
            assert said
            assert final.stop_reason == "end_turn"
            await served.log.until(1)
            assert served.log.seen[0]["end"] == "complete"

    run(scenario)


@pytest.mark.parametrize(
    "failure", [claude.error(529, "overloaded_error"), claude.error(500), say.reset(), say.html(502)]
)
def test_an_exhausted_plan_is_one_call_of_anthropics_sdk(failure: say.Script) -> None:
    async def scenario() -> None:
        async with Provider(failure) as provider:
            text = policy(provider.url, "protocol anthropic", options="retry 0")
            async with serving(text, KEYS) as served, sdk(served.url) as client:
                with pytest.raises(anthropic.APIStatusError) as caught:
                    await client.messages.create(model="m", max_tokens=9, messages=HELLO)  # type: ignore[arg-type]
                assert caught.value.response.headers["x-should-retry"] == "false"
                await served.log.until(1)
                assert len(served.log.seen) == 1, "the SDK must not triple the load"

    run(scenario)


def test_a_silent_stream_of_messages_is_kept_alive_by_pings() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        async with Provider(say.after(gate, say.sse(claude.events()))) as provider:
            text = policy(provider.url, "protocol anthropic")
            async with serving(text, KEYS) as served, dialled(served) as wire:
                body = json.dumps({"model": "m", "max_tokens": 9, "stream": True, "messages": HELLO}).encode()
                head = "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-pointsman-keep-alive: 1s\r\n"
                wire.send(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
                got = await wire.head()
                await wire.until(b'event: ping\ndata: {"type":"ping"}\n\n\r\n')
                gate.set()
                await wire.body(got)
                assert got.body.endswith(claude.named({"type": "message_stop"}))

    run(scenario)


def test_what_nobody_answers_after_a_ping_raises_in_anthropics_sdk() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        async with Provider(say.after(gate, claude.error(529, "overloaded_error"))) as provider:
            text = policy(provider.url, "protocol anthropic", options="retry 0")
            settings = Settings(stream_keep_alive=KeepAlive(0.02))
            async with serving(text, KEYS, settings) as served, sdk(served.url, max_retries=0) as client:
                stream = await client.messages.create(model="m", max_tokens=9, messages=HELLO, stream=True)  # type: ignore[arg-type]
                gate.set()  # its head is here, which only a sign of life can have brought
                with pytest.raises(anthropic.APIStatusError) as caught:
                    [event async for event in stream]
            assert "no provider could answer" in str(caught.value)
            await served.log.until(1)
            assert (served.log.seen[0]["end"], served.log.seen[0]["status"]) == ("exhausted", 200)

    run(scenario)
