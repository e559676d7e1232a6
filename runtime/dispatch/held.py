"""An answer held back until it is known whether to give it, in the place of the client it is for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from runtime.dispatch.record import Client
from runtime.dispatch.stretch import Stretch
from runtime.dispatch.transport import Headers

# Longer answers are pictures, which nobody judges by their text; they pass as they come.
MOST_HELD_BYTES = 16 * 1024 * 1024


class Held:
    """A client that keeps what it is sent; implements `Client`.

    Args:
        client: Whom the answer is for.

    Attributes:
        status, headers, endpoint: Of the head; None and empty before it.
        body: What was sent so far.
        is_passing: It grew too long to hold, and all of it has gone to the client, or will.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._attempts = 0
        self._waited_s = 0.0
        self._is_whole = self._is_handed = False
        self.status: int | None = None
        self.headers: Headers = ()
        self.endpoint = ""
        self.body = bytearray()
        self.is_passing = False

    async def start(self, status: int, headers: Headers, endpoint: str, attempts: int, waited_s: float = 0.0) -> None:
        """Keep the head."""
        self.status, self.headers, self.endpoint = status, headers, endpoint
        self._attempts, self._waited_s = attempts, waited_s

    async def send(self, data: bytes, *, last: bool) -> None:
        """Keep bytes, or pass them on when they are too many to keep.

        Raises:
            OSError: The client is gone.
        """
        self._is_whole = last
        if self.is_passing:
            await self._client.send(data, last=last)
            return
        self.body += data
        if len(self.body) > MOST_HELD_BYTES and self.status == 200:
            self.is_passing = True
            await self._pass(self._attempts, self._waited_s)

    def offer(self, data: bytes) -> bool:
        """Take nothing this way."""
        return False

    def watch(self, left: Callable[[], None]) -> Callable[[], object]:
        """Watch the client itself."""
        return self._client.watch(left)

    async def give(self, attempts: int, waited_s: float) -> bool:
        """Give the client what was held, under these headers; False when it left before it was handed all of it."""
        stretch = Stretch(asyncio.get_running_loop())
        end_watch = self._client.watch(stretch.interrupt)
        try:
            await stretch.run(self._pass(attempts, waited_s))
        except OSError:
            return False
        finally:
            end_watch()
        return self._is_handed

    async def _pass(self, attempts: int, waited_s: float) -> None:
        assert self.status is not None
        await self._client.start(self.status, self.headers, self.endpoint, attempts, waited_s)
        self._is_handed = self._is_whole  # a client is handed all of it before it is waited for
        await self._client.send(bytes(self.body), last=self._is_whole)
