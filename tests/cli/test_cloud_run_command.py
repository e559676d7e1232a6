"""`python -m handlers.cloud_run` as a container platform meets it: a port, a SIGTERM, an end in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from handlers.cloud_run import main
from router_dsl.plan import encode
from tests.hazards.gateway import HELLO, PATH, Wire
from tests.providers.scripted import Provider, Script, Talk, event
from tests.serve.desk import POLICY, compiled

ROOT = Path(__file__).resolve().parents[2]
SSE = ("content-type", "text/event-stream")


@dataclass
class Container:
    """The process, where it listens, and a way to ask it."""

    process: asyncio.subprocess.Process
    port: int

    @contextlib.asynccontextmanager
    async def dialled(self) -> AsyncIterator[Wire]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Wire(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def ended(self) -> tuple[int, list[dict[str, object]]]:
        out, _ = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, [json.loads(line) for line in out.splitlines()]


def ask(*, stream: bool, path: str = PATH) -> bytes:
    body = json.dumps({"model": "m", "messages": HELLO, "stream": stream, "max_tokens": 9}).encode()
    return b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (path.encode(), len(body), body)


def play(
    scenario: Callable[[Container, Provider], Awaitable[None]], script: Script, folder: Path, grace_s: int
) -> None:
    async def whole() -> None:
        async with asyncio.timeout(60), Provider(script) as provider:
            plan = folder / "chat.plan"
            text = (
                f'provider p {{ url "{provider.url}" }}\nmodel m {{ serve p "up" }}\npolicy chat {{ otherwise -> m }}'
            )
            plan.write_bytes(encode(compiled(text)))
            environ = {"PORT": "0", "POINTSMAN_POLICY": str(plan), "POINTSMAN_ANONYMOUS": "1"}
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "handlers.cloud_run",
                cwd=ROOT,
                env={**os.environ, **environ, "POINTSMAN_GRACE": str(grace_s)},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            try:
                assert process.stdout is not None
                begun = json.loads(await process.stdout.readline())
                assert begun["event"] == "serving"
                found = re.search(r":(\d+)$", begun["url"])
                assert found
                await scenario(Container(process, int(found[1])), provider)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    asyncio.run(whole())


@pytest.mark.slow
def test_a_stream_ends_by_itself_after_a_sigterm_and_nobody_new_comes_in(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def slow(talk: Talk) -> None:
        await talk.head(200, SSE)
        await talk.chunk(event("one "))
        await gate.wait()
        await talk.chunk(event("two", finish="stop"))
        await talk.chunk(b"data: [DONE]\n\n")
        await talk.end()

    async def scenario(container: Container, _provider: Provider) -> None:
        async with container.dialled() as wire:
            wire.send(ask(stream=True))
            got = await wire.head()
            container.process.send_signal(signal.SIGTERM)
            while True:
                try:
                    async with container.dialled() as other:
                        other.close()
                except ConnectionError:  # refused, or reset in the queue of a listener that closes
                    break
            gate.set()
            await wire.body(got)
            assert (got.whole, got.texts, got.errors) == (True, "one two", [])
        code, events = await container.ended()
        assert code == 0
        assert (events[-1]["event"], events[-1]["end"]) == ("request", "complete")

    play(scenario, slow, tmp_path, 30)


@pytest.mark.slow
def test_what_does_not_end_within_the_grace_is_told_in_band_or_by_a_503(tmp_path: Path) -> None:
    async def never(talk: Talk) -> None:
        if talk.request.json["stream"]:
            await talk.head(200, SSE)
            await talk.chunk(event("one "))
        await talk.until_closed()

    async def scenario(container: Container, provider: Provider) -> None:
        async with container.dialled() as streaming, container.dialled() as waiting, container.dialled() as other:
            streaming.send(ask(stream=True))
            got = await streaming.head()
            other.send(ask(stream=True, path="/v1/messages"))
            translated = await other.head()
            waiting.send(ask(stream=False))
            await provider.until_requests(3)
            container.process.send_signal(signal.SIGTERM)
            await streaming.body(got)
            assert (got.whole, got.texts) == (True, "one ")
            (error,) = got.errors
            assert "the router is stopping" in str(error["message"])
            await other.body(translated)
            assert translated.whole
            assert b"event: error" in translated.events[-1]
            refused = await waiting.got()
            assert (refused.status, refused.headers["x-should-retry"], refused.headers["retry-after"]) == (
                503, "true", "1",
            )  # fmt: skip
            await provider.until_all_closed()  # nothing goes on generating
        code, events = await container.ended()
        assert code == 0
        assert sorted(str(event["end"]) for event in events) == ["cut", "cut", "exhausted"]

    play(scenario, never, tmp_path, 2)


def test_the_open_world_is_refused_without_keys(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plan = tmp_path / "chat.plan"
    plan.write_bytes(encode(compiled(POLICY)))
    monkeypatch.setenv("POINTSMAN_POLICY", str(plan))
    assert main() == 2
    assert "POINTSMAN_ANONYMOUS=1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "code"), [("PORT", "http", 2), ("PORT", "65536", 2), ("POINTSMAN_POLICY", "/no/such.plan", 2)]
)
def test_wrong_use_is_said(
    name: str, value: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POINTSMAN_ANONYMOUS", "1")
    monkeypatch.setenv(name, value)
    assert main() == code
    assert value in capsys.readouterr().err
