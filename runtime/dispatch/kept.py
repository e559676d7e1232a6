"""A stream that is never silent for long, because its client asked for signs of life: in the place of that client.

The first sign commits the 200, before any provider has answered: what fails afterwards is told in-band. The plan goes
on as ever behind it, so an attempt that fails unseen is still followed by the next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from runtime.dispatch.clock import Alarm, Clock
from runtime.dispatch.incoming import STREAM_HEADERS
from runtime.dispatch.record import Client
from runtime.dispatch.transport import Headers
from runtime.wire.errors import Dialect, Problem, normalise
from runtime.wire.interface import broken
from runtime.wire.keep_alive import KIND_OF_API, KeepAlive, beat
from runtime.wire.sse import Head, Watch


class KeptAlive:
    """A client whose stream is kept alive; implements `Client`. Close it when the request is over.

    Args:
        client: Whom the stream is for.
        keep: What it asked for.
        api: One of `fields.APIS`.
        dialect: Of its errors.
        head: What our own chunks call themselves before the provider's have come.
        clock: Tells silence.

    Attributes:
        is_begun: Whether the head is out, or on its way.
    """

    def __init__(self, client: Client, keep: KeepAlive, api: str, dialect: Dialect, head: Head, clock: Clock) -> None:
        self._client = client
        self._keep = keep
        self._api = api
        self._dialect: Dialect = dialect
        self._head = Head(head.id, KIND_OF_API.get(api, head.kind), head.created, head.model)
        self._first = b""
        self._clock = clock
        self._began_s = self._heard_s = clock.now_s()
        self.is_begun = False
        self._is_busy = False
        self._refusal: tuple[int, Headers] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._behind: deque[tuple[bytes, bool]] = deque()
        self._lost: OSError | None = None
        self._alarm: Alarm | None = clock.ring(self._heard_s + keep.every_s, self._ring)

    # --- what dispatch says -----------------------------------------------------------------------

    async def start(self, status: int, headers: Headers, endpoint: str, attempts: int, waited_s: float = 0.0) -> None:
        """Send the head, unless a sign of life has sent one.

        Raises:
            OSError: The client is gone.
        """
        if self._lost is not None:
            raise self._lost
        if self.is_begun:
            self._refusal = None if status == 200 else (status, headers)
            return
        self.is_begun = self._is_busy = True
        try:
            await self._client.start(status, headers, endpoint, attempts, waited_s)
        except OSError as error:
            self._lose(error)
            raise
        finally:
            self._is_busy = False

    async def send(self, data: bytes, *, last: bool) -> None:
        """Relay bytes; a refusal that comes after the head becomes the in-band error.

        Raises:
            OSError: The client is gone.
        """
        if self._lost is not None:
            raise self._lost
        if self._refusal is not None:
            status, headers = self._refusal
            data = self._in_band(normalise(status, headers, data))
        if last:
            self._stop()
        if not self._first:
            self._first = data
        if self._beating is not None:
            # Handed over all the same: it goes out behind the sign of life that the client is slow to take.
            self._behind.append((data, last))
            beating = self._beating
            await asyncio.wait((beating,))
            if self._lost is not None:
                raise self._lost
            if not beating.cancelled():
                beating.result()  # a bug in there is one of this request
            return
        self._is_busy = True
        try:
            await self._client.send(data, last=last)
        except OSError as error:
            self._lose(error)
            raise
        finally:
            self._is_busy = False
            self._heard_s = self._clock.now_s()

    def offer(self, data: bytes) -> bool:
        """Relay bytes behind those sent before, if that takes no waiting; else False, and nothing is done."""
        if self._beating is not None or not self._client.offer(data):
            return False
        self._heard_s = self._clock.now_s()
        return True

    def watch(self, left: Callable[[], None]) -> Callable[[], object]:
        """Watch the client itself."""
        return self._client.watch(left)

    async def fail(self, problem: Problem) -> None:
        """End a stream that a sign of life has begun and no provider has answered."""
        await self.send(self._in_band(problem), last=True)

    async def aclose(self) -> None:
        """Be silent from now on."""
        self._stop()
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait((self._beating,))

    # --- signs of life ----------------------------------------------------------------------------

    def _stop(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _lose(self, error: OSError) -> None:
        """Note that the client is gone: nothing more is said to it."""
        self._lost = error
        self._behind.clear()
        self._stop()

    def _ring(self) -> None:
        """Give a sign of life if it is time; a client that is slow to take what it has needs none."""
        now_s, every_s = self._clock.now_s(), self._keep.every_s
        due_s = self._heard_s + every_s
        if self._is_busy or self._beating is not None:
            due_s = now_s + every_s
        elif due_s <= now_s:
            sign = beat(self._keep, self._api, self._repeated())
            if self.is_begun and self._client.offer(sign):
                self._heard_s = now_s
            else:
                self._beating = asyncio.get_running_loop().create_task(self._beat(sign, begins=not self.is_begun))
                self.is_begun = True  # now, lest somebody sends another head before that task runs
            due_s = now_s + every_s
        self._alarm = self._clock.ring(due_s, self._ring)

    async def _beat(self, sign: bytes, *, begins: bool) -> None:
        try:
            if begins:
                await self._client.start(200, STREAM_HEADERS, "", 0, self._clock.now_s() - self._began_s)
            await self._client.send(sign, last=False)
            while self._behind:
                data, last = self._behind.popleft()
                await self._client.send(data, last=last)
        except OSError as error:
            self._lose(error)  # whoever watches the client is told
        finally:
            self._heard_s = self._clock.now_s()
            self._beating = None

    def _repeated(self) -> Head:
        """Return what the chunks of this stream repeat: the provider's words once it has said them."""
        if not self._first:
            return self._head
        watch = Watch()
        watch.feed(self._first)
        return watch.head or self._head

    def _in_band(self, problem: Problem) -> bytes:
        return broken(self._api, self._repeated(), problem, self._dialect)
