"""One attempt: send, watch the answer, tell the flow what happens, relay what the flow commits to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import ModuleType
from typing import Protocol

import msgspec

from runtime.dispatch import incoming
from runtime.dispatch.relay import Relay
from runtime.dispatch.transport import Forwarding, Headers, Outgoing, Response, Transport, TransportError
from runtime.flow.events import Begun, Content, Event, Failed, Finished, Waiting, Whole, Why
from runtime.wire import interface, unary
from runtime.wire.errors import Dialect, Problem, normalise
from runtime.wire.usage import Usage, with_headers

# The largest unary answers are pictures and audio in base64, tens of megabytes.
UNARY_BYTES = 64 * 1024 * 1024

# What an error answer says is worth this much and no more: the next attempt stands in line behind it.
ERROR_BYTES = 64 * 1024
ERROR_S = 2.0

# Once an answer is complete, its connection is kept if the end of the body follows at once.
DRAIN_S = 0.25

# What may precede the first content: role chunks, and comments of 40 bytes while a cold model loads.
HELD_BYTES = 1024 * 1024


DROPPED = b"x-pointsman-dropped"
"""Header that names what of a request an endpoint's interface could not say, and did not need to."""


# Field names are the client's words: enough to see what was meant.
DROPPED_CHARS = 1000


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What the client asked for, as far as the relay of an answer depends on it; `unix_s` is when."""

    stream: bool
    choices: int
    wants_usage: bool
    unix_s: float
    api: str = "chat"
    raw: bytes = b"{}"


class ClientLeftError(Exception):
    """The client cannot be written to any more; the course has been told."""


class Course(Protocol):
    """The request that an exchange is one attempt of."""

    def report(self, event: Event, by: int | None = None) -> None:
        """Tell the flow, and do what it says; `by` is the attempt that reports on itself."""
        ...

    def hear(self) -> None:
        """Note that a provider was heard just now."""
        ...

    def is_chosen(self, attempt: int) -> bool:
        """Whether this attempt's answer is the client's, still; to be asked once its content was reported."""
        ...

    async def deliver(self, headers: Headers, body: bytes) -> bool:
        """Give the client the first attempt's answer, which is whole and good, if all went straight so far.

        Raises:
            ClientLeftError: The client is gone.
        """
        ...

    def offer(self, attempt: int, data: bytes) -> bool:
        """Send the client more of this attempt's answer, if it is the client's and it need not be waited for."""
        ...

    async def start(self, attempt: int, status: int, headers: Headers) -> None:
        """Send the client the head of an answer.

        Raises:
            ClientLeftError: It is gone.
        """
        ...

    async def send(self, data: bytes, *, last: bool) -> None:
        """Send the client bytes.

        Raises:
            ClientLeftError: It is gone.
        """
        ...


class Exchange:
    """One attempt in flight.

    Attributes:
        status: HTTP status of the answer, once its head is here.
        problem: The provider's error, when it sent one.
        usage, finish_reason: As far as the answer has said them.
    """

    status: int | None = None
    problem: Problem | None = None
    usage: Usage | None = None
    finish_reason: str | None = None
    _is_relaying = False
    _relay: Relay | None = None

    def __init__(
        self,
        number: int,
        course: Course,
        transport: Transport,
        outgoing: Outgoing,
        asked: Asked,
        spoken: str = "chat",
        dropped: Sequence[str] = (),
    ) -> None:
        """Get ready.

        Args:
            number: Of the attempt.
            course: The request that it is part of.
            transport: Who carries it.
            outgoing: What is sent.
            asked: What the client asked for.
            spoken: The interface of what is sent, which may not be the client's.
            dropped: What of the client's request it leaves out.
        """
        self._number = number
        self._course = course
        self._transport = transport
        self._outgoing = outgoing
        self._asked = asked
        self._held = b""
        self._spoken = spoken
        self._dropped = dropped

    async def run(self) -> None:
        """Carry the attempt out; returns when it is over, however it ends."""
        try:
            response = await self._transport.send(self._outgoing)
        except TransportError as error:
            self._course.hear()
            self._fail("connect" if error.kind == "connect" else "lost")
            return
        self._course.hear()
        self.status = response.status
        try:
            await self._answer(response)
        except ClientLeftError:
            pass  # the course knows
        finally:
            await response.aclose()

    async def _answer(self, response: Response) -> None:
        if not 200 <= response.status < 300:
            await self._error(response)
        elif self._asked.stream:
            await self._stream(response)
        else:
            await self._unary(response)

    @property
    def is_stream(self) -> bool:
        """Whether a stream was asked for."""
        return self._asked.stream

    def _fail(self, why: Why, retry_after_s: float | None = None) -> None:
        status = self.status if why == "status" else None
        self._course.report(Failed(self._number, why, status, retry_after_s), self._number)

    # --- errors -----------------------------------------------------------------------------------

    async def _error(self, response: Response) -> None:
        body = b""
        try:
            async with asyncio.timeout(ERROR_S):
                body = await _read(response, ERROR_BYTES) or b""
        except (TimeoutError, TransportError):
            pass  # the status alone says enough
        self._course.hear()
        self.problem = normalise(response.status, response.headers, body, self._asked.unix_s)
        self._fail("status", self.problem.retry_after_s)

    # --- unary answers ----------------------------------------------------------------------------

    async def _unary(self, response: Response) -> None:
        if incoming.media_type(response.headers) == "text/event-stream":
            self._fail("malformed")
            return
        try:
            raw = await response.read()
            if not response.is_complete:
                raw = await self._rest(raw, response)
        except TransportError:
            self._fail("lost")
            return
        if len(raw) > UNARY_BYTES:
            self._fail("malformed")
            return
        course, number = self._course, self._number
        course.hear()
        answer = interface.read(self._spoken, raw)
        usage = answer.usage
        self.usage = usage if usage is None or usage.cached else with_headers(usage, response.headers)
        self.finish_reason = answer.finish_reason
        if answer.malformed or answer.error is not None or answer.is_empty:
            self._judge_unusable(response, raw, answer)
            return
        if self._spoken != self._asked.api:
            asked = self._asked
            try:
                raw = _translation().answer(asked.api, self._spoken, raw, asked.unix_s, asked.raw)
            except (ValueError, RecursionError):  # beyond reason in a part that nobody looked at before
                self._fail("malformed")
                return
        head = (incoming.UNARY_CONTENT_TYPE, (b"content-length", b"%d" % len(raw)), *self._passed_on(response))
        if number == 0 and await course.deliver(head, raw):
            return
        course.report(Content(number), number)
        course.report(Whole(number), number)
        if course.is_chosen(number):
            await course.start(number, 200, head)
            await course.send(raw, last=True)
            course.report(Finished(number), number)

    def _passed_on(self, response: Response) -> Headers:
        """Return the provider's headers that travel on, and what of the request did not."""
        told = ((DROPPED, _header_text(", ".join(self._dropped))),) if self._dropped else ()
        return (*incoming.passed_on(response.headers), *told)

    async def _rest(self, first: bytes, response: Response) -> bytes:
        """Return a body that begins so, all of it, or what came until it was too large."""
        body, chunk = bytearray(), first
        while chunk and len(body) <= UNARY_BYTES:
            if not body:
                self._course.report(Begun(self._number), self._number)
            body += chunk
            self._course.report(Waiting(self._number), self._number)
            chunk = await response.read()
        return bytes(body)

    def _judge_unusable(self, response: Response, raw: bytes, answer: unary.Answer) -> None:
        if answer.error is not None:
            self.problem = normalise(response.status, response.headers, raw, self._asked.unix_s)
            self._fail("error", self.problem.retry_after_s)
        else:
            is_nothing = answer.is_empty and not (answer.malformed and raw.strip())
            self._fail("empty" if is_nothing else "malformed")

    # --- streams ----------------------------------------------------------------------------------

    async def _stream(self, response: Response) -> None:
        if incoming.media_type(response.headers) == "application/json":
            await self._unasked_json(response)
            return
        relay = self._relay = self._new_relay()
        self._content, self._waiting = Content(self._number), Waiting(self._number)
        headers = (*incoming.STREAM_HEADERS, *self._passed_on(response))
        was_lost = is_something = False

        def take(chunk: bytes) -> bool:
            return relay.is_everyday(chunk) and self._course.offer(self._number, chunk)

        while not relay.is_over:
            try:
                if self._is_relaying and isinstance(response, Forwarding):
                    await response.forward(take)
                chunk = await response.read()
            except TransportError:
                was_lost = True
                break
            if self._is_relaying and relay.is_everyday(chunk):
                if not await self._pass_on(chunk):
                    return
                continue
            if not self._is_relaying:
                self._course.hear()
            is_something = is_something or bool(chunk)
            passed = relay.feed(chunk) if chunk else relay.end()
            self._note(relay)
            if not await self._pass(relay, passed, headers):
                return
            if not chunk:
                break
        self._end(relay, was_lost=was_lost, is_something=is_something)
        if relay.watch.done_seen:
            await _drain(response)

    def _new_relay(self) -> Relay:
        asked, spoken = self._asked, self._spoken
        passage = None
        if spoken != asked.api:
            passage = _translation().Passage(
                asked.api, spoken, asked.unix_s, wants_usage=asked.wants_usage, asked=asked.raw
            )
        return Relay(asked.choices, wants_usage=asked.wants_usage, spoken=spoken, passage=passage)

    def ending(self) -> bytes:
        """Return what ends the client's stream properly."""
        return interface.ending(self._asked.api) if self._relay is None else self._relay.ending(self._asked.api)

    def broken(self, problem: Problem, dialect: Dialect) -> bytes:
        """Return what ends the client's stream when the provider's broke."""
        head = None if self._relay is None else self._relay.head
        return interface.broken(self._asked.api, head, problem, dialect)

    async def _pass(self, relay: Relay, passed: bytes, headers: Headers) -> bool:
        """Hold what came, or relay it; False when this attempt is over."""
        if not self._is_relaying:
            self._held += passed
            if relay.is_broken or not relay.watch.content_seen:
                # Something that never gets to the point is not an answer.
                is_endless = len(self._held) > HELD_BYTES
                if is_endless:
                    self._fail("malformed")
                return not is_endless
            passed = self._held
        if b"data:" in passed:  # a comment is a sign of life, but not of progress
            self._course.report(self._content, self._number)
            if relay.watch.finished:
                self._course.report(Whole(self._number), self._number)
        if not self._course.is_chosen(self._number):
            return False
        if not self._is_relaying:
            self._is_relaying = True
            self._held = b""
            await self._course.start(self._number, 200, headers)
        if relay.watch.done_seen:
            await self._course.send(passed + relay.ending(self._asked.api), last=True)
        elif passed:
            await self._course.send(passed, last=False)
        self._course.report(self._waiting, self._number)
        return True

    async def _pass_on(self, chunk: bytes) -> bool:
        """Relay what has content and changes nothing else; False when this attempt is over."""
        course, number = self._course, self._number
        course.report(self._content, number)
        if not course.is_chosen(number):
            return False
        await course.send(chunk, last=False)
        course.report(self._waiting, number)
        return True

    def _end(self, relay: Relay, *, was_lost: bool, is_something: bool) -> None:
        """Tell the flow how the stream ended. A missing `[DONE]` is added when the flow finds the answer complete."""
        watch = relay.watch
        if watch.error is not None:
            self.problem = normalise(502, (), msgspec.json.encode({"error": watch.error}), self._asked.unix_s)
            self._fail("error", self.problem.retry_after_s)
        elif watch.malformed:
            self._fail("malformed")
        elif self._is_relaying and watch.finished:
            self._course.report(Finished(self._number), self._number)
        elif was_lost:
            self._fail("lost")
        elif self._is_relaying:
            self._fail("cut")
        else:
            self._fail("malformed" if is_something and not watch.has_begun else "empty")

    async def _unasked_json(self, response: Response) -> None:
        """A whole JSON answer to a client that wants a stream: an error in disguise, or of no use."""
        try:
            body = await _read(response, ERROR_BYTES) or b""
        except TransportError:
            self._fail("lost")
            return
        self._judge_unusable(response, body, interface.read(self._spoken, body))

    def _note(self, relay: Relay) -> None:
        watch = relay.watch
        self.usage, self.finish_reason = watch.usage, watch.finish_reason


def _header_text(text: str) -> bytes:
    """Return text with whatever a client may have put into it, fit for a header."""
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text[:DROPPED_CHARS]).encode()


def _translation() -> ModuleType:
    """Return the translator, loaded when it is first needed."""
    from runtime.wire.translate import translation

    return translation


async def _read(response: Response, most: int) -> bytes | None:
    """Return the whole body, or None when it is longer than `most` bytes."""
    body = bytearray()
    while chunk := await response.read():
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)


async def _drain(response: Response) -> None:
    """Read on to the end of a body whose answer is complete, so that its connection can serve again."""
    try:
        async with asyncio.timeout(DRAIN_S):
            while await response.read():
                pass
    except (TimeoutError, TransportError):
        pass
