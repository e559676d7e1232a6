"""A host and applications for the runtime loop, without a router."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from handlers.lambda_runtime import slot
from handlers.lambda_runtime.lifespan import Application, Message, Scope, StartError

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass
class Stage:
    """A host with an application that the test writes."""

    app: Application
    told: list[str] = field(default_factory=list)
    refuses: str = ""
    afterwards: Callable[[], Awaitable[None]] | None = None

    async def open(self) -> Application:
        self.told.append("open")
        if self.refuses:
            raise StartError(self.refuses)
        return self.app

    async def after_gap(self, gap_s: float) -> None:
        self.told.append("gap")

    async def after_response(self, within_s: float) -> None:
        assert 0.0 <= within_s <= slot.AFTERWARDS_S
        self.told.append("after")
        if self.afterwards is not None:
            await self.afterwards()

    def stop(self) -> None:
        self.told.append("stop")

    def timed_out(self, path: str) -> tuple[int, bytes]:
        return 504, json.dumps({"late": path}).encode()

    async def close(self) -> None:
        self.told.append("close")


def answering(*pieces: bytes, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Application:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for place, piece in enumerate(pieces):
            await send({"type": "http.response.body", "body": piece, "more_body": place < len(pieces) - 1})

    return app


async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
    """Break in the middle of an answer."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise ValueError
