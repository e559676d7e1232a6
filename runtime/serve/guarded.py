"""uvicorn's HTTP/1.1 with an end to its patience: clients that are slow, endless or hostile cost a bounded amount.

uvicorn by itself waits for ever: for the rest of a head, for the rest of a body, for a client to read what it asked
for. Here one timer a connection looks at it every few seconds and asks whether it got on; a request pays for that with
no more than noting which part of it arrives. A refusal that comes before the application knows of a request is
OpenAI's error object like any other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from runtime.serve.asking import GIVEN_UP
from runtime.serve.cycle import Cycle, address
from runtime.serve.settings import DEFAULT_KEEP_ALIVE_S
from runtime.serve.story import utc
from runtime.serve.visit import request_id
from runtime.wire.errors import Problem, bad_request, problem

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application
    from uvicorn.config import Config
    from uvicorn.server import ServerState

# Apache's `RequestReadTimeout body=20,MinRate=500` asks for as much: a phone on a bad day is faster, a drip is not.
BODY_STEP_BYTES = 16 * 1024

# After a refusal: closing while bytes of the client are still under way would reset the connection, and with some
# systems the client would never read why it was refused.
LINGER_S = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may cost before it has an answer, and while it takes it.

    Attributes:
        head_s: From the first byte of a request to the end of its headers.
        body_s: In this time another 16 KiB of a body must come, or its end; it is also how long the rest of a body
            is put up with whose request is answered already.
        idle_s: Between requests, and before the first.
        write_s: Without the client taking a single byte of what waits for it.
        head_bytes, headers: Of one request: its line and headers in all, and how many of them.
        pipelined: Requests that wait behind the one being answered.
    """

    head_s: float = 10.0
    body_s: float = 30.0
    idle_s: float = DEFAULT_KEEP_ALIVE_S
    write_s: float = 60.0
    head_bytes: int = 64 * 1024
    headers: int = 200
    pipelined: int = 16

    @property
    def look_s(self) -> float:
        """How often a connection is looked at, at the least."""
        return min(self.head_s, self.body_s, self.idle_s, self.write_s)


Told = Callable[[Mapping[str, object]], None]


class _Refused(Exception):  # noqa: N818 — never seen outside: it stops the parser
    """The request is refused while it is being parsed."""


class _Sink:
    """In the parser's place once nothing more is to be understood."""

    def feed_data(self, _data: bytes, /) -> None:
        """Forget it."""


