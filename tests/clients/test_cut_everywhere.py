"""A provider's stream that breaks off anywhere, in any interface: the client's never ends without saying so."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.clients.serving import serving
from tests.clients.test_cross_table import CUT, PATHS, PROTOCOLS, body, events, read_stream
from tests.providers import anthropics as claude
from tests.providers import responses as native
from tests.providers import scripted as say
from tests.providers.scripted import Provider

pytestmark = pytest.mark.slow

WHOLE = {
    "openai": say.events("hel", "lo"),
    "responses": native.events("hel", "lo"),
    "anthropic": claude.events(({"type": "text", "text": "hello"},)),
}
ENDS = {
    "chat": b"data: [DONE]\n\n",
    "messages": b'data: {"type":"message_stop"}\n\n',
    "responses": b"response.completed",
}


def ended(api: str, raw: bytes) -> str:
    """Return how a client's stream ended: `well`, `in error`, or `silently`; never in two ways."""
    is_well = ENDS[api].replace(b" ", b"") in raw.replace(b" ", b"")
    name, last = events(raw)[-1]
    is_error = last.get("error") is not None or name == "error"
    assert not (is_well and is_error)
    return "well" if is_well else "in error" if is_error else "silently"


async def cut_at(http: httpx.AsyncClient, provider: Provider, api: str, chunks: list[bytes], end: str) -> str:
    provider.then(say.sse(chunks, end=end))
    answer = await http.post(PATHS[api], json={**body(api, "plain"), "stream": True})
    if answer.status_code != 200:
        assert answer.status_code == 502
        assert answer.json()["error"]["message"]
        return "refused"
    text, _ = read_stream(api, answer.content)
    assert "hello".startswith(text)
    how = ended(api, answer.content)
    assert how != "silently", (api, chunks)
    assert how == "in error" or text == "hello"
    return how


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_stream_that_breaks_off_anywhere_is_never_cut_silently(protocol: str) -> None:
    async def scenario() -> None:
        async with Provider() as provider:
            policy = f"""
provider up {{ url "{provider.url}"  protocol {protocol} }}
model small {{ serve up "m" }}
policy main {{ otherwise -> small retry 0 }}
"""
            async with serving(policy) as served, httpx.AsyncClient(base_url=served.url) as http:
                whole = WHOLE[protocol]
                for api in PATHS:
                    told = []
                    for place in range(len(whole) + 1):
                        half = [whole[place][: len(whole[place]) // 2]] if place < len(whole) else []
                        end = ("fin", "rst", "end")[place % 3]
                        told.append(await cut_at(http, provider, api, whole[:place], "fin"))
                        await cut_at(http, provider, api, [*whole[:place], *half], end)
                    # First nothing to say, then something but not the end, then all of it.
                    assert told == sorted(told, key=["refused", "in error", "well"].index)
                    assert set(told) == {"refused", "in error", "well"}

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())


def test_the_ends_that_are_looked_for_are_not_found_in_what_was_cut() -> None:
    assert ended("chat", b"".join(CUT)) == "silently"
    assert ended("messages", b"".join(claude.events(stop=None, end=False))) == "silently"
    assert ended("responses", b"".join(native.events("x", end=False))) == "silently"
