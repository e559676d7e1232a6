"""A client of the dispatcher that keeps what it is given, and can be slow or leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from runtime.dispatch.transport import Headers


class FakeClient:
    """Keeps everything.

    Attributes:
        status, headers, endpoint, attempts, waited_s: Of the head; None before it.
        chunks: What was sent, call by call.
        is_closed: Whether the last byte came.
        taking: While clear, sending waits.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.endpoint: str | None = None
        self.attempts = 0
        self.waited_s = 0.0
        self.chunks: list[bytes] = []
        self.is_closed = False
        self.taking = asyncio.Event()
        self.taking.set()
        self.breaks = False
        self._is_sending = False
        self._is_gone = False
        self._left: list[Callable[[], None]] = []
        self._changed = asyncio.Condition()

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def leave(self) -> None:
        self._is_gone = True
        for left in self._left:
            left()

    async def start(self, status: int, headers: Headers, endpoint: str, attempts: int, waited_s: float = 0.0) -> None:
        assert waited_s >= 0
        self.waited_s = waited_s
        assert self.status is None, "the head is sent once"
        if self.breaks:
            raise ConnectionResetError
        self.status, self.headers, self.endpoint, self.attempts = status, dict(headers), endpoint, attempts
        await self._note()

    async def send(self, data: bytes, *, last: bool) -> None:
        assert self.status is not None, "the head comes first"
        assert not self.is_closed, "nothing follows the last byte"
        assert data
        if self.breaks:
            raise ConnectionResetError
        assert not self._is_sending, "one at a time"
        self.chunks.append(data)
        self.is_closed = last
        await self._note()
        self._is_sending = True
        try:
            await self.taking.wait()
        finally:
            self._is_sending = False

    def offer(self, data: bytes) -> bool:
        if self.breaks or self._is_sending or not self.taking.is_set():
            return False
        assert self.status is not None, "the head comes first"
        assert not self.is_closed, "nothing follows the last byte"
        self.chunks.append(data)
        self._noting = asyncio.get_running_loop().create_task(self._note())
        return True

    def watch(self, left: Callable[[], None]) -> Callable[[], object]:
        if self._is_gone:
            asyncio.get_running_loop().call_soon(left)
        self._left.append(left)
        return self._left.clear

    async def until_chunks(self, count: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.chunks) >= count)

    async def _note(self) -> None:
        async with self._changed:
            self._changed.notify_all()
