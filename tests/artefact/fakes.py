"""A source of plans and a wall clock that do as a test says."""

from __future__ import annotations

import asyncio
from hashlib import sha256

from router_dsl.plan import encode
from runtime.serve.source import Fetched, SourceError, UnusableError
from tests.serve.desk import compiled


def built(text: str) -> bytes:
    """Return the encoded plan of a policy, its digest that of the text."""
    return encode(compiled(text, sha256(text.encode()).hexdigest()))


class FakeSource:
    """Gives what it is told to, and None while that has not changed; what it holds may be an error to raise.

    Attributes:
        asked: Marks that were known at each fetch.
        gate: While clear, fetching waits.
    """

    name = "fake"

    def __init__(self, data: bytes | Exception) -> None:
        self.data = data
        self.asked: list[str | None] = []
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def tag(self) -> str:
        return sha256(self.data).hexdigest() if isinstance(self.data, bytes) else str(self.data)

    async def fetch(self, known: str | None) -> Fetched | None:
        self.asked.append(known)
        self.begun.set()
        await self.gate.wait()
        if isinstance(self.data, SourceError):
            raise self.data
        if self.tag == known:
            return None
        if isinstance(self.data, Exception):
            raise UnusableError(str(self.data), self.tag)
        return Fetched(self.data, self.tag)


class Wall:
    """A wall clock."""

    def __init__(self, now_s: float = 1_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s
