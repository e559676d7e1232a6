"""One slot: fetches an invocation, has it answered within its time, fetches the next."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from handlers.lambda_runtime.answers import Message, Streamed, Whole
from handlers.lambda_runtime.api import Fault, Invocation, RuntimeApi
from handlers.lambda_runtime.connection import Reply, RuntimeApiError
from handlers.lambda_runtime.events import HttpRequest, NotHttpError, request_of
from handlers.lambda_runtime.lifespan import Application

# What is left of the function's time when an answer is ended: the last bytes have to get out before Lambda ends it all.
MARGIN_S = 0.25

# So long before that, a stream is told to end in its own words: the client's SDK raises what they say.
LAST_WORDS_S = 0.5

# After so long without a request, connections that lay idle are not to be trusted: NAT gateways and load balancers
# forget flows, and a process that was frozen has heard no FIN. 20 s is less than any of them waits.
LONG_GAP_S = 20.0

# What runs on after an answer is billed and keeps the slot from the next request.
AFTERWARDS_S = 10.0

TIMED_OUT = Fault("Function.TimedOut", "the function's time is up")


class Host(Protocol):
    """What the loop serves, and what it tells besides requests."""

    async def open(self) -> Application:
        """Return the application, ready to serve; called again in each process restored from a snapshot.

        Raises:
            StartError: There is nothing to serve.
        """
        ...

    async def after_gap(self, gap_s: float) -> None:
        """Called before a request that came after so long a time without any."""
        ...

    async def after_response(self, within_s: float) -> None:
        """Called when a client has its whole answer and before the process may be frozen; has so long at most."""
        ...

    def stop(self) -> None:
        """End every request in flight in order, if it can be done in the answer itself."""
        ...

    def timed_out(self, path: str) -> tuple[int, bytes]:
        """Return status and JSON of the answer to a request whose time was up before anything was sent."""
        ...

    async def close(self) -> None:
        """Let go of everything: the process is told to stop, or a snapshot of it is taken."""
        ...


class Pace:
    """When something was last answered here, over all slots.

    Args:
        unix_s: The wall clock: it goes on while a virtual machine stands still.
        monotonic_s: The monotonic clock: nobody sets it.

    Attributes:
        busy: How many slots are answering.
    """

    def __init__(
        self, unix_s: Callable[[], float] = time.time, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._clocks = (unix_s, monotonic_s)
        self.busy = 0
        self.note()

    def gap_s(self) -> float:
        """Return how long nothing happened: by whichever clock went on, 0 while a slot is answering."""
        if self.busy:
            return 0.0
        return max(clock() - last for clock, last in zip(self._clocks, self._last, strict=True))

    def note(self) -> None:
        """Something happened now."""
        self._last = tuple(clock() for clock in self._clocks)


@dataclass(frozen=True, slots=True)
class Terms:
    """How requests are answered.

    Attributes:
        base_path: What a custom domain's mapping puts before the path.
        buffered: Whether the front takes no streams.
        may_freeze: Whether the process may be frozen between two invocations.
    """

    base_path: str = ""
    buffered: bool = False
    may_freeze: bool = True


class Slot:
    """Serves one invocation at a time.

    Attributes:
        is_idle: Whether it waits for an invocation.
    """

    def __init__(self, api: RuntimeApi, host: Host, app: Application, terms: Terms, pace: Pace) -> None:
        self._api = api
        self._host = host
        self._app = app
        self._terms = terms
        self._pace = pace
        self.is_idle = True
        self.is_last = False

    async def run(self) -> None:
        """Serve until told to stop.

        Raises:
            RuntimeApiError: There are no more invocations.
        """
        while not self.is_last:
            invocation = await self._api.next()
            self.is_idle = False
            gap_s = self._pace.gap_s()
            self._pace.busy += 1
            try:
                if gap_s > LONG_GAP_S:
                    await _besides(self._host.after_gap(gap_s))
                await self._answer(invocation)
                if self._terms.may_freeze:
                    left_s = invocation.deadline_unix_s - time.time() - MARGIN_S
                    await _besides(self._host.after_response(max(0.0, min(left_s, AFTERWARDS_S))))
            finally:
                self._pace.busy -= 1
                self._pace.note()
                self.is_idle = True

    async def _answer(self, invocation: Invocation) -> None:
        try:
            reply = await self._answered(invocation)
        except RuntimeApiError as error:
            # The invocation is lost; whether the Runtime API is lost, too, the next one tells.
            _say(invocation, str(error))
            return
        if reply.status >= 300:
            _say(
                invocation,
                f"the runtime api refused the answer: {reply.status} {reply.body[:300].decode(errors='replace')}",
            )

    async def _answered(self, invocation: Invocation) -> Reply:
        try:
            request = request_of(invocation.event, self._terms.base_path)
        except NotHttpError as error:
            if error.is_scheduled:
                return await self._api.respond(invocation, msgspec.json.encode({"warm": True}))
            _say(invocation, f"called with {error}")
            return await self._api.fail(
                invocation,
                Fault("Function.NotHttp", f"this function answers http requests; it was called with {error}"),
            )
        streams = request.front in ("url", "rest-api") and not self._terms.buffered
        answer = (Streamed if streams else Whole)(self._api, invocation, request)
        fault = await self._served(invocation, request, answer)
        if fault is not None:
            _say(invocation, f"{fault.kind}: {fault.message}")
        if fault is None or answer.is_complete:
            return await answer.reply()
        if answer.is_begun:
            return await answer.break_off(fault)
        if fault is not TIMED_OUT:
            return await self._api.fail(invocation, fault)
        status, body = self._host.timed_out(str(request.scope["path"]))
        answer = (Streamed if streams else Whole)(self._api, invocation, request)
        headers = [(b"content-type", b"application/json")]
        await answer.send({"type": "http.response.start", "status": status, "headers": headers})
        await answer.send({"type": "http.response.body", "body": body})
        return await answer.reply()

    async def _served(self, invocation: Invocation, request: HttpRequest, answer: Streamed | Whole) -> Fault | None:
        """Have the application answer; return what went wrong."""
        scope = {**request.scope, "extensions": {}}
        left_s = max(0.0, invocation.deadline_unix_s - time.time() - MARGIN_S)
        # Where other requests are in flight in this process they would end, too: there it is left to the trailers.
        last_words = asyncio.get_running_loop().call_later(left_s - LAST_WORDS_S, self._stop, answer)
        try:
            async with asyncio.timeout(left_s) as timer:
                await self._app(scope, _receive(request.body, answer.gone), answer.send)
        except Exception as error:  # noqa: BLE001 — the outermost frame
            if timer.expired() and isinstance(error, TimeoutError):
                return TIMED_OUT
            traceback.print_exc()
            return Fault("Function.InternalError", f"{type(error).__name__} while answering")
        except asyncio.CancelledError:
            if answer.is_begun and not answer.is_complete:
                await answer.break_off(Fault("Function.Stopped", "the function was told to stop"))
            raise
        finally:
            last_words.cancel()
        return None if answer.is_complete else Fault("Function.NoAnswer", "the application ended without an answer")

    def _stop(self, answer: Streamed | Whole) -> None:
        if answer.is_begun and not answer.is_complete and self._pace.busy == 1:
            self._host.stop()


async def _besides(work: Awaitable[None]) -> None:
    """Do what the host does besides requests; none fails for a bug in it."""
    try:
        await work
    except Exception:  # noqa: BLE001 — the outermost frame
        traceback.print_exc()


def _receive(body: bytes, gone: asyncio.Event) -> Callable[[], Awaitable[Message]]:
    """Return ASGI's `receive`: the whole body, and then silence until Lambda takes no more of the answer."""
    is_read = False

    async def receive() -> Message:
        nonlocal is_read
        if is_read:
            await gone.wait()
            return {"type": "http.disconnect"}
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _say(invocation: Invocation, what: str) -> None:
    line = {"event": "lambda", "request_id": invocation.id, "message": what}
    print(msgspec.json.encode(line).decode(), file=sys.stderr, flush=True)
