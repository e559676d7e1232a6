"""What is particular to the transport over httpx; what it shares with others is in tests/transport."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from runtime.dispatch.httpx_transport import HttpxTransport
from runtime.dispatch.transport import Outgoing
from tests.providers import scripted as say
from tests.providers.scripted import Provider


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")

    async def scenario() -> None:
        async with Provider() as provider:
            transport = HttpxTransport()
            response = await transport.send(Outgoing("POST", provider.url, (), b"{}"))
            assert await response.read() == say.answer()
            await response.aclose()
            await transport.aclose()

    asyncio.run(scenario())


@pytest.mark.slow
def test_the_dispatcher_imports_neither_httpx_nor_lark() -> None:
    code = "import sys, runtime.dispatch.dispatcher; sys.exit('httpx' in sys.modules or 'lark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
