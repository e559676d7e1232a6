"""Many requests at once, providers that do anything, a clock that jumps: whoever is answered is told the truth."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from runtime.dispatch.httpx_transport import HttpxTransport
from runtime.dispatch.kept import KeptAlive
from runtime.dispatch.pool import Http1Transport
from runtime.dispatch.record import Record
from runtime.dispatch.transport import Transport
from runtime.wire.errors import problem
from runtime.wire.keep_alive import COMMENT, KeepAlive
from runtime.wire.sse import Head
from tests.dispatch.bench import STREAM, UNARY, Bench, run_over
from tests.dispatch.test_scenarios import BROKEN, UNUSABLE, UNUSABLE_STREAM, UNUSABLE_WHOLE
from tests.dispatch.truth import streamed, text_of
from tests.providers import scripted as say
from tests.providers.client import FakeClient
from tests.providers.scripted import Script

REQUESTS = 200
AT_ONCE = 20
TEXTS = ["Hel", "lo, ", "world"]
SAID = "".join(TEXTS)


def answers() -> Script:
    async def script(talk: say.Talk) -> None:
        await (say.stream(*TEXTS) if talk.request.json.get("stream") else say.unary(SAID))(talk)

    return script


def faults(rng: random.Random) -> Script:
    whole = "".join(say.event(text).decode() for text in TEXTS).encode()
    cut = rng.randrange(len(whole))
    kinds = [
        answers(),
        answers(),
        rng.choice([script for script, _ in (UNUSABLE | UNUSABLE_WHOLE | UNUSABLE_STREAM).values()]),
        say.hang(),
        say.hang_after_head(),
        say.sse([whole[:cut], whole[cut:]], end=rng.choice(["end", "fin", "rst", "stall"])),
        say.sse([whole[:cut]], end=rng.choice(["end", "fin", "rst", "stall"])),
        say.sse([say.event(SAID), *rng.choice([rest for rest, _, _ in BROKEN.values()])]),
        say.sse(say.events(*TEXTS, done=False), end=rng.choice(["end", "fin", "rst", "stall"])),
    ]
    return rng.choice(kinds)


def check(record: Record, client: FakeClient, body: dict[str, object], *, is_begun: bool = False) -> None:
    """Whatever the record says, the client's bytes must say the same.

    `is_begun`: a sign of life brought the head, so that what failed had to be told in-band.
    """
    is_stream = "stream" in body
    if is_begun and record.end in ("exhausted", "refused"):
        *_, last = streamed(client.body)
        assert (client.status, client.is_closed) == (200, True)
        assert "error" in last
        assert b"[DONE]" not in client.body
    elif record.end == "exhausted":
        assert client.status is None
        assert record.status in (429, 502, 503, 504)
    elif record.end == "refused":
        assert client.is_closed
        assert client.status == record.status
    elif record.end == "cut":
        *_, last = streamed(client.body)
        assert client.is_closed
        assert is_stream
        assert "error" in last
        assert b"[DONE]" not in client.body
    elif record.end == "complete":
        assert client.is_closed
        if is_stream:
            assert text_of(client.body) in (SAID, "hi")
            assert client.body.endswith(say.DONE)
            assert client.body.count(b"[DONE]") == 1
            assert b'"error"' not in client.body
        else:
            assert client.body in (say.answer(SAID), say.answer("hi"))
    else:
        assert record.end == "client gone"
        assert not client.is_closed or client.breaks
    assert len(record.attempts) <= 4
    assert all(attempt.outcome and attempt.ended_s is not None for attempt in record.attempts)


@pytest.mark.slow
@pytest.mark.parametrize("transport", [HttpxTransport, Http1Transport])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_client_is_told_the_truth(seed: int, transport: type[Transport]) -> None:
    rng = random.Random(seed)

    async def scenario(bench: Bench) -> None:
        async def leave(client: FakeClient) -> None:
            for _ in range(rng.randrange(200)):
                await asyncio.sleep(0)
            client.leave()

        async def one() -> None:
            body = rng.choice([UNARY, STREAM])
            client = FakeClient()
            client.breaks = rng.random() < 0.05
            leaving = asyncio.create_task(leave(client)) if rng.random() < 0.2 else None
            kept: KeptAlive | None = None
            if "stream" in body and rng.random() < 0.4:
                mode = rng.choice([KeepAlive(1.0), KeepAlive(1.0, "chunk")])
                kept = KeptAlive(client, mode, "chat", "openai", Head("kept"), bench.clock)
            record = await bench.ask(
                body,
                client=kept or client,
                attempts=(0, 1, 0, 1)[: rng.randrange(1, 5)],
                first_token_s=rng.choice([0.5, 5.0]),
                within_s=rng.choice([None, 2.0, 20.0]),
                stall_s=rng.choice([0.5, 5.0]),
            )
            is_begun = kept is not None and kept.is_begun
            if kept is not None:
                if record.end == "exhausted" and kept.is_begun:
                    with contextlib.suppress(OSError):
                        await kept.fail(problem(record.status, "no"))
                await kept.aclose()
            if client.breaks and is_begun:
                assert client.chunks == []
            else:
                client.chunks = [client.body.replace(COMMENT, b"")]
                check(record, client, body, is_begun=is_begun and client.status == 200)
            if leaving is not None:
                leaving.cancel()

        async def clock() -> None:
            while True:
                await asyncio.sleep(0)
                bench.clock.pass_by(rng.random() * 0.05)

        ticking = asyncio.create_task(clock())
        for _ in range(0, REQUESTS, AT_ONCE):
            for provider in bench.providers:
                provider.then(*(faults(rng) for _ in range(AT_ONCE)))
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(one())
        ticking.cancel()
        await asyncio.wait((ticking,))

    run_over(transport, scenario, answers())