class GuardedProtocol(HttpToolsProtocol):
    """One client's connection; made by uvicorn.

    Attributes:
        limits: What its client may cost.
    """

    limits: ClassVar[Limits] = Limits()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._phase: Literal["idle", "head", "body", "asked", "refused"] = "idle"
        self._since_s = 0.0
        self._received_bytes = 0
        self._head_at_bytes = 0
        self._refusal: Problem | None = None
        self.cycle: Cycle  # None before the first, which uvicorn does not say either
        self._running: Cycle | None = None
        self._timer: asyncio.TimerHandle | None = None
        # As of the last look:
        self._body_of: RequestResponseCycle | None = None
        self._body_at_bytes = 0
        self._body_s = 0.0
        self._unsent_bytes = 0
        self._unsent_s = 0.0

    def told(self, event: Mapping[str, object]) -> None:
        """Take note of a request that is refused here; nobody does, unless `guarded` says who."""

    # --- told by the loop -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to look after it."""
        super().connection_made(transport)
        self._since_s = self._unsent_s = self.loop.time()
        self._timer = self.loop.call_later(self.limits.look_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request being answered, too: uvicorn tells only the last one that came."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for cycle in (self._running, self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what the client sends."""
        self._received_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as found:
            self._decline_upgrade(data[found.args[0] :])
        except httptools.HttpParserError:
            self._turn_away(self._refusal or bad_request("this is not a request in HTTP/1.1"))
            return
        if self._phase == "head" and self._received_bytes - self._head_at_bytes > self.limits.head_bytes:
            self._turn_away(self._oversized())

    def resume_writing(self) -> None:
        """Note that the client read on."""
        self._unsent_bytes = 0
        super().resume_writing()

    # --- told by the parser -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._phase = "head"
        self._since_s = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is whole.

        Raises:
            _Refused: It is more than is read.
        """
        limits = self.limits
        if len(self.headers) > limits.headers or (
            # Counts a body that came along with its head; only then is it worth an exact count.
            self._received_bytes - self._head_at_bytes > limits.head_bytes and self._head_bytes() > limits.head_bytes
        ):
            self._refusal = self._oversized()
            raise _Refused
        if self.parser.should_upgrade():
            return
        self._begin_cycle()
        self._phase = "body"
        if len(self.pipeline) > limits.pipelined:
            self._refusal = bad_request("too many requests were sent before their answers were read")
            raise _Refused

    def _begin_cycle(self) -> None:
        """Have the application answer what was asked, at once or when what was asked before is answered."""
        parser, scope = self.parser, self.scope
        version = parser.get_http_version()
        scope["method"] = parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"], scope["raw_path"], scope["query_string"] = address(self.url)
        before = self.cycle
        self.cycle = cycle = Cycle(
            scope,
            self.transport,
            self.flow,
            self.server_state.default_headers,
            self.expect_100_continue,
            version != "1.0" and parser.should_keep_alive(),
            self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_message_complete(self) -> None:
        """It is whole."""
        if self._phase == "head":  # an upgrade: the parser takes its body for another protocol
            return
        self._phase = "asked"
        self._head_at_bytes = self._received_bytes
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Its answer is whole; the next one in line is served."""
        self.server_state.total_requests += 1
        self._since_s = self.loop.time()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cast("Cycle", cycle)
        super()._start_asgi_task(cycle, app)

    def _decline_upgrade(self, rest: bytes) -> None:
        """Parse a request again without its offer to change protocols, which a server need not take.

        Java's client makes one with every request, bodies included, and uvicorn by itself would lose the body.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._turn_away(bad_request("this is no proxy"))
            return
        lines = [b"%b %b HTTP/1.1\r\n" % (method, self.url)]
        lines += [b"%b: %b\r\n" % pair for pair in self.headers if pair[0] != b"upgrade"]
        self.data_received(b"%b\r\n%b" % (b"".join(lines), rest))

    # --- the look at the connection ---------------------------------------------------------------

    def _look(self) -> None:
        """End the connection, or look again later."""
        now_s = self.loop.time()
        due_s = min(self._reader_due_s(now_s), self._sender_due_s(now_s))
        # What is due has been done, and what comes of it, if only the connection's end, takes a moment.
        wait_s = due_s - now_s if due_s > now_s else LINGER_S
        self._timer = self.loop.call_later(min(self.limits.look_s, wait_s), self._look)

    def _reader_due_s(self, now_s: float) -> float:
        """Return when the client must have taken something of what waits for it; give it up when it has not."""
        unsent = self.transport.get_write_buffer_size()
        # Otherwise more may have been written meanwhile, and a size says nothing of what was read.
        is_whole = self.flow.write_paused or self.transport.is_closing() or self._is_idle
        if not unsent or not is_whole or unsent < self._unsent_bytes or not self._unsent_bytes:
            self._unsent_bytes = unsent
            self._unsent_s = now_s
        due_s = self._unsent_s + self.limits.write_s
        if now_s >= due_s:
            self.transport.abort()
        return due_s

    def _sender_due_s(self, now_s: float) -> float:
        """Return when the client must have sent what it owes; turn it away when it has not."""
        limits = self.limits
        if self._phase == "refused":
            due_s = self._since_s + LINGER_S
            if now_s >= due_s:
                self.transport.abort()
        elif self.flow.read_paused:
            return now_s + limits.look_s  # it is we who do not read
        elif self._phase == "head":
            due_s = self._since_s + limits.head_s
            if now_s >= due_s:
                self._turn_away(problem(408, f"the headers were not complete within {limits.head_s:g} s"))
        elif self._phase == "body":
            due_s = self._body_due_s(now_s)
        elif self._is_idle:
            due_s = self._since_s + limits.idle_s
            if now_s >= due_s:
                self.transport.close()
        else:
            return now_s + limits.look_s
        return due_s

    def _body_due_s(self, now_s: float) -> float:
        cycle = self.cycle
        if cycle.response_complete:
            due_s = self._since_s + self.limits.body_s
            if now_s >= due_s:
                self.transport.abort()
            return due_s
        if cycle is not self._body_of or self._received_bytes - self._body_at_bytes >= BODY_STEP_BYTES:
            self._body_of, self._body_at_bytes, self._body_s = cycle, self._received_bytes, now_s
        due_s = self._body_s + self.limits.body_s
        if now_s >= due_s:
            self._give_up(cycle, problem(408, "the request body came too slowly, or stopped coming"))
            self._body_s = now_s
        return due_s

    @property
    def _is_idle(self) -> bool:
        """Whether nothing is asked that is not answered."""
        return self._phase in ("idle", "asked") and (self._running is None or self._running.response_complete)

    # --- ends -------------------------------------------------------------------------------------

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _oversized(self) -> Problem:
        limits = self.limits
        if len(self.url) > limits.head_bytes // 2:
            return problem(414, "the address asked for is too long", code="invalid_request")
        said = f"the headers are more than {limits.head_bytes} bytes, or than {limits.headers} in number"
        return problem(431, said, code="invalid_request")

    def _give_up(self, cycle: RequestResponseCycle, why: Problem) -> None:
        """Have the application answer a request whose body will not be read to its end."""
        scope = cast("dict[str, object]", cycle.scope)
        if cycle.response_complete:
            self.transport.close()
        elif cycle.response_started or GIVEN_UP in scope:  # it was told, and did nothing
            self.transport.abort()
        else:
            scope[GIVEN_UP] = why
            cycle.message_event.set()

    def _turn_away(self, why: Problem) -> None:
        """Answer what never got as far as the application, and end the connection."""
        if self.transport.is_closing():
            return
        running = self._running
        if self._phase == "body" and running is self.cycle:
            self.parser = cast("httptools.HttpRequestParser", _Sink())
            self._give_up(running, why)
            return
        if running is not None and not running.response_complete:
            self.transport.abort()  # an answer is under way, and must not be followed by this one as if it were its end
            return
        known_as = request_id({})
        body = why.to_bytes("openai")
        headers = (
            *self.server_state.default_headers,
            *why.headers(),
            (b"content-length", str(len(body)).encode("ascii")),
            (b"x-request-id", known_as.encode("ascii")),
            (b"connection", b"close"),
        )
        lines = b"".join(b"%b: %b\r\n" % pair for pair in headers)
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[why.status], lines, body))
        self.told(
            {
                "event": "turned_away",
                "ts": utc(time.time()),
                "request_id": known_as,
                "status": why.status,
                "error": why.code,
            }
        )
        self._phase = "refused"
        self._since_s = self.loop.time()
        self.parser = cast("httptools.HttpRequestParser", _Sink())
        if self.transport.can_write_eof():
            self.transport.write_eof()


def guarded(told: Told, limits: Limits | None = None) -> type[asyncio.Protocol]:
    """Return the protocol for `uvicorn.Config(http=…)`.

    Args:
        told: Gets an event for each request that is refused before the application knows of it.
        limits: Others than the usual.
    """

    class Guarded(GuardedProtocol):
        def told(self, event: Mapping[str, object]) -> None:
            told(event)

    if limits is not None:
        Guarded.limits = limits
    return Guarded
