"""Whole requests through the dispatcher over real sockets: whatever a provider does, the client is told the truth."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest

from runtime.dispatch.record import Record
from tests.dispatch.bench import Bench, Moment, run
from tests.providers import scripted as say
from tests.providers.client import FakeClient
from tests.providers.scripted import Provider

STREAM = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
UNARY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_a_whole_answer_passes_byte_for_byte() -> None:
    async def scenario(bench: Bench) -> None:
        record = await bench.ask(UNARY)
        assert bench.client.body == say.answer()
        assert bench.client.is_closed
        assert (record.end, record.status, record.endpoint) == ("complete", 200, "m@p0")
        assert record.usage is not None
        assert (record.usage.prompt, record.usage.completion) == (9, 3)
        assert record.finish_reason == "stop"

    run(scenario)
