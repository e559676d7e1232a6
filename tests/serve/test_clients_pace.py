"""The client sets the pace: a slow one slows its provider down, one that leaves ends the request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping

from runtime.dispatch.transport import Outgoing, Response
from tests.providers import scripted as say
from tests.serve.desk import HELLO, PATH, Desk

ASK = json.dumps({"model": "small", "messages": HELLO, "stream": True}).encode()
SCOPE: dict[str, object] = {
    "type": "http",
    "method": "POST",
    "path": PATH,
    "headers": [],
    "client": ("127.0.0.1", 5000),
}


class Flood:
    """A stream without end; counts how much of it was asked for."""

    status = 200
    headers = ((b"content-type", b"text/event-stream"),)
    is_complete = False

    def __init__(self) -> None:
        self.reads = 0
        self.closed = False

    async def send(self, request: Outgoing) -> Response:
        return self

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        self.reads += 1
        return say.event("x" * 1000)

    async def aclose(self) -> None:
        self.closed = True


class Silence:
    """A provider that never answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.cancelled = False

    async def send(self, request: Outgoing) -> Response:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        raise AssertionError

    async def aclose(self) -> None:
        pass


async def turns(count: int) -> None:
    """Let everything that can run do so, for so many turns of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_nothing_piles_up_for_a_client_that_does_not_read() -> None:
    flood = Flood()
    desk = Desk(transports={"sim": flood})

    async def scenario() -> None:
        gone, reading = asyncio.Event(), asyncio.Event()
        pending: list[MutableMapping[str, object]] = [{"type": "http.request", "body": ASK}]

        async def receive() -> MutableMapping[str, object]:
            if pending:
                return pending.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, object]) -> None:
            if message["type"] == "http.response.body":
                await reading.wait()

        serving = asyncio.create_task(desk.app(dict(SCOPE), receive, send))
        await turns(500)
        assert flood.reads <= 2
        reading.set()
        await turns(500)
        assert flood.reads > 20
        gone.set()
        await serving

    asyncio.run(scenario())
    assert flood.closed
    assert desk.log.last["end"] == "client gone"


def test_a_client_that_leaves_before_the_answer_ends_the_request_at_the_provider() -> None:
    async def scenario() -> tuple[Silence, Desk, list[object]]:
        silence = Silence()
        desk = Desk(transports={"sim": silence})
        pending: list[MutableMapping[str, object]] = [{"type": "http.request", "body": ASK}]
        sent: list[object] = []

        async def receive() -> MutableMapping[str, object]:
            if pending:
                return pending.pop()
            await silence.asked.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, object]) -> None:
            sent.append(message)

        await desk.app(dict(SCOPE), receive, send)
        return silence, desk, sent

    silence, desk, sent = asyncio.run(scenario())
    assert silence.cancelled
    assert sent == []
    assert (desk.log.last["status"], desk.log.last["end"]) == (499, "client gone")
    (attempt,) = desk.log.last["attempts"]  # type: ignore[misc]
    assert attempt["outcome"] == "cancelled"
